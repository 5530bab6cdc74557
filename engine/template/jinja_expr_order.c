/* jinja_expr_order.c - operators, weakest first:
 *
 *   a if b else c  <  or  <  and  <  not  <  == != < > in  <  + -  <  ~  <  * / // %  <  **
 *
 * Python's order but for "~" and for "**", which takes its left side first. Operators of one
 * rank are a loop, which makes the tree lean to the left; only brackets, `not` and `else`
 * recurse. */
#include <string.h>

#include "engine/template/jinja_parse_state.h"

enum { DEEPEST = 300 };

static err power(jinja_parser *p, jinja_node **out)
{
    TRY(jinja_expr_unary(p, true, out));
    while (jinja_parse_accept(p, "**")) {
        TRY(jinja_expr_new(p, JINJA_NODE_BINARY, '2', *out, out));
        TRY(jinja_expr_unary(p, true, &(*out)->b));
    }
    return ERR_OK;
}

static err product(jinja_parser *p, jinja_node **out)
{
    TRY(power(p, out));
    for (;;) {
        char op = '\0';

        if (jinja_parse_is(p, "*") || jinja_parse_is(p, "/") || jinja_parse_is(p, "%"))
            op = *p->now->at;
        if (jinja_parse_is(p, "//")) op = 'd';
        if (!op) return ERR_OK;
        p->now++;
        TRY(jinja_expr_new(p, JINJA_NODE_BINARY, op, *out, out));
        TRY(power(p, &(*out)->b));
    }
}

static err joined(jinja_parser *p, jinja_node **out)
{
    jinja_node **last;

    TRY(product(p, out));
    if (!jinja_parse_is(p, "~")) return ERR_OK;
    TRY(jinja_expr_new(p, JINJA_NODE_JOIN, 0, *out, out));
    last = &(*out)->a->next;
    while (jinja_parse_accept(p, "~")) {
        TRY(product(p, last));
        last = &(*last)->next;
    }
    return ERR_OK;
}

static err sum(jinja_parser *p, jinja_node **out)
{
    TRY(joined(p, out));
    while (jinja_parse_is(p, "+") || jinja_parse_is(p, "-")) {
        TRY(jinja_expr_new(p, JINJA_NODE_BINARY, *p->now->at, *out, out));
        p->now++;
        TRY(joined(p, &(*out)->b));
    }
    return ERR_OK;
}

/* The comparison that stands here: its mark, or 0. */
static char accept_comparison(jinja_parser *p)
{
    static const char *const known[] = {"==", "!=", "<=", ">=", "<", ">"};
    static const char marks[] = "=!lg<>";

    for (size_t i = 0; i < sizeof known / sizeof *known; i++)
        if (jinja_parse_accept(p, known[i])) return marks[i];
    if (jinja_parse_accept_name(p, "in")) return 'i';
    if (!jinja_parse_is_name(p, "not") || p->now[1].kind != JINJA_NAME || p->now[1].n != 2 ||
        memcmp(p->now[1].at, "in", 2) != 0)
        return '\0';
    p->now += 2;
    return 'n';
}

static err compared(jinja_parser *p, jinja_node **out)
{
    jinja_node **last = NULL;
    char op;

    TRY(sum(p, out));
    while ((op = accept_comparison(p))) {
        if (!last) {
            TRY(jinja_expr_new(p, JINJA_NODE_COMPARE, 0, *out, out));
            last = &(*out)->b;
        }
        TRY(jinja_expr_new(p, JINJA_NODE_OPERAND, op, NULL, last));
        TRY(sum(p, &(*last)->a));
        last = &(*last)->next;
    }
    return ERR_OK;
}

static err negated(jinja_parser *p, jinja_node **out)
{
    if (!jinja_parse_is_name(p, "not")) return compared(p, out);
    if (++p->depth > DEEPEST) return jinja_parse_fail(p, "an expression is nested too deeply");
    p->now++;
    TRY(jinja_expr_new(p, JINJA_NODE_NOT, 0, NULL, out));
    TRY(negated(p, &(*out)->a));
    p->depth--;
    return ERR_OK;
}

static err both(jinja_parser *p, jinja_node **out)
{
    TRY(negated(p, out));
    while (jinja_parse_accept_name(p, "and")) {
        TRY(jinja_expr_new(p, JINJA_NODE_AND, 0, *out, out));
        TRY(negated(p, &(*out)->b));
    }
    return ERR_OK;
}

static err either(jinja_parser *p, jinja_node **out)
{
    TRY(both(p, out));
    while (jinja_parse_accept_name(p, "or")) {
        TRY(jinja_expr_new(p, JINJA_NODE_OR, 0, *out, out));
        TRY(both(p, &(*out)->b));
    }
    return ERR_OK;
}

err jinja_expr(jinja_parser *p, bool condition, jinja_node **out)
{
    if (++p->depth > DEEPEST) return jinja_parse_fail(p, "an expression is nested too deeply");
    TRY(either(p, out));
    while (condition && jinja_parse_accept_name(p, "if")) {
        TRY(jinja_expr_new(p, JINJA_NODE_CONDITION, 0, *out, out));
        TRY(either(p, &(*out)->b));
        if (jinja_parse_accept_name(p, "else")) TRY(jinja_expr(p, true, &(*out)->c));
    }
    p->depth--;
    return ERR_OK;
}

/* Ends what a tuple without brackets is in? */
static bool at_tuple_end(const jinja_parser *p, jinja_tuple_rule rule)
{
    return p->now->kind == JINJA_END_BLOCK || p->now->kind == JINJA_END_VALUE ||
           jinja_parse_is(p, ")") || jinja_parse_is(p, "]") || jinja_parse_is(p, "=") ||
           (rule.stop && jinja_parse_is_name(p, rule.stop));
}

err jinja_expr_tuple(jinja_parser *p, jinja_tuple_rule rule, jinja_node **out)
{
    jinja_node **last;

    TRY(jinja_expr(p, !rule.no_condition, out));
    if (!jinja_parse_is(p, ",")) return ERR_OK;
    TRY(jinja_expr_new(p, JINJA_NODE_TUPLE, 0, *out, out));
    last = &(*out)->a->next;
    while (jinja_parse_accept(p, ",") && !at_tuple_end(p, rule)) {
        TRY(jinja_expr(p, !rule.no_condition, last));
        last = &(*last)->next;
    }
    return ERR_OK;
}
