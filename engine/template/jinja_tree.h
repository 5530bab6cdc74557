/* jinja_tree.h - a template as it is run: nodes of jinja_nodes.def, made once, never changed.
 *
 * Names are numbered, so that a scope is searched by number. What filters and tests there are
 * is known here already: one that nobody has is refused when a template is compiled, or inside
 * a condition, where Jinja lets it stand, when it is reached. */
#ifndef ENGINE_TEMPLATE_JINJA_TREE_H
#define ENGINE_TEMPLATE_JINJA_TREE_H

#include "engine/template/jinja_value.h"

typedef enum jinja_node_kind {
#define STATEMENT(kind, run)   JINJA_NODE_##kind,
#define EXPRESSION(kind, eval) JINJA_NODE_##kind,
#include "engine/template/jinja_nodes.def"
#undef STATEMENT
#undef EXPRESSION
} jinja_node_kind;

typedef struct jinja_node {
    jinja_node_kind kind;
    int line;
    char op; /* the first character of it: '*' for *, '2' for **, 'i' in, 'n' not in ... */
    bool flag;
    struct jinja_node *a, *b, *c, *d, *e;
    struct jinja_node *next; /* of a chain */
    const char *name;
    size_t id;                      /* of name */
    const struct jinja_native *row; /* of a filter or a test */
    jinja_value value;
} jinja_node;

struct jinja {
    jinja_arena arena;
    jinja_node *body;
    jinja_dict *names;   /* name -> id */
    size_t loop, caller; /* ids of names that the language sets itself */
    size_t varargs, kwargs;
};

#endif
