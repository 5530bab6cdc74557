/* jinja_eval.c - expressions: one function for each kind of node, chosen by a table.
 *
 * A node is evaluated where it stands and as often as it is reached; nothing is remembered from
 * one time to the next, since a value may be another. Depth is counted here, in one place:
 * every recursion of a template, by macros or by nesting, comes through jinja_eval. */
#include <string.h>

#include "engine/template/jinja_state.h"

static err eval_const(jinja_run *r, const jinja_node *x, jinja_value *out)
{
    (void)r;
    *out = x->value;
    return ERR_OK;
}

/* Never evaluated: parts of other nodes. */
static err eval_unset(jinja_run *r, const jinja_node *x, jinja_value *out)
{
    (void)x, (void)out;
    return jinja_fail(r, "an expression is not complete");
}

/* The innermost variable; then what the caller gave, then the language's functions. */
static err eval_name(jinja_run *r, const jinja_node *x, jinja_value *out)
{
    const jinja_value *given;
    jinja_function f = {0};

    for (const jinja_scope *s = r->scope; s; s = s->up)
        for (const jinja_binding *b = s->first; b; b = b->next)
            if (b->id == x->id) {
                *out = b->value;
                return ERR_OK;
            }
    given = jinja_dict_get(r->given, x->name);
    if (given) {
        *out = *given;
        return ERR_OK;
    }
    f.row = jinja_native_function(x->name);
    if (f.row) return jinja_make_function(r, &f, out);
    out->type = JINJA_UNDEFINED;
    return jinja_hint(r, &out->is.hint, "'%s' is undefined", x->name);
}

/* --- lists and dicts --- */

static err eval_items(jinja_run *r, const jinja_node *x, jinja_form form, jinja_value *out)
{
    jinja_value list, v;

    TRY(jinja_make_list(&r->arena, form, 0, &list));
    for (const jinja_node *i = x->a; i; i = i->next) {
        TRY(jinja_eval(r, i, &v));
        TRY(jinja_list_add(&r->arena, list.is.list, v));
    }
    *out = list;
    return ERR_OK;
}

static err eval_tuple(jinja_run *r, const jinja_node *x, jinja_value *out)
{
    return eval_items(r, x, JINJA_TUPLE, out);
}

static err eval_list(jinja_run *r, const jinja_node *x, jinja_value *out)
{
    return eval_items(r, x, JINJA_LIST_FORM, out);
}

static err eval_dict(jinja_run *r, const jinja_node *x, jinja_value *out)
{
    jinja_value dict, key, v;

    TRY(jinja_make_dict(&r->arena, &dict));
    for (const jinja_node *i = x->a; i; i = i->next) {
        TRY(jinja_eval(r, i->a, &key));
        TRY(jinja_eval(r, i->b, &v));
        if (!jinja_hashable(key))
            return jinja_fail(r, "unhashable type: '%s'", jinja_type_name(key));
        TRY(jinja_dict_set(&r->arena, dict.is.dict, key, v));
    }
    *out = dict;
    return ERR_OK;
}

/* --- operators --- */

static err eval_unary(jinja_run *r, const jinja_node *x, jinja_value *out)
{
    jinja_value v;

    TRY(jinja_eval(r, x->a, &v));
    if (v.type == JINJA_UNDEFINED) return jinja_fail(r, "%s", v.is.hint);
    if (!jinja_is_number(v))
        return jinja_fail(r, "bad operand type for unary %c: '%s'", x->op, jinja_type_name(v));
    if (v.type == JINJA_FLOAT)
        *out = jinja_float(x->op == '-' ? -v.is.real : v.is.real);
    else
        return jinja_operate(r, x->op, jinja_int(0), v, out);
    return ERR_OK;
}

static err eval_binary(jinja_run *r, const jinja_node *x, jinja_value *out)
{
    jinja_value a, b;

    TRY(jinja_eval(r, x->a, &a));
    TRY(jinja_eval(r, x->b, &b));
    return jinja_operate(r, x->op, a, b, out);
}

static err eval_join(jinja_run *r, const jinja_node *x, jinja_value *out)
{
    jinja_text all = {0}, t;
    jinja_value v;

    for (const jinja_node *i = x->a; i; i = i->next) {
        TRY(jinja_eval(r, i, &v));
        TRY(jinja_str(r, v, &t));
        TRY(jinja_text_concat(&r->arena, all, t, &all));
    }
    *out = jinja_of_text(all);
    return jinja_step(r, all.n / 128);
}

