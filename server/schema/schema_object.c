/* schema_object.c - objects: properties in the order in which they are named, then others.
 *
 *   '{' --> F0 --pair 0--> C1     F: no property was written yet, C: some were
 *           |skip            |skip, or ',' pair 1
 *           F1 --pair 1--> C2 ...
 *           Fn, Cn --'}'-->     and where others may be: Fn --other--> Cn --',' other--> Cn
 *
 * What may be left out has the edge that skips it. A property is read from all parts of the
 * set: what each says of it must hold. */
#include <stdlib.h>
#include <string.h>

#include "engine/grammar/charset.h"
#include "server/schema/schema_state.h"

enum { MAX_PROPERTIES = 2000 };

/* --- what is said of a name --- */

bool schema_object_property(schema_compiler *c, const schema_set *set, const char *name,
                            schema_set *out)
{
    *out = (schema_set){.n = 0};
    for (size_t i = 0; i < set->n; i++) {
        const cJSON *schema = set->at[i].schema;
        const cJSON *all = schema_get(schema, "properties");
        const cJSON *own = all ? schema_get(all, name) : NULL;

        if (!own) own = schema_get(schema, "additionalProperties");
        if (own && !schema_set_add(c, out, own)) return false;
    }
    return true;
}

bool schema_object_is_required(const schema_set *set, const char *name)
{
    const cJSON *item;

    for (size_t i = 0; i < set->n; i++)
        cJSON_ArrayForEach (item, schema_get(set->at[i].schema, "required"))
            if (strcmp(item->valuestring, name) == 0) return true;
    return false;
}

/* Others are ruled out where properties are named and nothing is said of others. */
bool schema_object_others(schema_compiler *c, const schema_set *set, schema_set *out)
{
    bool named = false, said = false;

    *out = (schema_set){.n = 0};
    for (size_t i = 0; i < set->n; i++) {
        const cJSON *others = schema_get(set->at[i].schema, "additionalProperties");

        named |= schema_get(set->at[i].schema, "properties") != NULL;
        said |= others != NULL;
        if (others && !schema_set_add(c, out, others)) return false;
    }
    if (named && !said) out->never = true;
    return true;
}

/* --- the names --- */

typedef struct names {
    const char *at[MAX_PROPERTIES];
    size_t n;
} names;

static bool add_name(schema_compiler *c, names *l, const cJSON *part, const char *name)
{
    for (size_t i = 0; i < l->n; i++)
        if (strcmp(l->at[i], name) == 0) return true;
    if (l->n == MAX_PROPERTIES)
        return schema_check_refuse(c, part, "an object may name 2,000 properties at most");
    l->at[l->n++] = name;
    return true;
}

/* Those of `properties`, then those that are only required. */
static bool list_names(schema_compiler *c, const schema_set *set, names *l)
{
    const cJSON *item;

    for (size_t i = 0; i < set->n; i++)
        cJSON_ArrayForEach (item, schema_get(set->at[i].schema, "properties")) {
            const size_t before = l->n;

            if (!add_name(c, l, item, item->string)) return false;
            if (i == 0 && l->n == before)
                return schema_check_refuse(c, item, "this property is there twice");
        }
    for (size_t i = 0; i < set->n; i++)
        cJSON_ArrayForEach (item, schema_get(set->at[i].schema, "required"))
            if (!add_name(c, l, item, item->valuestring)) return false;
    return true;
}

/* --- other names: a tree of those that are taken, and at each node what leaves it --- */

typedef struct tree_node {
    uint32_t code, child, next; /* children as a list; 0: none */
    uint32_t node;              /* of the grammar */
    bool taken;
} tree_node;

/* A name's characters, from node 0 on; room for them is there. */
static void grow_tree(tree_node *t, uint32_t *n, const char *name)
{
    const size_t bytes = strlen(name);
    uint32_t at = 0;

    for (size_t i = 0, length; i < bytes; i += length) {
        const uint32_t code = charset_decode(name + i, bytes - i, &length);
        uint32_t child = t[at].child;

        while (child && t[child].code != code) child = t[child].next;
        if (!child) {
            child = (*n)++;
            t[child] = (tree_node){.code = code, .next = t[at].child};
            t[at].child = child;
        }
        at = child;
    }
    t[at].taken = true;
}

/* The edges of one node: to its children, and with any other character to `free`. */
static void add_tree_edges(schema_compiler *c, const tree_node *t, uint32_t at,
                           uint32_t free_node, uint32_t quote)
{
    charset s = {0};
    char out[CHARSET_SPELLED];
    err e = ERR_OK;

    for (uint32_t k = t[at].child; k && e == ERR_OK; k = t[k].next) {
        nfa_add_text(c->a, t[at].node, out, charset_spell(t[k].code, CHARSET_JSON, out),
                     t[k].node);
        e = charset_add(&s, t[k].code, t[k].code);
    }
    if (e == ERR_OK) e = charset_negate(&s);
    if (e == ERR_OK)
        charset_add_edge(c->a, &s, CHARSET_JSON, charset_add_rule(c->a, &s, CHARSET_JSON),
                         t[at].node, free_node);
    else
        c->a->failure = e;
    if (!t[at].taken) nfa_add_skip(c->a, t[at].node, quote);
    charset_free(&s);
}

