/* model_names.h - what requests may call the model: its own name, those of --served-model-name,
 * and with --any-model whatever they like. */
#ifndef SERVER_API_MODEL_NAMES_H
#define SERVER_API_MODEL_NAMES_H

#include <stdbool.h>
#include <stddef.h>

typedef struct model_names {
    const char *own;  /* the first: answers say it */
    const char *more; /* with commas between them; or NULL */
    bool any;
} model_names;

/* May a request call it so? */
bool model_names_serve(const model_names *n, const char *name);

/* Name number i, the own one first; false: there are no more. One longer than the room is cut.
 */
bool model_names_at(const model_names *n, size_t i, char *name, size_t bytes);

#endif
