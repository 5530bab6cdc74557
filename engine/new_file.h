/* new_file.h - a file that is there whole or not at all: written beside its path, it takes the
 * name at the end. */
#ifndef ENGINE_NEW_FILE_H
#define ENGINE_NEW_FILE_H

#include <stdbool.h>
#include <stddef.h>

#include "engine/err.h"

typedef struct new_file {
    int fd; /* -1: not open */
    char *path, *temporary;
    bool lasting; /* the temporary one stays when it is dropped */
} new_file;

#define NEW_FILE_NONE ((new_file){.fd = -1})

/* A new, empty file beside path, an absent one or a file: what is a folder or a device is not
 * replaced (errno EISDIR, EPERM). ERR_NOMEM, ERR_SYSTEM. Whatever it says, drop it. */
err new_file_open(new_file *f, const char *path);

/* The same with PATH.part, which may be there from before, and is then open with what it holds;
 * nobody else opens it so meanwhile (errno EBUSY). */
err new_file_open_part(new_file *f, const char *path);

/* n bytes more. ERR_SYSTEM. */
err new_file_write(new_file *f, const void *data, size_t n);

/* Put it in its place, on the disk and for all to read. Where that fails (ERR_SYSTEM), path is
 * what it was. */
err new_file_keep(new_file *f);

/* What was not kept is gone, unless it is lasting. Leaves errno. */
void new_file_drop(new_file *f);

#endif