static err eval_not(jinja_run *r, const jinja_node *x, jinja_value *out)
{
    jinja_value v;

    TRY(jinja_eval(r, x->a, &v));
    *out = jinja_bool(!jinja_truth(v));
    return ERR_OK;
}

static err eval_and(jinja_run *r, const jinja_node *x, jinja_value *out)
{
    TRY(jinja_eval(r, x->a, out));
    return jinja_truth(*out) ? jinja_eval(r, x->b, out) : ERR_OK;
}

static err eval_or(jinja_run *r, const jinja_node *x, jinja_value *out)
{
    TRY(jinja_eval(r, x->a, out));
    return jinja_truth(*out) ? ERR_OK : jinja_eval(r, x->b, out);
}

/* a < b < c: each pair, until one does not hold. */
static err eval_compare(jinja_run *r, const jinja_node *x, jinja_value *out)
{
    jinja_value left, right;
    bool holds = true;

    TRY(jinja_eval(r, x->a, &left));
    for (const jinja_node *i = x->b; i && holds; i = i->next) {
        TRY(jinja_eval(r, i->a, &right));
        TRY(jinja_relate(r, i->op, left, right, &holds));
        left = right;
    }
    *out = jinja_bool(holds);
    return ERR_OK;
}

/* Without an else it is undefined, and says so when it is used. */
static err eval_condition(jinja_run *r, const jinja_node *x, jinja_value *out)
{
    jinja_value v;

    TRY(jinja_eval(r, x->b, &v));
    if (jinja_truth(v)) return jinja_eval(r, x->a, out);
    if (x->c) return jinja_eval(r, x->c, out);
    *out = jinja_undefined("the inline if-expression evaluated to false and no else section "
                           "was defined.");
    return ERR_OK;
}

/* --- parts --- */

static err eval_attribute(jinja_run *r, const jinja_node *x, jinja_value *out)
{
    jinja_value of;

    TRY(jinja_eval(r, x->a, &of));
    return jinja_attribute(r, of, x->value, out);
}

static err eval_item(jinja_run *r, const jinja_node *x, jinja_value *out)
{
    jinja_value of, index;

    TRY(jinja_eval(r, x->a, &of));
    TRY(jinja_eval(r, x->b, &index));
    return jinja_item(r, of, index, out);
}

static err eval_slice(jinja_run *r, const jinja_node *x, jinja_value *out)
{
    const jinja_node *const kids[] = {x->b, x->c, x->d};
    jinja_value of, part[3];

    TRY(jinja_eval(r, x->a, &of));
    for (int i = 0; i < 3; i++) {
        part[i] = jinja_none();
        if (kids[i]) TRY(jinja_eval(r, kids[i], &part[i]));
    }
    return jinja_slice(r, of, part, out);
}

/* --- calls --- */

static err eval_call(jinja_run *r, const jinja_node *x, jinja_value *out)
{
    return jinja_call_node(r, x, NULL, out);
}

static err eval_apply(jinja_run *r, const jinja_node *x, jinja_value *out)
{
    jinja_args args;
    jinja_value v;

    TRY(jinja_eval(r, x->a, &v));
    TRY(jinja_read_args(r, x->b, &args));
    r->line = x->line;
    if (!x->row) return jinja_fail(r, "unknown filter or test '%s'", x->name);
    return jinja_native_call(r, x->row, v, &args, out);
}

/* "x is defined" evaluates x as any other: an attribute of nothing is still an error. */
static err eval_test(jinja_run *r, const jinja_node *x, jinja_value *out)
{
    return eval_apply(r, x, out);
}

static err eval_hole(jinja_run *r, const jinja_node *x, jinja_value *out)
{
    (void)x;
    *out = jinja_of_text(r->hole);
    return ERR_OK;
}

static err (*const evals[])(jinja_run *r, const jinja_node *x, jinja_value *out) = {
#define STATEMENT(kind, run)
#define EXPRESSION(kind, eval) [JINJA_NODE_##kind] = eval,
#include "engine/template/jinja_nodes.def"
#undef STATEMENT
#undef EXPRESSION
};

err jinja_eval(jinja_run *r, const jinja_node *x, jinja_value *out)
{
    TRY(jinja_step(r, 1));
    TRY(jinja_enter(r));
    TRY(evals[x->kind](r, x, out));
    r->depth--;
    return ERR_OK;
}
