/* schema.c - sets of schemas become rules, one after the other.
 *
 *   task: a set --expand--> $ref and allOf are part of it
 *               --anyOf, oneOf--> a call of the rule of (the set with that branch), for each
 *               --enum, const--> the values listed, those that the rest allows
 *               --else--> edges for each kind of value that is allowed */
#include "server/schema/schema.h"

#include <stdlib.h>
#include <string.h>

#include "server/schema/schema_state.h"

/* --- tasks --- */

static bool is_same(const schema_set *x, const schema_set *y)
{
    if (x->n != y->n || x->never != y->never) return false;
    for (size_t i = 0; i < x->n; i++)
        if (x->at[i].schema != y->at[i].schema || x->at[i].chosen != y->at[i].chosen)
            return false;
    return true;
}

static uint32_t hash_set(const schema_set *set)
{
    uint64_t h = set->never;

    for (size_t i = 0; i < set->n; i++) {
        h = (h ^ (uintptr_t)set->at[i].schema ^ set->at[i].chosen) * 0x9e3779b97f4a7c15u;
        h ^= h >> 29;
    }
    return (uint32_t)h;
}

/* Room for one more task. */
static bool make_room(schema_compiler *c)
{
    const size_t more = c->room_tasks ? 2 * c->room_tasks : 16;
    schema_task *bigger;

    if (c->n_tasks < c->room_tasks) return true;
    if (c->n_tasks == SCHEMA_MAX_TASKS) {
        c->a->failure = ERR_TOOMANY;
        return false;
    }
    bigger = realloc(c->tasks, more * sizeof *bigger);
    if (!bigger) {
        c->a->failure = ERR_NOMEM;
        return false;
    }
    c->tasks = bigger;
    c->room_tasks = more;
    return true;
}

uint32_t schema_rule(schema_compiler *c, const schema_set *set)
{
    uint32_t at = hash_set(set) % (2 * SCHEMA_MAX_TASKS);

    if (!set->n && !set->never) return c->json.value;
    for (; c->table[at]; at = (at + 1) % (2 * SCHEMA_MAX_TASKS))
        if (is_same(&c->tasks[c->table[at] - 1].set, set))
            return c->tasks[c->table[at] - 1].rule;
    if (nfa_failure(c->a) != ERR_OK || !make_room(c)) return 0;
    c->tasks[c->n_tasks] = (schema_task){*set, c->n_tasks ? nfa_add_rule(c->a) : c->first};
    c->table[at] = (uint32_t)++c->n_tasks;
    return c->tasks[c->n_tasks - 1].rule;
}

/* --- unions --- */

/* The first anyOf or oneOf that no branch was chosen for. */
static const cJSON *find_union(const schema_set *set, size_t *part, unsigned *bit)
{
    static const struct {
        const char *keyword;
        unsigned bit;
    } kinds[] = {{"anyOf", SCHEMA_ANY_OF}, {"oneOf", SCHEMA_ONE_OF}};

    for (size_t i = 0; i < set->n; i++)
        for (size_t k = 0; k < 2; k++) {
            const cJSON *list = schema_get(set->at[i].schema, kinds[k].keyword);

            if (!list || (set->at[i].chosen & kinds[k].bit)) continue;
            *part = i;
            *bit = kinds[k].bit;
            return list;
        }
    return NULL;
}

/* Of oneOf no two branches may hold, or a document of both would be written. */
static bool check_apart(schema_compiler *c, const schema_set *set, const cJSON *list)
{
    const cJSON *x, *y;

    cJSON_ArrayForEach (x, list) {
        for (y = x->next; y; y = y->next) {
            schema_set one = *set, other = *set;

            if (!schema_set_add(c, &one, x) || !schema_set_add(c, &other, y) ||
                !schema_set_expand(c, &one) || !schema_set_expand(c, &other))
                return false;
            if (schema_apart_may_meet(c, &one, &other))
                return schema_check_refuse(
                    c, list,
                    "branches must exclude each other by their types or by constants of a "
                    "required property; use 'anyOf' where more than one may hold");
        }
    }
    return true;
}

