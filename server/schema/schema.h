/* schema.h - a JSON schema becomes a grammar of the documents that are valid.
 *
 * Draft 2020-12, as far as a grammar can follow it (schema_keywords.def). What would change the
 * set of valid documents and cannot be compiled is refused by its path. Of the valid documents
 * those are written that
 *
 *   have the properties of an object in the order in which the schema names them, and others
 *     behind them,
 *   have no property that `properties` does not name, unless additionalProperties says so,
 *   are of the type that the keywords of a schema without `type` speak of,
 *   are laid out as json_rules.h says.
 *
 * So each document is valid, and only these differences make a valid one impossible. */
#ifndef SERVER_SCHEMA_SCHEMA_H
#define SERVER_SCHEMA_SCHEMA_H

#include <cjson/cJSON.h>

#include "engine/grammar/nfa.h"
#include "server/fault.h"

/* Rule 0 of a, which has no edges yet, becomes the documents of `root`. `path` names the schema
 * in what is refused, and is kept by nobody. False: why. */
bool schema_add(nfa *a, const cJSON *root, const char *path, fault *why);

/* The same for any rule without edges, of a part of `root` where that is what its $ref are read
 * in; `must`: another schema that must hold, too, or NULL. */
typedef struct schema_use {
    const cJSON *root, *part, *must;
    const char *path;
} schema_use;
bool schema_add_rule(nfa *a, uint32_t rule, const schema_use *use, fault *why);

#endif
