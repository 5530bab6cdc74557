/* schema_set.c - several schemas that must hold of one document. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "server/schema/schema_state.h"

bool schema_set_add(schema_compiler *c, schema_set *set, const cJSON *schema)
{
    if (cJSON_IsTrue(schema)) return true;
    if (cJSON_IsFalse(schema)) {
        set->never = true;
        return true;
    }
    if (!cJSON_IsObject(schema))
        return schema_check_refuse(c, schema, "a schema must be an object, true or false");
    if (!schema->child) return true; /* {} */
    for (size_t i = 0; i < set->n; i++)
        if (set->at[i].schema == schema) return true;
    if (set->n == SCHEMA_PARTS)
        return schema_check_refuse(c, schema, "too many schemas must hold at once here");
    set->at[set->n++] = (schema_part){schema, 0};
    return true;
}

static bool expand_part(schema_compiler *c, schema_set *set, const cJSON *schema)
{
    const cJSON *ref = schema_get(schema, "$ref"), *all = schema_get(schema, "allOf"), *item;

    if (!schema_check(c, schema)) return false;
    if (ref) {
        const cJSON *to = schema_ref_find(c, ref);

        if (!to || !schema_set_add(c, set, to)) return false;
    }
    cJSON_ArrayForEach (item, all)
        if (!schema_set_add(c, set, item)) return false;
    return true;
}

/* The set grows while it is walked. */
bool schema_set_expand(schema_compiler *c, schema_set *set)
{
    for (size_t i = 0; i < set->n && !set->never; i++)
        if (!expand_part(c, set, set->at[i].schema)) return false;
    return true;
}

/* --- kinds of values --- */

unsigned schema_set_type_of_value(const cJSON *value)
{
    if (cJSON_IsNull(value)) return SCHEMA_NULL;
    if (cJSON_IsBool(value)) return SCHEMA_BOOLEAN;
    if (cJSON_IsString(value)) return SCHEMA_STRING;
    if (cJSON_IsArray(value)) return SCHEMA_ARRAY;
    if (cJSON_IsObject(value)) return SCHEMA_OBJECT;
    return value->valuedouble == floor(value->valuedouble) ? SCHEMA_INTEGER : SCHEMA_FRACTION;
}

static unsigned types_named(const char *name)
{
    static const struct {
        const char *name;
        unsigned types;
    } names[] = {{"null", SCHEMA_NULL},     {"boolean", SCHEMA_BOOLEAN},
                 {"string", SCHEMA_STRING}, {"integer", SCHEMA_INTEGER},
                 {"number", SCHEMA_NUMBER}, {"array", SCHEMA_ARRAY},
                 {"object", SCHEMA_OBJECT}};

    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (strcmp(names[i].name, name) == 0) return names[i].types;
    return 0;
}

/* By its own keywords alone; of what type it is where none says so. */
static unsigned own_types(const cJSON *schema)
{
    const cJSON *type = schema_get(schema, "type"), *item;
    unsigned types = 0;

    if (cJSON_IsString(type)) return types_named(type->valuestring);
    cJSON_ArrayForEach (item, type)
        if (cJSON_IsString(item)) types |= types_named(item->valuestring);
    if (type) return types;
    if (schema_get(schema, "enum") || schema_get(schema, "const")) return SCHEMA_ANY;
    cJSON_ArrayForEach (item, schema) types |= schema_check_kinds(item->string);
    return types ? types : SCHEMA_ANY;
}

unsigned schema_set_types(schema_compiler *c, const schema_set *set)
{
    unsigned types = SCHEMA_ANY;

    (void)c;
    for (size_t i = 0; i < set->n; i++) types &= own_types(set->at[i].schema);
    return types;
}

static unsigned listed_types(const cJSON *schema)
{
    const cJSON *list = schema_get(schema, "enum"), *one = schema_get(schema, "const"), *item;
    unsigned types = 0;

    if (one) return schema_set_type_of_value(one);
    if (!list) return SCHEMA_ANY;
    cJSON_ArrayForEach (item, list) types |= schema_set_type_of_value(item);
    return types;
}

unsigned schema_set_types_of(schema_compiler *c, const cJSON *schema, int depth)
{
    static const char *const unions[] = {"anyOf", "oneOf"};
    const cJSON *ref = schema_get(schema, "$ref"), *item;
    unsigned types;

    if (cJSON_IsFalse(schema)) return 0;
    if (!cJSON_IsObject(schema) || depth == 0 || !schema_check_work(c, 100)) return SCHEMA_ANY;
    types = own_types(schema) & listed_types(schema);
    if (ref) {
        const cJSON *to = schema_ref_find(c, ref);

        if (to) types &= schema_set_types_of(c, to, depth - 1);
    }
    cJSON_ArrayForEach (item, schema_get(schema, "allOf"))
        types &= schema_set_types_of(c, item, depth - 1);
    for (size_t i = 0; i < 2; i++) {
        const cJSON *list = schema_get(schema, unions[i]);
        unsigned any = 0;

        cJSON_ArrayForEach (item, list) any |= schema_set_types_of(c, item, depth - 1);
        if (list) types &= any;
    }
    return types;
}

/* --- numbers that bound --- */

bool schema_set_bound(schema_compiler *c, const schema_set *set, const char *keyword,
                      bool largest, const cJSON **found)
{
    *found = NULL;
    for (size_t i = 0; i < set->n; i++) {
        const cJSON *x = schema_get(set->at[i].schema, keyword);

        if (!x) continue;
        if (!cJSON_IsNumber(x) || !isfinite(x->valuedouble))
            return schema_check_refuse(c, x, "this must be a number");
        if (!*found || (largest ? x->valuedouble > (*found)->valuedouble
                                : x->valuedouble < (*found)->valuedouble))
            *found = x;
    }
    return true;
}

bool schema_set_count(schema_compiler *c, const schema_set *set, const char *keyword,
                      bool largest, uint32_t *count)
{
    const cJSON *x;

    if (!schema_set_bound(c, set, keyword, largest, &x)) return false;
    if (!x) return true;
    if (x->valuedouble < 0 || x->valuedouble != floor(x->valuedouble))
        return schema_check_refuse(c, x, "this must be an integer of 0 or more");
    /* no grammar is so large: the bound of the grammar's nodes says so */
    *count = x->valuedouble < 1e9 ? (uint32_t)x->valuedouble : 1000000000u;
    return true;
}
