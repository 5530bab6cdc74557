/* jinja_expr.c - values, and what stands behind them:
 *
 *   primary    name  "text"  1  1.5  (tuple)  [list]  {dict}
 *   postfix    .name  .0  [index]  [from:to:step]  (arguments)
 *   filtered   |filter  is test  (arguments)
 *
 * Which filters and tests there are is known here. Inside a condition an unknown one is an
 * error when it is reached, as Jinja has it: templates ask first what their environment can do.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/template/jinja_native.h"
#include "engine/template/jinja_parse_state.h"

enum { DEEPEST = 300 };

err jinja_expr_new(jinja_parser *p, jinja_node_kind kind, char op, jinja_node *a,
                   jinja_node **out)
{
    jinja_node *x;

    TRY(jinja_parse_node(p, kind, &x));
    x->op = op;
    x->a = a;
    *out = x;
    return ERR_OK;
}

/* --- constants --- */

/* Digits without their underscores; what no 64 bits hold is refused. */
static err parse_number(jinja_parser *p, jinja_node *x)
{
    char digits[64];
    size_t n = 0;
    char *end;
    int base = 10;

    for (size_t i = 0; i < p->now->n && n < sizeof digits - 1; i++)
        if (p->now->at[i] != '_') digits[n++] = p->now->at[i];
    digits[n] = '\0';
    errno = 0;
    if (p->now->kind == JINJA_REAL) {
        x->value = jinja_float(strtod(digits, &end));
    } else {
        if (n > 1 && digits[0] == '0') base = strchr("xX", digits[1]) ? 16 : 8;
        if (n > 1 && digits[0] == '0' && strchr("bB", digits[1])) base = 2;
        if (n > 1 && digits[0] == '0' && strchr("0123456789", digits[1])) base = 10;
        x->value = jinja_int(
            strtoll(base == 2 || (base == 8 && strchr("oO", digits[1])) ? digits + 2 : digits,
                    &end, base));
    }
    if (*end || (errno && p->now->kind != JINJA_REAL))
        return jinja_parse_fail(p, "the number '%s' is not valid", digits);
    p->now++;
    return ERR_OK;
}

/* Texts that stand side by side are one. */
static err parse_strings(jinja_parser *p, jinja_node *x)
{
    jinja_text t;

    TRY(jinja_make_text(&p->t->arena, p->now->at, p->now->n, true, &x->value));
    for (p->now++; p->now->kind == JINJA_STRING; p->now++) {
        TRY(jinja_text_borrow(&p->t->arena, p->now->at, p->now->n, true, &t));
        TRY(jinja_text_concat(&p->t->arena, x->value.is.text, t, &x->value.is.text));
    }
    /* Shared by all who run the template: nobody may make it longer in place. */
    if (x->value.is.text.in) x->value.is.text.in->cap = 0;
    return ERR_OK;
}

static bool parse_word(jinja_parser *p, jinja_value *out)
{
    static const struct {
        const char *word;
        jinja_value value;
    } words[] = {
        {"true", {.type = JINJA_BOOL, .is.truth = true}},
        {"True", {.type = JINJA_BOOL, .is.truth = true}},
        {"false", {.type = JINJA_BOOL}},
        {"False", {.type = JINJA_BOOL}},
        {"none", {.type = JINJA_NONE}},
        {"None", {.type = JINJA_NONE}},
    };

    for (size_t i = 0; i < sizeof words / sizeof *words; i++) {
        if (!jinja_parse_accept_name(p, words[i].word)) continue;
        *out = words[i].value;
        return true;
    }
    return false;
}

static err parse_name(jinja_parser *p, jinja_node **out)
{
    jinja_value word;

    TRY(jinja_parse_node(p, JINJA_NODE_CONST, out));
    if (parse_word(p, &word)) {
        (*out)->value = word;
        return ERR_OK;
    }
    (*out)->kind = JINJA_NODE_NAME;
    TRY(jinja_parse_name(p, &(*out)->name, &(*out)->id));
    if ((*out)->id == p->t->varargs || (*out)->id == p->t->kwargs) p->extras = true;
    if ((*out)->id == p->t->caller) p->caller = true;
    return ERR_OK;
}

/* --- brackets --- */

static err parse_list(jinja_parser *p, jinja_node **out)
{
    jinja_node **last;

    TRY(jinja_parse_node(p, JINJA_NODE_LIST, out));
    p->now++;
    for (last = &(*out)->a; !jinja_parse_accept(p, "]"); last = &(*last)->next) {
        if ((*out)->a) TRY(jinja_parse_expect(p, ","));
        if (jinja_parse_accept(p, "]")) break;
        TRY(jinja_expr(p, true, last));
    }
    return ERR_OK;
}

