/* guide.c - each kind of guide by its compiler, and what they refuse in words. */
#include "server/schema/guide.h"

#include <string.h>

#include "engine/grammar/gbnf.h"
#include "engine/grammar/json_rules.h"
#include "engine/grammar/literals.h"
#include "engine/grammar/regex.h"
#include "server/schema/schema.h"

/* The compiler's place and reason, behind the member's name. */
static bool blame(const guide *g, err e, const fault *why, fault *out)
{
    if (e == ERR_NOMEM) return fault_fail(out, e);
    if (e == ERR_TOOMANY)
        return fault_refuse(out, ERR_INVALID, g->param, "'%s' is too large a grammar.",
                            g->param);
    return fault_refuse(out, ERR_INVALID, g->param, "'%s' cannot be compiled: %s.", g->param,
                        why->field);
}

static err add_object(nfa *a)
{
    const json_rules j = json_rules_add(a);

    nfa_add_call(a, nfa_start(a, 0), j.object, nfa_end(a, 0));
    return nfa_failure(a);
}

static err add_choice(nfa *a, const cJSON *list, fault *why)
{
    const literals l = literals_begin(a, nfa_start(a, 0), nfa_end(a, 0));
    const cJSON *item;
    size_t n = 0;

    cJSON_ArrayForEach (item, list) {
        if (!cJSON_IsString(item)) return err_blame(why, ERR_INVALID, "a choice is no string");
        if (++n > GUIDE_MAX_CHOICES) return ERR_TOOMANY;
        literals_add(a, &l, item->valuestring, strlen(item->valuestring));
    }
    return nfa_failure(a);
}

static err add_source(nfa *a, const guide *g, fault *why)
{
    static const pattern_use whole = {.form = CHARSET_PLAIN, .max = PATTERN_UNBOUNDED};

    if (g->kind == GUIDE_OBJECT) return add_object(a);
    if (g->kind == GUIDE_CHOICE) return add_choice(a, g->value, why);
    if (g->kind == GUIDE_GBNF)
        return gbnf_add(a, g->value->valuestring, strlen(g->value->valuestring), why);
    return regex_add(a, g->value->valuestring, strlen(g->value->valuestring), &whole,
                     nfa_start(a, 0), nfa_end(a, 0), why);
}

static bool add_guide(nfa *a, const guide *g, fault *place, fault *why)
{
    err e;

    if (g->kind == GUIDE_SCHEMA) return schema_add(a, g->value, g->param, why);
    if (g->kind == GUIDE_OTHER) return g->add(a, g->value, why);
    e = add_source(a, g, place);
    return e == ERR_OK || blame(g, e, place, why);
}

bool guide_compile(grammar **out, const guide *g, const bool *available, fault *why)
{
    fault place = {0};
    nfa *a;
    err e = nfa_new(&a);

    if (e != ERR_OK) return fault_fail(why, e);
    if (!add_guide(a, g, &place, why)) {
        nfa_free(a);
        return false;
    }
    e = grammar_new(out, a, available, &place);
    return e == ERR_OK || blame(g, e, &place, why);
}
