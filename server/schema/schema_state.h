/* schema_state.h - what the parts of the compiler share.
 *
 * A document must often satisfy several schemas at once: a schema, what its $ref names, each of
 * its allOf, one branch of its anyOf. The compiler works on such sets. Each set is a rule of
 * the grammar, made once: recursion is a set that is met again. Rules are made from a list of
 * tasks, so that no depth of a schema is a depth of our stack. */
#ifndef SERVER_SCHEMA_SCHEMA_STATE_H
#define SERVER_SCHEMA_SCHEMA_STATE_H

#include <cjson/cJSON.h>

#include "engine/grammar/json_rules.h"
#include "engine/grammar/nfa.h"
#include "server/fault.h"

enum { SCHEMA_MAX_VALUES = 100000, SCHEMA_MAX_WORK = 50000000 };
enum { SCHEMA_PARTS = 32, SCHEMA_MAX_TASKS = 1 << 14, SCHEMA_DEPTH = 16 };

/* Keywords of a part that a branch was chosen for. */
enum { SCHEMA_ANY_OF = 1, SCHEMA_ONE_OF = 2 };

typedef struct schema_part {
    const cJSON *schema; /* an object, behind schema_expand */
    unsigned chosen;
} schema_part;

typedef struct schema_set {
    schema_part at[SCHEMA_PARTS];
    size_t n;
    bool never; /* no document: a part is `false` */
} schema_set;

typedef struct schema_task {
    schema_set set;
    uint32_t rule;
} schema_task;

typedef struct schema_compiler {
    nfa *a;
    json_rules json;
    const cJSON *root;
    const char *path;
    fault *why;
    schema_task *tasks; /* [n_tasks] */
    uint32_t *table;    /* [2 * SCHEMA_MAX_TASKS] task + 1, by its set */
    size_t n_tasks, room_tasks;
    uint32_t first; /* the rule of the first task */
    size_t values;  /* of the whole schema */
    uint64_t work;  /* schema_check_work */
} schema_compiler;

/* Kinds of values; a number is either of two, so that an integer is one of them. */
enum {
    SCHEMA_NULL = 1,
    SCHEMA_BOOLEAN = 2,
    SCHEMA_STRING = 4,
    SCHEMA_INTEGER = 8,
    SCHEMA_FRACTION = 16,
    SCHEMA_NUMBER = SCHEMA_INTEGER | SCHEMA_FRACTION,
    SCHEMA_ARRAY = 32,
    SCHEMA_OBJECT = 64,
    SCHEMA_ANY = 127
};

/* --- schema.c --- */

/* The rule of a set, made now or later; a dead one where there is no room. */
uint32_t schema_rule(schema_compiler *c, const schema_set *set);

/* --- schema_set.c --- */

/* Add a schema that must hold, too; false: why. */
bool schema_set_add(schema_compiler *c, schema_set *set, const cJSON *schema);

/* Add what $ref and allOf say, until nothing is new; checks every part. */
bool schema_set_expand(schema_compiler *c, schema_set *set);

/* Kinds of values that it may be. A schema's own, with what it refers to, as far as `depth`. */
unsigned schema_set_types(schema_compiler *c, const schema_set *set);
unsigned schema_set_types_of(schema_compiler *c, const cJSON *schema, int depth);
unsigned schema_set_type_of_value(const cJSON *value);

/* What a keyword says at its strictest: the largest (or least) number of all parts, counts as
 * numbers; *found is the part's value, or NULL. False: why. */
bool schema_set_bound(schema_compiler *c, const schema_set *set, const char *keyword,
                      bool largest, const cJSON **found);
bool schema_set_count(schema_compiler *c, const schema_set *set, const char *keyword,
                      bool largest, uint32_t *count);

/* --- schema_check.c --- */

/* Are a schema's keywords such as can be compiled? */
bool schema_check(schema_compiler *c, const cJSON *schema);

/* Count so many comparisons; false, and a failure of the grammar: there were too many. What is
 * looked for by name is looked for from the beginning, again and again. */
bool schema_check_work(schema_compiler *c, size_t n);

/* The kinds of value that a keyword of the table speaks of; 0: none, or any. */
unsigned schema_check_kinds(const char *keyword);

/* Refuse a part of the schema by its path. */
bool schema_check_refuse(schema_compiler *c, const cJSON *part, const char *sentence);

/* --- schema_ref.c --- */

/* What a $ref names; NULL: why. */
const cJSON *schema_ref_find(schema_compiler *c, const cJSON *ref);

/* --- schema_apart.c --- */

/* May both hold of one document? Says yes where it does not know. */
bool schema_apart_may_meet(schema_compiler *c, const schema_set *a, const schema_set *b);

/* --- the kinds of values: edges of `rule` for those of an expanded set --- */

bool schema_value_add(schema_compiler *c, const schema_set *set, uint32_t rule, bool *listed);
bool schema_string_add(schema_compiler *c, const schema_set *set, uint32_t rule);
bool schema_number_add(schema_compiler *c, const schema_set *set, unsigned types,
                       uint32_t rule);
bool schema_array_add(schema_compiler *c, const schema_set *set, uint32_t rule);
bool schema_object_add(schema_compiler *c, const schema_set *set, uint32_t rule);

/* The set that a property must satisfy. */
bool schema_object_property(schema_compiler *c, const schema_set *set, const char *name,
                            schema_set *out);
bool schema_object_is_required(const schema_set *set, const char *name);

/* May it have properties that it does not name, and of which set? */
bool schema_object_others(schema_compiler *c, const schema_set *set, schema_set *out);

/* The member of a schema, null also where it is `null`. */
static inline const cJSON *schema_get(const cJSON *schema, const char *keyword)
{
    return cJSON_GetObjectItemCaseSensitive(schema, keyword);
}

#endif
