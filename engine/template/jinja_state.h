/* jinja_state.h - a template while it runs, and what its parts do for each other.
 *
 *   jinja_run.c   statements: scopes, output          jinja_attr.c      a.b, a[b], a[b:c]
 *   jinja_eval.c  expressions                         jinja_operators.c + - * / % < in
 *   jinja_call.c  arguments, macros                   jinja_repr.c      values as text
 *   jinja_native.c, jinja_filters_*.c, jinja_tests.c, jinja_methods.c, jinja_functions.c */
#ifndef ENGINE_TEMPLATE_JINJA_STATE_H
#define ENGINE_TEMPLATE_JINJA_STATE_H

#include <stdatomic.h>
#include <stddef.h>
#include <time.h>

#include "engine/template/jinja_fault.h"
#include "engine/template/jinja_native.h"
#include "engine/template/jinja_tree.h"

enum {
    JINJA_DEEPEST = 800,        /* expressions, macros and values within each other */
    JINJA_MOST_STEPS = 20000000 /* nodes evaluated, and bytes looked through by the hundred */
};

typedef struct jinja_binding {
    size_t id;
    jinja_value value;
    struct jinja_binding *next;
} jinja_binding;

/* Variables of a body, and around it those of the body that it stands in. */
typedef struct jinja_scope {
    struct jinja_scope *up;
    jinja_binding *first;
} jinja_scope;

/* A macro, a caller, a loop that calls itself; or a row, with what its method is of. */
typedef struct jinja_function {
    const jinja_native *row;
    jinja_value on;
    const jinja_node *node;
    jinja_scope *scope; /* where the macro was defined */
    int level;          /* of the loop */
} jinja_function;

/* What `loop` is. */
typedef struct jinja_loop {
    const jinja_list *items;
    size_t now;
    int level;              /* of a recursive loop, from 0 */
    const jinja_node *node; /* of a recursive loop, or NULL */
    jinja_scope *scope;     /* around it */
    jinja_value changed;    /* what loop.changed saw last */
} jinja_loop;

typedef enum jinja_flow { JINJA_GO_ON, JINJA_BREAK, JINJA_CONTINUE } jinja_flow;

typedef struct jinja_run {
    jinja_arena arena;
    const struct jinja *t;
    const jinja_dict *given; /* the variables that the template is run with */
    jinja_scope *scope;
    jinja_buffer *out;
    jinja_text hole; /* of the innermost filtered block */
    jinja_flow flow;
    size_t steps, most_output;
    int depth, line;
    time_t now;
    const atomic_bool *cancel;
    jinja_fault *why;
} jinja_run;

/* --- jinja_run.c --- */

err jinja_fail(jinja_run *r, const char *format, ...) __attribute__((format(printf, 2, 3)));
err jinja_step(jinja_run *r, size_t n); /* so much was done: ERR_TEMPLATE beyond all bounds */
err jinja_enter(jinja_run *r);          /* one level deeper; r->depth-- leaves it */
err jinja_run_body(jinja_run *r, const jinja_node *body);
err jinja_run_loop(jinja_run *r, const jinja_node *x, jinja_value items, int level);

/* The text that a body writes, in a scope above `up` which is then the current one. */
err jinja_run_captured(jinja_run *r, const jinja_node *body, jinja_scope *up, jinja_text *out);
err jinja_bind(jinja_run *r, size_t id, jinja_value v); /* in the innermost scope */
err jinja_open_scope(jinja_run *r, jinja_scope *up, jinja_scope **before);

/* --- jinja_eval.c --- */

err jinja_eval(jinja_run *r, const jinja_node *x, jinja_value *out);

/* --- jinja_call.c --- */

err jinja_call(jinja_run *r, jinja_value function, const jinja_args *x, jinja_value *out);
err jinja_call_node(jinja_run *r, const jinja_node *call, const jinja_value *caller,
                    jinja_value *out);
err jinja_read_args(jinja_run *r, const jinja_node *list, jinja_args *out);
err jinja_make_function(jinja_run *r, const jinja_function *f, jinja_value *out);

/* --- jinja_attr.c --- */

err jinja_attribute(jinja_run *r, jinja_value of, jinja_value name, jinja_value *out);
err jinja_item(jinja_run *r, jinja_value of, jinja_value index, jinja_value *out);
err jinja_slice(jinja_run *r, jinja_value of, const jinja_value part[3], jinja_value *out);

/* --- jinja_operators.c --- */

err jinja_operate(jinja_run *r, char op, jinja_value a, jinja_value b, jinja_value *out);
err jinja_relate(jinja_run *r, char op, jinja_value a, jinja_value b, bool *out);
err jinja_contains(jinja_run *r, jinja_value in, jinja_value v, bool *out);

/* --- jinja_repr.c --- */

err jinja_str(jinja_run *r, jinja_value v, jinja_text *out);            /* str(v) */
err jinja_write_repr(jinja_run *r, jinja_value v, jinja_buffer *to);    /* repr(v) */
err jinja_hint(jinja_run *r, const char **out, const char *format, ...) /* in the arena */
    __attribute__((format(printf, 3, 4)));
void jinja_real_text(double real, char text[40]);

/* --- jinja_list.c --- */

err jinja_iterate(jinja_run *r, jinja_value v,
                  const jinja_list **out); /* what `for` goes over */
err jinja_views(jinja_run *r, const jinja_dict *d, jinja_form form, jinja_value *out);
err jinja_pair(jinja_run *r, jinja_value a, jinja_value b, jinja_value *out); /* a tuple */
err jinja_length(jinja_run *r, jinja_value v, size_t *out);
err jinja_sort(jinja_run *r, jinja_entry *at, size_t n, bool reverse); /* by key, stable */

/* --- jinja_format.c --- */

err jinja_percent(jinja_run *r, jinja_text format, jinja_value args, jinja_value *out);
err jinja_format(jinja_run *r, jinja_text format, const jinja_args *x, jinja_value *out);

/* --- jinja_native.c --- */

err jinja_want_text(jinja_run *r, jinja_value v, const char *what, jinja_text *out);
err jinja_want_int(jinja_run *r, jinja_value v, int64_t missing, int64_t *out);

/* The rows' functions. */
#define ROW(function) \
    err jinja_##function(jinja_run *r, jinja_value on, const jinja_args *x, jinja_value *out);
#define FILTER(name, params, function)       ROW(filter_##function)
#define TEST(name, params, function)         ROW(test_##function)
#define FUNCTION(name, params, function)     ROW(function_##function)
#define METHOD(type, name, params, function) ROW(method_##function)
#include "engine/template/jinja_filters.def"
#include "engine/template/jinja_functions.def"
#include "engine/template/jinja_methods.def"
#include "engine/template/jinja_tests.def"
#undef FILTER
#undef TEST
#undef FUNCTION
#undef METHOD
#undef ROW

#endif
