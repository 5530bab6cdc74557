/* jinja_run.c - statements.
 *
 *   scope of the template <- of a loop's turn <- of a block's body
 *                         <- of a macro's call, wherever it is called from
 *
 * A name is looked for from the innermost scope outwards and set in the innermost one, so what
 * a loop sets is gone after its turn: only attributes of a namespace stay. */
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "engine/template/jinja_state.h"

/* --- bounds --- */

/* The first that goes wrong is what is said. */
err jinja_fail(jinja_run *r, const char *format, ...)
{
    va_list list;

    if (r->why->text[0]) return ERR_TEMPLATE;
    va_start(list, format);
    r->why->line = r->line;
    vsnprintf(r->why->text, sizeof r->why->text, format, list);
    va_end(list);
    return ERR_TEMPLATE;
}

err jinja_step(jinja_run *r, size_t n)
{
    enum { OFTEN = 1 << 12 };
    const size_t before = r->steps;

    r->steps += n;
    if (r->steps > JINJA_MOST_STEPS)
        return jinja_fail(r, "the template takes more than %d steps", (int)JINJA_MOST_STEPS);
    if (before / OFTEN != r->steps / OFTEN && r->cancel && atomic_load(r->cancel))
        return ERR_CANCELED;
    return ERR_OK;
}

err jinja_enter(jinja_run *r)
{
    if (++r->depth <= JINJA_DEEPEST) return ERR_OK;
    return jinja_fail(r, "the template nests more than %d levels", (int)JINJA_DEEPEST);
}

/* --- scopes --- */

err jinja_open_scope(jinja_run *r, jinja_scope *up, jinja_scope **before)
{
    jinja_scope *s = jinja_arena_take(&r->arena, sizeof *s);

    if (!s) return ERR_NOMEM;
    s->up = up;
    *before = r->scope;
    r->scope = s;
    return ERR_OK;
}

err jinja_bind(jinja_run *r, size_t id, jinja_value v)
{
    jinja_binding *b;

    for (b = r->scope->first; b && b->id != id;) b = b->next;
    if (!b) {
        b = jinja_arena_take(&r->arena, sizeof *b);
        if (!b) return ERR_NOMEM;
        b->id = id;
        b->next = r->scope->first;
        r->scope->first = b;
    }
    b->value = v;
    return ERR_OK;
}

static err set_member(jinja_run *r, const jinja_node *target, jinja_value v)
{
    jinja_node of = *target;
    jinja_value space;

    of.kind = JINJA_NODE_NAME;
    TRY(jinja_eval(r, &of, &space));
    if (space.type != JINJA_NAMESPACE)
        return jinja_fail(r, "cannot assign attribute on non-namespace object");
    if (*target->a->name == '_')
        return jinja_fail(r, "an attribute of a namespace may not begin with an underscore");
    return jinja_dict_put(&r->arena, space.is.dict, target->a->name, v);
}

static err assign(jinja_run *r, const jinja_node *target, jinja_value v)
{
    const jinja_node *x = target->a;
    const jinja_list *items;
    size_t n = 0;

    if (target->kind == JINJA_NODE_NAME) return jinja_bind(r, target->id, v);
    if (target->kind == JINJA_NODE_MEMBER) return set_member(r, target, v);
    TRY(jinja_iterate(r, v, &items));
    for (; x; x = x->next) n++;
    if (items->n < n)
        return jinja_fail(r, "not enough values to unpack (expected %zu, got %zu)", n,
                          items->n);
    if (items->n > n) return jinja_fail(r, "too many values to unpack (expected %zu)", n);
    for (x = target->a, n = 0; x; x = x->next) TRY(assign(r, x, items->at[n++]));
    return ERR_OK;
}

/* --- output --- */

static err write(jinja_run *r, jinja_text t)
{
    if (t.n > r->most_output || r->out->n > r->most_output - t.n)
        return jinja_fail(r, "the template writes more than %zu bytes", r->most_output);
    TRY(jinja_step(r, t.n / 128));
    return jinja_buffer_add_text(&r->arena, r->out, t);
}