/* A rule: a string in its one spelling that is none of the names. */
static uint32_t add_other_names(schema_compiler *c, const names *l)
{
    const uint32_t rule = nfa_add_rule(c->a), quote = nfa_add_node(c->a);
    const uint32_t free_node = nfa_add_node(c->a);
    size_t room = 2;
    uint32_t n = 2;
    tree_node *t;

    for (size_t i = 0; i < l->n; i++) room += strlen(l->at[i]);
    t = calloc(room, sizeof *t);
    if (!t) {
        c->a->failure = ERR_NOMEM;
        return 0;
    }
    /* number 1 is a node without a way there: where any character leads once it is free */
    for (size_t i = 0; i < l->n; i++) grow_tree(t, &n, l->at[i]);
    for (uint32_t i = 0; i < n; i++) t[i].node = i == 1 ? free_node : nfa_add_node(c->a);
    nfa_add_text(c->a, nfa_start(c->a, rule), "\"", 1, t[0].node);
    for (uint32_t i = 0; i < n && nfa_failure(c->a) == ERR_OK; i++)
        add_tree_edges(c, t, i, free_node, quote);
    nfa_add_text(c->a, quote, "\"", 1, nfa_end(c->a, rule));
    free(t);
    return rule;
}

/* --- pairs --- */

/* A rule: what stands before a value, the value of a set, and the space behind it. */
static void end_pair(schema_compiler *c, uint32_t rule, uint32_t colon, const schema_set *value)
{
    const uint32_t space = nfa_add_node(c->a), at = nfa_add_node(c->a),
                   last = nfa_add_node(c->a);

    nfa_add_text(c->a, colon, ":", 1, space);
    nfa_add_call(c->a, space, c->json.space, at);
    nfa_add_call(c->a, at, schema_rule(c, value), last);
    nfa_add_call(c->a, last, c->json.space, nfa_end(c->a, rule));
}

static bool add_pair(schema_compiler *c, const schema_set *set, const char *name,
                     uint32_t *rule)
{
    const size_t n = strlen(name);
    uint32_t at, next;
    schema_set value;
    char out[CHARSET_SPELLED];

    if (!schema_object_property(c, set, name, &value)) return false;
    *rule = nfa_add_rule(c->a);
    at = nfa_add_node(c->a);
    nfa_add_text(c->a, nfa_start(c->a, *rule), "\"", 1, at);
    for (size_t i = 0, length; i < n; i += length) {
        next = nfa_add_node(c->a);
        nfa_add_text(c->a, at, out,
                     charset_spell(charset_decode(name + i, n - i, &length), CHARSET_JSON, out),
                     next);
        at = next;
    }
    next = nfa_add_node(c->a);
    nfa_add_text(c->a, at, "\"", 1, next);
    end_pair(c, *rule, next, &value);
    return true;
}

/* --- the object --- */

/* Where nothing was written yet, and where something was; NFA_NONE: this cannot be. */
typedef struct ways {
    uint32_t first, comma;
} ways;

static void add_pair_edges(schema_compiler *c, const ways *at, uint32_t rule, uint32_t to)
{
    const uint32_t behind = nfa_add_node(c->a), next = nfa_add_node(c->a);

    nfa_add_call(c->a, at->first, rule, to);
    nfa_add_text(c->a, at->comma, ",", 1, behind);
    nfa_add_call(c->a, behind, c->json.space, next);
    nfa_add_call(c->a, next, rule, to);
}

static bool add_properties(schema_compiler *c, const schema_set *set, const names *l, ways *at)
{
    for (size_t i = 0; i < l->n && nfa_failure(c->a) == ERR_OK; i++) {
        const ways next = {nfa_add_node(c->a), nfa_add_node(c->a)};
        uint32_t rule;

        if (!add_pair(c, set, l->at[i], &rule)) return false;
        add_pair_edges(c, at, rule, next.comma);
        if (!schema_object_is_required(set, l->at[i])) {
            nfa_add_skip(c->a, at->first, next.first);
            nfa_add_skip(c->a, at->comma, next.comma);
        }
        *at = next;
    }
    return true;
}

static bool add_others(schema_compiler *c, const schema_set *set, const names *l,
                       const ways *at)
{
    uint32_t rule, colon;
    schema_set value;

    if (!schema_object_others(c, set, &value)) return false;
    if (value.never) return true;
    rule = nfa_add_rule(c->a);
    colon = nfa_add_node(c->a);
    nfa_add_call(c->a, nfa_start(c->a, rule), l->n ? add_other_names(c, l) : c->json.string,
                 colon);
    end_pair(c, rule, colon, &value);
    add_pair_edges(c, at, rule, at->comma);
    return true;
}

static bool add_object(schema_compiler *c, const schema_set *set, const names *l, uint32_t rule)
{
    const uint32_t open = nfa_add_node(c->a), end = nfa_end(c->a, rule);
    ways at = {nfa_add_node(c->a), nfa_add_node(c->a)};
    uint32_t least = 0;

    if (!schema_set_count(c, set, "minProperties", true, &least)) return false;
    if (least > 1) {
        const cJSON *part;

        schema_set_bound(c, set, "minProperties", true, &part);
        return schema_check_refuse(c, part, "more than 1 is not supported");
    }
    nfa_add_text(c->a, nfa_start(c->a, rule), "{", 1, open);
    nfa_add_call(c->a, open, c->json.space, at.first);
    if (!add_properties(c, set, l, &at) || !add_others(c, set, l, &at)) return false;
    if (!least) nfa_add_text(c->a, at.first, "}", 1, end);
    nfa_add_text(c->a, at.comma, "}", 1, end);
    return true;
}

bool schema_object_add(schema_compiler *c, const schema_set *set, uint32_t rule)
{
    names *l = malloc(sizeof *l);
    bool good;

    if (!l) return fault_fail(c->why, ERR_NOMEM);
    l->n = 0;
    good = list_names(c, set, l) &&
           (!schema_check_work(c, l->n * l->n) || add_object(c, set, l, rule));
    free(l);
    return good;
}
