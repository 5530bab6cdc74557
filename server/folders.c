/* folders.c - finds and makes the folders of this program. */
#include "server/folders.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

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
    for (char *at = strchr(path + 1, '/'); at; at = strchr(at + 1, '/')) {
        *at = '\0';
        mkdir(path, 0777);
        *at = '/';
    }
    mkdir(path, 0777);
}
