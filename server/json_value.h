/* json_value.h - JSON as the values of a chat template.
 *
 * A request's texts are nobody's control tokens: what is made here is not trusted. */
#ifndef SERVER_JSON_VALUE_H
#define SERVER_JSON_VALUE_H

#include <cjson/cJSON.h>

#include "engine/err.h"
#include "engine/template/jinja_value.h"

/* The item and all in it; its texts are borrowed. Numbers without a fraction are whole.
 * ERR_NOMEM.
 */
err json_value_make(jinja_arena *a, const cJSON *item, jinja_value *out);

/* A key or a text of its own. */
err json_value_text(jinja_arena *a, const char *text, jinja_value *out);

#endif
