/* schema_check.c - the table of keywords, and paths of what is refused. */
#include <stdio.h>
#include <string.h>

#include "server/schema/schema_state.h"

/* --- values that ask for nothing --- */

static bool is_never(const cJSON *item)
{
    (void)item;
    return false;
}

static bool is_false(const cJSON *item)
{
    return cJSON_IsFalse(item);
}

static bool is_true(const cJSON *item)
{
    return cJSON_IsTrue(item) || (cJSON_IsObject(item) && !item->child);
}

static bool is_empty(const cJSON *item)
{
    return cJSON_IsObject(item) && !item->child;
}

/* --- the table --- */

typedef enum use { USED, NOTE, REFUSED } use;

typedef struct row {
    const char *name;
    use use;
    unsigned kinds;
    bool (*is_neutral)(const cJSON *item);
} row;

enum {
    KINDS_ANY = 0,
    KINDS_OBJECT = SCHEMA_OBJECT,
    KINDS_ARRAY = SCHEMA_ARRAY,
    KINDS_STRING = SCHEMA_STRING,
    KINDS_NUMBER = SCHEMA_NUMBER
};

static const row table[] = {
#define KEYWORD(name, use, of, neutral) {name, use, KINDS_##of, is_##neutral},
#include "server/schema/schema_keywords.def"
#undef KEYWORD
};

static const row *find_row(const char *name)
{
    for (size_t i = 0; i < sizeof table / sizeof *table; i++)
        if (strcmp(table[i].name, name) == 0) return &table[i];
    return NULL;
}

unsigned schema_check_kinds(const char *keyword)
{
    const row *r = find_row(keyword);

    return r && r->use != NOTE ? r->kinds : 0;
}

/* --- paths --- */

/* From the root down to a part, the part being found by its place in memory: ways down are
 * tried in turn. Written as clients do, `properties.name.items[2]`. */
static bool write_path(const cJSON *at, const cJSON *part, char *out, size_t room, size_t n)
{
    const cJSON *child;
    size_t i = 0;

    if (at == part) return true;
    cJSON_ArrayForEach (child, at) {
        const size_t more = child->string
                                ? (size_t)snprintf(out + n, room - n, ".%s", child->string)
                                : (size_t)snprintf(out + n, room - n, "[%zu]", i);

        if (write_path(child, part, out, room, n + more < room ? n + more : room - 1))
            return true;
        i++;
    }
    out[n] = '\0';
    return false;
}

bool schema_check_refuse(schema_compiler *c, const cJSON *part, const char *sentence)
{
    char path[224];
    const int n = snprintf(path, sizeof path, "%s", c->path);

    write_path(c->root, part, path, sizeof path, n < (int)sizeof path ? (size_t)n : 0);
    return fault_refuse(c->why, ERR_INVALID, path, "'%s': %s.", path, sentence);
}

bool schema_check_work(schema_compiler *c, size_t n)
{
    c->work += n;
    if (c->work <= SCHEMA_MAX_WORK) return true;
    if (c->a->failure == ERR_OK) c->a->failure = ERR_TOOMANY;
    return false;
}

/* --- one schema --- */

static bool is_list_of_schemas(const cJSON *list)
{
    return cJSON_IsArray(list) && list->child;
}

/* Members whose form nobody else looks at before it is used. */
static bool check_form(schema_compiler *c, const cJSON *item)
{
    static const char *const lists[] = {"anyOf", "oneOf", "allOf"};
    static const char *const objects[] = {"properties"};

    for (size_t i = 0; i < 3; i++)
        if (strcmp(item->string, lists[i]) == 0 && !is_list_of_schemas(item))
            return schema_check_refuse(c, item, "this must be an array of at least one schema");
    if (strcmp(item->string, objects[0]) == 0 && !cJSON_IsObject(item))
        return schema_check_refuse(c, item, "this must be an object");
    if (strcmp(item->string, "enum") == 0 && !cJSON_IsArray(item))
        return schema_check_refuse(c, item, "this must be an array");
    return true;
}

static bool is_type_name(const cJSON *item)
{
    static const char names[] = " null boolean string integer number array object ";
    char word[16];

    if (!cJSON_IsString(item) || strlen(item->valuestring) > 8) return false;
    snprintf(word, sizeof word, " %s ", item->valuestring);
    return strstr(names, word) != NULL;
}

static bool check_type(schema_compiler *c, const cJSON *type)
{
    const cJSON *item;
    bool good = !type || is_type_name(type) || (cJSON_IsArray(type) && type->child);

    if (cJSON_IsArray(type))
        cJSON_ArrayForEach (item, type) good &= is_type_name(item);
    return good || schema_check_refuse(c, type, "this is no type, or no array of types");
}

static bool check_required(schema_compiler *c, const cJSON *list)
{
    const cJSON *item;
    bool good = !list || cJSON_IsArray(list);

    cJSON_ArrayForEach (item, list) good &= cJSON_IsString(item);
    return good || schema_check_refuse(c, list, "this must be an array of strings");
}

/* Of a name that is given twice one would be ignored in silence. */
static bool is_twice(const cJSON *item)
{
    for (const cJSON *x = item->next; x; x = x->next)
        if (strcmp(x->string, item->string) == 0) return true;
    return false;
}

bool schema_check(schema_compiler *c, const cJSON *schema)
{
    const cJSON *item;

    cJSON_ArrayForEach (item, schema) {
        const row *r = find_row(item->string);

        if (!schema_check_work(c, 50)) return true; /* told of as a whole */
        if (!r || r->use == NOTE) continue;
        if (is_twice(item)) return schema_check_refuse(c, item, "this is there twice");
        if (r->use == REFUSED && !r->is_neutral(item))
            return schema_check_refuse(c, item, "this keyword is not supported");
        if (!check_form(c, item)) return false;
    }
    return check_type(c, schema_get(schema, "type")) &&
           check_required(c, schema_get(schema, "required"));
}