static err parse_dict(jinja_parser *p, jinja_node **out)
{
    jinja_node **last;

    TRY(jinja_parse_node(p, JINJA_NODE_DICT, out));
    p->now++;
    for (last = &(*out)->a; !jinja_parse_accept(p, "}"); last = &(*last)->next) {
        if ((*out)->a) TRY(jinja_parse_expect(p, ","));
        if (jinja_parse_accept(p, "}")) break;
        TRY(jinja_parse_node(p, JINJA_NODE_PAIR, last));
        TRY(jinja_expr(p, true, &(*last)->a));
        TRY(jinja_parse_expect(p, ":"));
        TRY(jinja_expr(p, true, &(*last)->b));
    }
    return ERR_OK;
}

/* () is a tuple, (a) is a, (a,) and (a, b) are tuples. */
static err parse_brackets(jinja_parser *p, jinja_node **out)
{
    p->now++;
    if (jinja_parse_is(p, ")"))
        TRY(jinja_parse_node(p, JINJA_NODE_TUPLE, out));
    else
        TRY(jinja_expr_tuple(p, (jinja_tuple_rule){0}, out));
    return jinja_parse_expect(p, ")");
}

static err primary(jinja_parser *p, jinja_node **out)
{
    switch (p->now->kind) {
    case JINJA_NAME:
        return parse_name(p, out);
    case JINJA_STRING:
        TRY(jinja_parse_node(p, JINJA_NODE_CONST, out));
        return parse_strings(p, *out);
    case JINJA_NUMBER:
    case JINJA_REAL:
        TRY(jinja_parse_node(p, JINJA_NODE_CONST, out));
        return parse_number(p, *out);
    default:
        break;
    }
    if (jinja_parse_is(p, "(")) return parse_brackets(p, out);
    if (jinja_parse_is(p, "[")) return parse_list(p, out);
    if (jinja_parse_is(p, "{")) return parse_dict(p, out);
    if (p->now->kind == JINJA_OPERATOR)
        return jinja_parse_fail(p, "unexpected '%s'", p->now->at);
    return jinja_parse_fail(p, "an expression is missing");
}

/* --- behind a value --- */

/* (a, *b, c=1, **d) */
static err parse_arguments(jinja_parser *p, jinja_node **out)
{
    *out = NULL;
    p->now++;
    while (!jinja_parse_accept(p, ")")) {
        if (*out) TRY(jinja_parse_expect(p, ","));
        if (*out) out = &(*out)->next;
        if (jinja_parse_is(p, ")")) continue;
        TRY(jinja_parse_node(p, JINJA_NODE_ARGUMENT, out));
        if (jinja_parse_accept(p, "*"))
            (*out)->op = '*';
        else if (jinja_parse_accept(p, "**"))
            (*out)->op = '2';
        else if (p->now->kind == JINJA_NAME && p->now[1].kind == JINJA_OPERATOR &&
                 p->now[1].n == 1 && *p->now[1].at == '=') {
            size_t id;

            TRY(jinja_parse_name(p, &(*out)->name, &id));
            p->now++;
        }
        TRY(jinja_expr(p, true, &(*out)->a));
    }
    return ERR_OK;
}

/* [i], [a:b:c] or [i, j], which is a tuple. */
static err parse_index(jinja_parser *p, jinja_node *of, jinja_node **out)
{
    jinja_node *x, **part;

    TRY(jinja_parse_node(p, JINJA_NODE_SLICE, &x));
    x->a = of;
    *out = x;
    part = &x->b;
    if (!jinja_parse_is(p, ":")) {
        TRY(jinja_expr_tuple(p, (jinja_tuple_rule){0}, &x->b));
        if (jinja_parse_accept(p, "]")) {
            x->kind = JINJA_NODE_ITEM;
            return ERR_OK;
        }
    }
    while (jinja_parse_accept(p, ":")) {
        part = part == &x->b ? &x->c : part == &x->c ? &x->d : NULL;
        if (!part) break;
        if (!jinja_parse_is(p, ":") && !jinja_parse_is(p, "]")) TRY(jinja_expr(p, true, part));
    }
    return jinja_parse_expect(p, "]");
}

static err parse_dot(jinja_parser *p, jinja_node *of, jinja_node **out)
{
    jinja_node *x;
    size_t id;

    TRY(jinja_parse_node(p, JINJA_NODE_ATTRIBUTE, &x));
    x->a = of;
    *out = x;
    if (p->now->kind != JINJA_NUMBER) {
        TRY(jinja_parse_name(p, &x->name, &id));
        /* The text that looks it up in a dict, made once. */
        return jinja_make_text(&p->t->arena, x->name, strlen(x->name), true, &x->value);
    }
    x->kind = JINJA_NODE_ITEM;
    TRY(jinja_parse_node(p, JINJA_NODE_CONST, &x->b));
    return parse_number(p, x->b);
}

static err parse_called(jinja_parser *p, jinja_node *of, jinja_node **out)
{
    jinja_node *x;

    TRY(jinja_parse_node(p, JINJA_NODE_CALL, &x));
    x->a = of;
    *out = x;
    return parse_arguments(p, &x->b);
}

