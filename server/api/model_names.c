/* model_names.c - a list in a text: "a,b". */
#include "server/api/model_names.h"

#include <stdio.h>
#include <string.h>

/* Clients of several APIs have a model's name of each built in, so there may be several. */
bool model_names_at(const model_names *n, size_t i, char *name, size_t bytes)
{
    const char *at = n->more ? n->more : "";
    size_t length;

    if (!i) return snprintf(name, bytes, "%s", n->own), true;
    for (;; at += length) {
        at += strspn(at, ", ");
        length = strcspn(at, ", ");
        if (!length) return false;
        if (--i == 0) break;
    }
    return snprintf(name, bytes, "%.*s", (int)length, at), true;
}

bool model_names_serve(const model_names *n, const char *name)
{
    char one[256];

    if (n->any) return true;
    for (size_t i = 0; model_names_at(n, i, one, sizeof one); i++)
        if (strcmp(name, i ? one : n->own) == 0) return true;
    return false;
}
