/* schema_apart.c - can one document satisfy both of two sets?
 *
 * No, where no kind of value is in both; where both list values and none is in both lists; or,
 * of objects, where a property that both require has no value for both, or one requires what
 * the other rules out. Everything else may meet. */
#include <stddef.h>

#include "server/schema/schema_state.h"

/* Kinds that all parts may be, with what they refer to. */
static unsigned kinds_of(schema_compiler *c, const schema_set *set)
{
    unsigned types = set->never ? 0 : SCHEMA_ANY;

    for (size_t i = 0; i < set->n; i++)
        types &= schema_set_types_of(c, set->at[i].schema, SCHEMA_DEPTH);
    return types;
}

/* A part that lists values, as an array of them; NULL: none does. */
static const cJSON *listed(const schema_set *set, cJSON *one)
{
    for (size_t i = 0; i < set->n; i++) {
        const cJSON *only = schema_get(set->at[i].schema, "const");
        const cJSON *list = schema_get(set->at[i].schema, "enum");

        if (only) { /* as a list of one, whose element ends it */
            one[1] = *only;
            one[1].next = NULL;
            one[0] = (cJSON){.type = cJSON_Array, .child = &one[1]};
            return one;
        }
        if (list) return list;
    }
    return NULL;
}

static bool share_values(const cJSON *a, const cJSON *b)
{
    const cJSON *x, *y;

    cJSON_ArrayForEach (x, a)
        cJSON_ArrayForEach (y, b)
            if (cJSON_Compare(x, y, true)) return true;
    return false;
}

static bool may_meet(schema_compiler *c, const schema_set *a, const schema_set *b, int depth);

/* A property that `a` requires: is there no value for it in both? */
static bool parts_at(schema_compiler *c, const schema_set *a, const schema_set *b,
                     const char *name, int depth)
{
    schema_set x, y;

    if (!schema_object_is_required(b, name)) {
        if (!schema_object_property(c, b, name, &y)) return false;
        return y.never; /* b rules it out */
    }
    if (!schema_object_property(c, a, name, &x) || !schema_object_property(c, b, name, &y) ||
        !schema_set_expand(c, &x) || !schema_set_expand(c, &y))
        return false;
    return !may_meet(c, &x, &y, depth - 1);
}

static bool objects_part(schema_compiler *c, const schema_set *a, const schema_set *b,
                         int depth)
{
    const cJSON *item;

    for (size_t i = 0; i < a->n; i++)
        cJSON_ArrayForEach (item, schema_get(a->at[i].schema, "required"))
            if (parts_at(c, a, b, item->valuestring, depth)) return true;
    return false;
}

static bool may_meet(schema_compiler *c, const schema_set *a, const schema_set *b, int depth)
{
    const unsigned shared = kinds_of(c, a) & kinds_of(c, b);
    cJSON one[2], other[2];
    const cJSON *x = listed(a, one), *y = listed(b, other);

    if (!shared) return false;
    if (x && y && !share_values(x, y)) return false;
    if (shared != SCHEMA_OBJECT || depth == 0) return true;
    return !objects_part(c, a, b, depth) && !objects_part(c, b, a, depth);
}

bool schema_apart_may_meet(schema_compiler *c, const schema_set *a, const schema_set *b)
{
    return may_meet(c, a, b, 3);
}