static err postfix(jinja_parser *p, jinja_node *x, jinja_node **out)
{
    for (*out = x;;) {
        if (jinja_parse_accept(p, "."))
            TRY(parse_dot(p, *out, out));
        else if (jinja_parse_accept(p, "["))
            TRY(parse_index(p, *out, out));
        else if (jinja_parse_is(p, "("))
            TRY(parse_called(p, *out, out));
        else
            return ERR_OK;
    }
}

/* --- filters and tests --- */

/* A name that may have dots. */
static err parse_long_name(jinja_parser *p, const char **out)
{
    const char *more;
    char name[64];
    size_t id;

    TRY(jinja_parse_name(p, out, &id));
    while (jinja_parse_accept(p, ".")) {
        TRY(jinja_parse_name(p, &more, &id));
        snprintf(name, sizeof name, "%.30s.%.30s", *out, more);
        *out = jinja_arena_copy(&p->t->arena, name, strlen(name));
        if (!*out) return ERR_NOMEM;
    }
    return ERR_OK;
}

err jinja_expr_filters(jinja_parser *p, jinja_node *on, bool first, jinja_node **out)
{
    for (*out = on; first || jinja_parse_accept(p, "|"); first = false) {
        jinja_node *x;

        TRY(jinja_parse_node(p, JINJA_NODE_APPLY, &x));
        TRY(parse_long_name(p, &x->name));
        x->row = jinja_native_filter(x->name);
        if (!x->row && !p->conditions)
            return jinja_parse_fail(p, "unknown filter '%.60s'", x->name);
        if (jinja_parse_is(p, "(")) TRY(parse_arguments(p, &x->b));
        x->a = *out;
        *out = x;
    }
    return ERR_OK;
}

/* Can the argument of a test stand here without brackets: x is divisibleby 3? */
static bool at_argument(const jinja_parser *p)
{
    switch (p->now->kind) {
    case JINJA_NAME:
        return !jinja_parse_is_name(p, "else") && !jinja_parse_is_name(p, "or") &&
               !jinja_parse_is_name(p, "and");
    case JINJA_STRING:
    case JINJA_NUMBER:
    case JINJA_REAL:
        return true;
    default:
        return jinja_parse_is(p, "[") || jinja_parse_is(p, "{");
    }
}

static err parse_test_argument(jinja_parser *p, jinja_node **out)
{
    if (jinja_parse_is_name(p, "is")) return jinja_parse_fail(p, "tests cannot be chained");
    TRY(jinja_parse_node(p, JINJA_NODE_ARGUMENT, out));
    TRY(primary(p, &(*out)->a));
    return postfix(p, (*out)->a, &(*out)->a);
}

static err parse_test(jinja_parser *p, jinja_node *on, jinja_node **out)
{
    const bool negated = jinja_parse_accept_name(p, "not");
    jinja_node *x;

    TRY(jinja_parse_node(p, JINJA_NODE_TEST, &x));
    x->a = on;
    TRY(parse_long_name(p, &x->name));
    x->row = jinja_native_test(x->name);
    if (!x->row && !p->conditions) return jinja_parse_fail(p, "unknown test '%.60s'", x->name);
    if (jinja_parse_is(p, "("))
        TRY(parse_arguments(p, &x->b));
    else if (at_argument(p) && !jinja_parse_is_name(p, "if"))
        TRY(parse_test_argument(p, &x->b));
    *out = x;
    return negated ? jinja_expr_new(p, JINJA_NODE_NOT, 0, x, out) : ERR_OK;
}

/* What is filtered, tested and called, in any order. */
static err filtered(jinja_parser *p, jinja_node *x, jinja_node **out)
{
    for (*out = x;;) {
        if (jinja_parse_is(p, "|"))
            TRY(jinja_expr_filters(p, *out, false, out));
        else if (jinja_parse_accept_name(p, "is"))
            TRY(parse_test(p, *out, out));
        else if (jinja_parse_is(p, "("))
            TRY(parse_called(p, *out, out));
        else
            return ERR_OK;
    }
}

/* --- one operand --- */

err jinja_expr_unary(jinja_parser *p, bool filters, jinja_node **out)
{
    jinja_node *x;

    if (++p->depth > DEEPEST) return jinja_parse_fail(p, "an expression is nested too deeply");
    if (jinja_parse_is(p, "-") || jinja_parse_is(p, "+")) {
        TRY(jinja_expr_new(p, JINJA_NODE_UNARY, *p->now->at, NULL, &x));
        p->now++;
        TRY(jinja_expr_unary(p, false, &x->a));
    } else
        TRY(primary(p, &x));
    TRY(postfix(p, x, &x));
    if (filters) TRY(filtered(p, x, &x));
    p->depth--;
    *out = x;
    return ERR_OK;
}