err jinja_run_captured(jinja_run *r, const jinja_node *body, jinja_scope *up, jinja_text *out)
{
    jinja_buffer *const before = r->out, *own = jinja_arena_take(&r->arena, sizeof *own);
    jinja_scope *scope;

    if (!own) return ERR_NOMEM;
    TRY(jinja_open_scope(r, up, &scope));
    r->out = own;
    TRY(jinja_run_body(r, body));
    r->out = before;
    r->scope = scope;
    *out = jinja_buffer_text(own);
    return ERR_OK;
}

static err run_data(jinja_run *r, const jinja_node *x)
{
    return write(r, x->value.is.text);
}

static err run_print(jinja_run *r, const jinja_node *x)
{
    jinja_value v;
    jinja_text t;

    TRY(jinja_eval(r, x->a, &v));
    TRY(jinja_str(r, v, &t));
    return write(r, t);
}

/* --- conditions and loops --- */

/* An elif is the else of the one before. */
static err run_if(jinja_run *r, const jinja_node *x)
{
    jinja_value v;

    for (;; x = x->c) {
        r->line = x->line;
        TRY(jinja_eval(r, x->a, &v));
        if (jinja_truth(v)) return jinja_run_body(r, x->b);
        if (!x->c || x->c->kind != JINJA_NODE_IF || x->c->next) break;
    }
    return jinja_run_body(r, x->c);
}

/* Those that the loop's `if` lets through. */
static err select_items(jinja_run *r, const jinja_node *x, const jinja_list **items)
{
    const jinja_list *all = *items;
    jinja_value chosen, v;

    TRY(jinja_make_list(&r->arena, JINJA_LIST_FORM, 0, &chosen));
    for (size_t i = 0; i < all->n; i++) {
        jinja_scope *before;

        TRY(jinja_open_scope(r, r->scope, &before));
        TRY(assign(r, x->a, all->at[i]));
        TRY(jinja_eval(r, x->d, &v));
        r->scope = before;
        if (jinja_truth(v)) TRY(jinja_list_add(&r->arena, chosen.is.list, all->at[i]));
    }
    *items = chosen.is.list;
    return ERR_OK;
}

/* One turn, in a scope of its own. */
static err run_turn(jinja_run *r, const jinja_node *x, jinja_loop *loop)
{
    const jinja_value v = {.type = JINJA_LOOP, .is.loop = loop};
    jinja_scope *before;

    TRY(jinja_open_scope(r, loop->scope, &before));
    TRY(jinja_bind(r, r->t->loop, v));
    TRY(assign(r, x->a, loop->items->at[loop->now]));
    TRY(jinja_run_body(r, x->c));
    r->scope = before;
    return ERR_OK;
}

err jinja_run_loop(jinja_run *r, const jinja_node *x, jinja_value over, int level)
{
    jinja_loop *loop = jinja_arena_take(&r->arena, sizeof *loop);
    const jinja_list *items;

    if (!loop) return ERR_NOMEM;
    TRY(jinja_iterate(r, over, &items));
    if (x->d) TRY(select_items(r, x, &items));
    *loop = (jinja_loop){items, 0, level, x->flag ? x : NULL, r->scope, {.type = JINJA_ABSENT}};
    for (; loop->now < items->n && r->flow != JINJA_BREAK; loop->now++) {
        r->flow = JINJA_GO_ON;
        TRY(run_turn(r, x, loop));
    }
    r->flow = JINJA_GO_ON;
    return ERR_OK;
}

static err run_for(jinja_run *r, const jinja_node *x)
{
    const jinja_list *items;
    jinja_scope *before;
    jinja_value v;

    TRY(jinja_eval(r, x->b, &v));
    TRY(jinja_run_loop(r, x, v, 0));
    if (!x->e) return ERR_OK;
    TRY(jinja_iterate(r, v, &items));
    if (x->d) TRY(select_items(r, x, &items));
    if (items->n) return ERR_OK;
    TRY(jinja_open_scope(r, r->scope, &before));
    TRY(jinja_run_body(r, x->e));
    r->scope = before;
    return ERR_OK;
}

