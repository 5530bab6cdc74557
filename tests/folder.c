/* folder.c - a folder of a test's own. */
#include "tests/folder.h"

#include <dirent.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "tests/test.h"

folder folder_make(void)
{
    folder f = {"/tmp/xquantd-test-XXXXXX"};

    CHECK(mkdtemp(f.path) != NULL);
    return f;
}

static int drop(const char *path, const struct stat *s, int kind, struct FTW *at)
{
    (void)s, (void)kind, (void)at;
    return remove(path);
}

void folder_remove(const folder *f)
{
    CHECK(nftw(f->path, drop, 8, FTW_DEPTH | FTW_PHYS) == 0);
}

const char *folder_path(const folder *f, const char *name, char into[FOLDER_PATH])
{
    CHECK(snprintf(into, FOLDER_PATH, "%s/%s", f->path, name) < FOLDER_PATH);
    return into;
}

void folder_write(const folder *f, const char *name, const void *bytes, size_t n)
{
    char path[FOLDER_PATH];
    FILE *file;

    folder_path(f, name, path);
    for (char *at = strchr(path + strlen(f->path) + 1, '/'); at; at = strchr(at + 1, '/')) {
        *at = '\0';
        mkdir(path, 0700);
        *at = '/';
    }
    file = fopen(path, "wb");
    CHECK(file && fwrite(bytes, 1, n, file) == n && fclose(file) == 0);
}

size_t folder_count(const folder *f)
{
    DIR *d = opendir(f->path);
    size_t n = 0;

    CHECK(d != NULL);
    for (const struct dirent *e; (e = readdir(d));) n += e->d_name[0] != '.';
    closedir(d);
    return n;
}
