/* shelf.h - what was downloaded: the models in the user's cache folder, by the names that bring
 * them back.
 *
 *   CACHE/models/FILE               a name of the catalogue, else its path
 *   CACHE/models/OWNER/REPO/FILE    hf:OWNER/REPO:FILE
 * A model in several files is one, by the name of its first. */
#ifndef SERVER_CONVERT_SHELF_H
#define SERVER_CONVERT_SHELF_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "engine/err.h"
#include "server/convert/catalog.h"

typedef struct shelf_model {
    char *name, *path;
    uint64_t bytes; /* of all its files; of a download that was interrupted, what has come */
    int64_t used;   /* when it was last opened by its name, seconds since 1970 */
    bool partial;   /* a download that was interrupted: nothing can be served of it */
} shelf_model;

typedef struct shelf {
    shelf_model *list;
    size_t n;
} shelf;

/* Read the folder, ordered by path; one that is not there is empty. ERR_NOMEM. The caller
 * closes, also then. */
err shelf_open(shelf *out, const catalog *c);
void shelf_close(shelf *s);

/* NULL: there is none of that name. */
const shelf_model *shelf_find(const shelf *s, const char *name);

/* Delete its files, and folders that are empty then. ERR_SYSTEM, errno says why. */
err shelf_remove(const shelf_model *m);

#endif