static err run_break(jinja_run *r, const jinja_node *x)
{
    (void)x;
    r->flow = JINJA_BREAK;
    return ERR_OK;
}

static err run_continue(jinja_run *r, const jinja_node *x)
{
    (void)x;
    r->flow = JINJA_CONTINUE;
    return ERR_OK;
}

/* --- variables --- */

static err run_set(jinja_run *r, const jinja_node *x)
{
    jinja_value v;

    TRY(jinja_eval(r, x->b, &v));
    return assign(r, x->a, v);
}

/* A captured body, through its filters if there are any. */
static err run_filtered(jinja_run *r, const jinja_node *x, jinja_value *out)
{
    const jinja_text outer = r->hole;
    jinja_text t;

    TRY(jinja_run_captured(r, x->c, r->scope, &t));
    *out = jinja_of_text(t);
    if (!x->b) return ERR_OK;
    r->hole = t;
    TRY(jinja_eval(r, x->b, out));
    r->hole = outer;
    return ERR_OK;
}

static err run_set_block(jinja_run *r, const jinja_node *x)
{
    jinja_value v;

    TRY(run_filtered(r, x, &v));
    return assign(r, x->a, v);
}

static err run_filter(jinja_run *r, const jinja_node *x)
{
    jinja_value v;
    jinja_text t;

    TRY(run_filtered(r, x, &v));
    TRY(jinja_str(r, v, &t));
    return write(r, t);
}

/* All values are of the scope around; none sees another. */
static err run_with(jinja_run *r, const jinja_node *x)
{
    jinja_scope *const around = r->scope, *before, *inner;

    TRY(jinja_open_scope(r, around, &before));
    inner = r->scope;
    for (const jinja_node *s = x->a; s; s = s->next) {
        jinja_value v;

        r->scope = around;
        TRY(jinja_eval(r, s->b, &v));
        r->scope = inner;
        TRY(assign(r, s->a, v));
    }
    TRY(jinja_run_body(r, x->c));
    r->scope = before;
    return ERR_OK;
}

static err run_group(jinja_run *r, const jinja_node *x)
{
    jinja_scope *before;

    TRY(jinja_open_scope(r, r->scope, &before));
    TRY(jinja_run_body(r, x->c));
    r->scope = before;
    return ERR_OK;
}

/* --- macros --- */

static err run_macro(jinja_run *r, const jinja_node *x)
{
    const jinja_function f = {.node = x, .scope = r->scope};
    jinja_value v;

    TRY(jinja_make_function(r, &f, &v));
    return jinja_bind(r, x->id, v);
}

static err run_call_block(jinja_run *r, const jinja_node *x)
{
    const jinja_function f = {.node = x->b, .scope = r->scope};
    jinja_value caller, v;
    jinja_text t;

    TRY(jinja_make_function(r, &f, &caller));
    TRY(jinja_call_node(r, x->a, &caller, &v));
    TRY(jinja_str(r, v, &t));
    return write(r, t);
}

/* --- all of them --- */

static err (*const runs[])(jinja_run *r, const jinja_node *x) = {
#define STATEMENT(kind, run) [JINJA_NODE_##kind] = run,
#define EXPRESSION(kind, eval)
#include "engine/template/jinja_nodes.def"
#undef STATEMENT
#undef EXPRESSION
};

err jinja_run_body(jinja_run *r, const jinja_node *body)
{
    TRY(jinja_enter(r));
    for (; body && r->flow == JINJA_GO_ON; body = body->next) {
        TRY(jinja_step(r, 1));
        r->line = body->line;
        TRY(runs[body->kind](r, body));
    }
    r->depth--;
    return ERR_OK;
}
