/* folders.c - finds the files and folders of this program, and makes folders. */
#include "server/folders.h"

#include <libgen.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#ifndef XQUANTD_DATADIR
#define XQUANTD_DATADIR "/usr/local/share/xquantd"
#endif

/* As the XDG base directory specification says, an empty variable counts as unset. */
char *folders_cache(void)
{
    const char *base = getenv("XDG_CACHE_HOME"), *home = getenv("HOME");
    char *folder = NULL;
    int n = -1;

    if (base && *base)
        n = asprintf(&folder, "%s/xquantd", base);
    else if (home && *home)
        n = asprintf(&folder, "%s/.cache/xquantd", home);
    return n < 0 ? NULL : folder;
}

void folders_make(char *path)
{
    /* Errors are left to whoever opens a file in it: that one knows what it wanted, and EEXIST
     * is none. */
    for (char *at = strchr(path + 1, '/'); at; at = strchr(at + 1, '/')) {
        *at = '\0';
        mkdir(path, 0777);
        *at = '/';
    }
    mkdir(path, 0777); /* less the umask, as every program does it */
}

void folders_find_shipped(const char *name, char *path, size_t n)
{
    char self[4096];
    /* by the program, not the working folder: a service has none of its own */
    const ssize_t length = readlink("/proc/self/exe", self, sizeof self - 1);
    /* build/xquantd, build/asan/xquantd: up to the source tree; PREFIX/bin: to its share */
    static const char *const up[] = {"../", "../../", "../share/xquantd/"};

    for (size_t i = 0; length > 0 && i < sizeof up / sizeof up[0]; i++) {
        char copy[4096];

        self[length] = '\0'; /* readlink ends no text */
        memcpy(copy, self, (size_t)length + 1);
        snprintf(path, n, "%s/%s%s", dirname(copy), up[i], name);
        if (access(path, R_OK) == 0) return;
    }
    snprintf(path, n, "%s/%s", XQUANTD_DATADIR, name);
}
