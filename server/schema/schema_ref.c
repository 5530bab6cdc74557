/* schema_ref.c - what "#/$defs/name" names. */
#include <ctype.h>
#include <stdlib.h>
#include <string.h>

#include "server/schema/schema_state.h"

static int hex_value(char c)
{
    const int low = tolower((unsigned char)c);

    return isdigit(low) ? low - '0' : isxdigit(low) ? low - 'a' + 10 : -1;
}

/* One step of a pointer, n bytes, to what it means: %XX, then ~1 and ~0. */
static void decode_step(const char *at, size_t n, char *out)
{
    char *to = out;

    for (size_t i = 0; i < n; i++) {
        if (at[i] == '%' && i + 2 < n && hex_value(at[i + 1]) >= 0 &&
            hex_value(at[i + 2]) >= 0) {
            *to++ = (char)(16 * hex_value(at[i + 1]) + hex_value(at[i + 2]));
            i += 2;
        } else {
            *to++ = at[i];
        }
    }
    *to = '\0';
    for (at = out, to = out; *at; at++) {
        const bool escaped = at[0] == '~' && (at[1] == '0' || at[1] == '1');

        *to++ = escaped ? (at[1] == '0' ? '~' : '/') : *at;
        at += escaped;
    }
    *to = '\0';
}

static const cJSON *find_step(const cJSON *at, const char *step)
{
    if (cJSON_IsArray(at) && isdigit((unsigned char)*step)) {
        char *end;
        const long i = strtol(step, &end, 10);

        return *end || i > 1 << 20 ? NULL : cJSON_GetArrayItem(at, (int)i);
    }
    return cJSON_IsObject(at) ? schema_get(at, step) : NULL;
}

static const cJSON *follow(const cJSON *root, const char *pointer, char *step)
{
    const cJSON *at = root;

    while (at && *pointer == '/') {
        const size_t n = strcspn(++pointer, "/");

        decode_step(pointer, n, step);
        at = find_step(at, step);
        pointer += n;
    }
    return at;
}

/* The schema that calls itself so by $anchor. As deep as JSON is nested. */
static const cJSON *find_anchor(const cJSON *at, const char *name)
{
    const cJSON *own = cJSON_IsObject(at) ? schema_get(at, "$anchor") : NULL, *child;

    if (cJSON_IsString(own) && strcmp(own->valuestring, name) == 0) return at;
    cJSON_ArrayForEach (child, at) {
        const cJSON *found = find_anchor(child, name);

        if (found) return found;
    }
    return NULL;
}

/* Behind the root's own name, if it begins with that. */
static const char *skip_id(const cJSON *root, const char *ref)
{
    const cJSON *id = cJSON_IsObject(root) ? schema_get(root, "$id") : NULL;
    const size_t n = cJSON_IsString(id) ? strcspn(id->valuestring, "#") : 0;

    return n && strncmp(ref, id->valuestring, n) == 0 ? ref + n : ref;
}

const cJSON *schema_ref_find(schema_compiler *c, const cJSON *ref)
{
    const cJSON *found = NULL;
    const char *text;
    char *step;

    if (!cJSON_IsString(ref)) {
        schema_check_refuse(c, ref, "this must be a string");
        return NULL;
    }
    if (!schema_check_work(c, c->values / 8)) return c->root; /* told of as a whole */
    text = skip_id(c->root, ref->valuestring);
    step = malloc(strlen(text) + 1);
    if (!step) {
        fault_fail(c->why, ERR_NOMEM);
        return NULL;
    }
    if (!*text || strcmp(text, "#") == 0)
        found = c->root;
    else if (strncmp(text, "#/", 2) == 0)
        found = follow(c->root, text + 1, step);
    else if (*text == '#')
        found = find_anchor(c->root, text + 1);
    free(step);
    if (!found) schema_check_refuse(c, ref, "nothing in this schema has that name");
    return found;
}