static bool add_union(schema_compiler *c, const schema_set *set, const cJSON *list,
                      uint32_t rule)
{
    const cJSON *branch;
    size_t part;
    unsigned bit;
    schema_set chosen = *set;

    find_union(set, &part, &bit);
    chosen.at[part].chosen |= bit;
    if (bit == SCHEMA_ONE_OF && !check_apart(c, &chosen, list)) return false;
    cJSON_ArrayForEach (branch, list) {
        schema_set with = chosen;

        if (!schema_set_add(c, &with, branch)) return false;
        nfa_add_call(c->a, nfa_start(c->a, rule), schema_rule(c, &with), nfa_end(c->a, rule));
    }
    return true;
}

/* --- kinds of values --- */

static bool add_kinds(schema_compiler *c, const schema_set *set, uint32_t rule)
{
    const unsigned types = schema_set_types(c, set);
    const uint32_t from = nfa_start(c->a, rule), to = nfa_end(c->a, rule);

    if (types & SCHEMA_NULL) nfa_add_text(c->a, from, "null", 4, to);
    if (types & SCHEMA_BOOLEAN) {
        nfa_add_text(c->a, from, "true", 4, to);
        nfa_add_text(c->a, from, "false", 5, to);
    }
    return (!(types & SCHEMA_STRING) || schema_string_add(c, set, rule)) &&
           (!(types & SCHEMA_NUMBER) || schema_number_add(c, set, types, rule)) &&
           (!(types & SCHEMA_ARRAY) || schema_array_add(c, set, rule)) &&
           (!(types & SCHEMA_OBJECT) || schema_object_add(c, set, rule));
}

static bool compile(schema_compiler *c, schema_set set, uint32_t rule)
{
    const cJSON *list;
    bool listed = false;
    size_t part;
    unsigned bit;

    if (!schema_set_expand(c, &set)) return false;
    if (set.never) return true; /* a rule without edges: whoever calls it goes another way */
    list = find_union(&set, &part, &bit);
    if (list) return add_union(c, &set, list, rule);
    if (!schema_value_add(c, &set, rule, &listed)) return false;
    return listed || add_kinds(c, &set, rule);
}

/* Tasks are added while the list is walked. */
static bool compile_all(schema_compiler *c)
{
    for (size_t i = 0; i < c->n_tasks; i++) {
        const schema_task task = c->tasks[i];

        if (!compile(c, task.set, task.rule)) return false;
        if (nfa_failure(c->a) != ERR_OK) break;
    }
    if (nfa_failure(c->a) == ERR_TOOMANY)
        return fault_refuse(c->why, ERR_INVALID, c->path, "'%s' is too large a schema.",
                            c->path);
    return nfa_failure(c->a) == ERR_OK || fault_fail(c->why, nfa_failure(c->a));
}

/* As deep as JSON is nested. */
static size_t count_values(const cJSON *at)
{
    const cJSON *child;
    size_t n = 1;

    cJSON_ArrayForEach (child, at) n += count_values(child);
    return n;
}

bool schema_add_rule(nfa *a, uint32_t rule, const schema_use *use, fault *why)
{
    schema_compiler c = {
        .a = a, .root = use->root, .path = use->path, .why = why, .first = rule};
    schema_set set = {.n = 0};
    bool good;

    c.values = count_values(use->root);
    if (c.values > SCHEMA_MAX_VALUES)
        return fault_refuse(why, ERR_INVALID, use->path, "'%s' is too large a schema.",
                            use->path);
    c.table = calloc(2 * SCHEMA_MAX_TASKS, sizeof *c.table);
    if (!c.table) return fault_fail(why, ERR_NOMEM);
    c.json = json_rules_add(a);
    good = schema_set_add(&c, &set, use->part) &&
           (!use->must || schema_set_add(&c, &set, use->must));
    if (good && !set.n && !set.never)
        nfa_add_call(a, nfa_start(a, rule), c.json.value, nfa_end(a, rule));
    else if (good)
        schema_rule(&c, &set);
    good = good && compile_all(&c);
    free(c.tasks);
    free(c.table);
    return good;
}

bool schema_add(nfa *a, const cJSON *root, const char *path, fault *why)
{
    return schema_add_rule(a, 0, &(schema_use){.root = root, .part = root, .path = path}, why);
}
