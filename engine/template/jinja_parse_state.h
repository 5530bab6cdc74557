/* jinja_parse_state.h - the parser, which statements (jinja_parse.c) and expressions
 * (jinja_expr.c) share. Source of the grammar: jinja2/parser.py. */
#ifndef ENGINE_TEMPLATE_JINJA_PARSE_STATE_H
#define ENGINE_TEMPLATE_JINJA_PARSE_STATE_H

#include "engine/template/jinja_fault.h"
#include "engine/template/jinja_lex.h"
#include "engine/template/jinja_tree.h"

typedef struct jinja_parser {
    struct jinja *t;
    const jinja_token *now;
    int depth;      /* of nesting, bounded: parsing and running recurse */
    int conditions; /* around what is parsed */
    int loops;      /* around what is parsed, in the same macro */
    bool extras;    /* the macro that is parsed names varargs or kwargs */
    bool caller;    /* and its caller */
    jinja_fault *why;
} jinja_parser;

/* What a tuple without brackets may end at, and whether its items may be conditions. */
typedef struct jinja_tuple_rule {
    bool no_condition;
    const char *stop; /* a name that ends it, or NULL */
} jinja_tuple_rule;

/* --- jinja_parse.c --- */

err jinja_parse_fail(jinja_parser *p, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
err jinja_parse_node(jinja_parser *p, jinja_node_kind kind, jinja_node **out);
err jinja_parse_id(jinja_parser *p, const char *name, size_t n, size_t *id);
err jinja_parse_name(jinja_parser *p, const char **name, size_t *id); /* the next token */

/* Is the next token that word or operator? `accept` then takes it, `expect` fails if not. */
bool jinja_parse_is_name(const jinja_parser *p, const char *word);
bool jinja_parse_is(const jinja_parser *p, const char *operator);
bool jinja_parse_accept_name(jinja_parser *p, const char *word);
bool jinja_parse_accept(jinja_parser *p, const char *operator);
err jinja_parse_expect(jinja_parser *p, const char *operator);

/* --- jinja_expr.c --- */

/* A node with its first kid. */
err jinja_expr_new(jinja_parser *p, jinja_node_kind kind, char op, jinja_node *a,
                   jinja_node **out);
err jinja_expr_unary(jinja_parser *p, bool filters, jinja_node **out);
err jinja_expr_filters(jinja_parser *p, jinja_node *on, bool first, jinja_node **out);

/* --- jinja_expr_order.c --- */

err jinja_expr(jinja_parser *p, bool condition, jinja_node **out);
err jinja_expr_tuple(jinja_parser *p, jinja_tuple_rule rule, jinja_node **out);

#endif
