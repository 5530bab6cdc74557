/* schema_array.c - arrays: prefixItems, items, and how many.
 *
 *   '[' --> A0 --item 0--> A1 --',' item 1--> A2 ... An --',' item n--. An again
 *           |              |                  |                       '----^
 *          ']'            ']'                ']'   where there are enough of them */
#include "server/schema/schema_state.h"

typedef struct counts {
    uint32_t prefix, min, max; /* items that have schemas of their own; how many there may be */
} counts;

/* The schema of item i in one part; NULL: any. The older form, `items` of an array, is what
 * prefixItems is now. */
static const cJSON *item_schema(const cJSON *schema, uint32_t i)
{
    const cJSON *prefix = schema_get(schema, "prefixItems"),
                *items = schema_get(schema, "items");

    if (cJSON_IsArray(items)) prefix = items, items = NULL;
    if (prefix && (int)i < cJSON_GetArraySize(prefix))
        return cJSON_GetArrayItem(prefix, (int)i);
    return items;
}

static bool item_set(schema_compiler *c, const schema_set *set, uint32_t i, schema_set *out)
{
    *out = (schema_set){.n = 0};
    for (size_t k = 0; k < set->n; k++) {
        const cJSON *item = item_schema(set->at[k].schema, i);

        if (item && !schema_set_add(c, out, item)) return false;
    }
    return true;
}

static bool read_counts(schema_compiler *c, const schema_set *set, counts *n)
{
    *n = (counts){.max = UINT32_MAX};
    for (size_t i = 0; i < set->n; i++) {
        const cJSON *prefix = schema_get(set->at[i].schema, "prefixItems");
        const cJSON *items = schema_get(set->at[i].schema, "items");
        uint32_t size;

        if (prefix && !cJSON_IsArray(prefix))
            return schema_check_refuse(c, prefix, "this must be an array of schemas");
        if (cJSON_IsArray(items)) prefix = items;
        size = prefix ? (uint32_t)cJSON_GetArraySize(prefix) : 0;
        if (size > n->prefix) n->prefix = size;
    }
    return schema_set_count(c, set, "minItems", true, &n->min) &&
           schema_set_count(c, set, "maxItems", false, &n->max);
}

/* Item i, from a node where it may begin to the node behind it and its space. */
static bool add_item(schema_compiler *c, const schema_set *set, uint32_t i, uint32_t from,
                     uint32_t to)
{
    const uint32_t behind = nfa_add_node(c->a);
    schema_set item;

    if (!item_set(c, set, i, &item)) return false;
    nfa_add_call(c->a, from, schema_rule(c, &item), behind);
    nfa_add_call(c->a, behind, c->json.space, to);
    return true;
}

/* A comma from a node behind an item; returns the node where the next one begins. */
static uint32_t add_comma(schema_compiler *c, uint32_t from)
{
    const uint32_t behind = nfa_add_node(c->a), to = nfa_add_node(c->a);

    nfa_add_text(c->a, from, ",", 1, behind);
    nfa_add_call(c->a, behind, c->json.space, to);
    return to;
}

bool schema_array_add(schema_compiler *c, const schema_set *set, uint32_t rule)
{
    const uint32_t end = nfa_end(c->a, rule), open = nfa_add_node(c->a);
    uint32_t at = nfa_add_node(c->a);
    counts n;

    if (!read_counts(c, set, &n)) return false;
    nfa_add_text(c->a, nfa_start(c->a, rule), "[", 1, open);
    nfa_add_call(c->a, open, c->json.space, at);
    for (uint32_t i = 0; nfa_failure(c->a) == ERR_OK; i++) {
        const bool again = i > 0 && i >= n.prefix && i >= n.min && n.max == UINT32_MAX;
        const uint32_t next = again ? at : nfa_add_node(c->a);

        if (i >= n.min && i <= n.max) nfa_add_text(c->a, at, "]", 1, end);
        if (i >= n.max) break;
        if (!add_item(c, set, i, i ? add_comma(c, at) : at, next)) return false;
        if (again) break;
        at = next;
    }
    return true;
}
