/* jinja_call.c - calls: arguments, macros, loops that call themselves.
 *
 * A macro's variables stand in a scope above the one that it was defined in, not the caller's.
 * Source of what its arguments may be: jinja2/runtime.py, Macro. */
#include <string.h>

#include "engine/template/jinja_state.h"

err jinja_make_function(jinja_run *r, const jinja_function *f, jinja_value *out)
{
    jinja_function *copy = jinja_arena_take(&r->arena, sizeof *copy);

    if (!copy) return ERR_NOMEM;
    *copy = *f;
    *out = (jinja_value){.type = JINJA_FUNCTION, .is.function = copy};
    return ERR_OK;
}

/* --- arguments --- */

typedef struct arguments {
    jinja_value at, names, values; /* lists that grow */
} arguments;

static err add_named(jinja_run *r, arguments *x, jinja_value name, jinja_value v)
{
    TRY(jinja_list_add(&r->arena, x->names.is.list, name));
    return jinja_list_add(&r->arena, x->values.is.list, v);
}

/* **{"a": 1} */
static err add_dict(jinja_run *r, arguments *x, jinja_value v)
{
    if (v.type != JINJA_DICT)
        return jinja_fail(r, "argument after ** must be a mapping, not %s", jinja_type_name(v));
    for (size_t i = 0; i < v.is.dict->n; i++) {
        if (v.is.dict->at[i].key.type != JINJA_TEXT)
            return jinja_fail(r, "keywords must be strings");
        TRY(add_named(r, x, v.is.dict->at[i].key, v.is.dict->at[i].value));
    }
    return ERR_OK;
}

static err add_argument(jinja_run *r, arguments *x, const jinja_node *a)
{
    const jinja_list *items;
    jinja_value v, name;

    TRY(jinja_eval(r, a->a, &v));
    if (a->op == '2') return add_dict(r, x, v);
    if (a->name) {
        TRY(jinja_make_text(&r->arena, a->name, strlen(a->name), true, &name));
        return add_named(r, x, name, v);
    }
    if (a->op != '*') return jinja_list_add(&r->arena, x->at.is.list, v);
    TRY(jinja_iterate(r, v, &items));
    for (size_t i = 0; i < items->n; i++)
        TRY(jinja_list_add(&r->arena, x->at.is.list, items->at[i]));
    return ERR_OK;
}

err jinja_read_args(jinja_run *r, const jinja_node *list, jinja_args *out)
{
    arguments x;
    size_t n;

    *out = (jinja_args){0};
    if (!list) return ERR_OK;
    TRY(jinja_make_list(&r->arena, JINJA_LIST_FORM, 0, &x.at));
    TRY(jinja_make_list(&r->arena, JINJA_LIST_FORM, 0, &x.names));
    TRY(jinja_make_list(&r->arena, JINJA_LIST_FORM, 0, &x.values));
    for (; list; list = list->next) TRY(add_argument(r, &x, list));
    n = x.names.is.list->n;
    out->at = x.at.is.list->at;
    out->n = x.at.is.list->n;
    out->named = n ? jinja_arena_take(&r->arena, n * sizeof *out->named) : NULL;
    if (n && !out->named) return ERR_NOMEM;
    for (; out->n_named < n; out->n_named++)
        out->named[out->n_named] = (jinja_named){x.names.is.list->at[out->n_named].is.text,
                                                 x.values.is.list->at[out->n_named]};
    return ERR_OK;
}

/* --- macros --- */

/* A call of a macro: which of its named arguments have found their parameter. */
typedef struct macro_call {
    const jinja_node *macro;
    const jinja_args *x;
    bool *used; /* [x->n_named] */
} macro_call;

static const jinja_value *take_named(const macro_call *m, const char *name)
{
    for (size_t i = 0; i < m->x->n_named; i++) {
        if (m->used[i] || !jinja_text_is(m->x->named[i].name, name)) continue;
        m->used[i] = true;
        return &m->x->named[i].value;
    }
    return NULL;
}

/* Positional first; then by name; then the default, which sees the parameters before it. */
static err bind_parameter(jinja_run *r, const macro_call *m, const jinja_node *p, size_t i)
{
    const jinja_value *named = NULL;
    jinja_value v;

    if (i < m->x->n) return jinja_bind(r, p->id, m->x->at[i]);
    named = take_named(m, p->name);
    if (named) return jinja_bind(r, p->id, *named);
    v.type = JINJA_UNDEFINED;
    if (p->a)
        TRY(jinja_eval(r, p->a, &v));
    else
        TRY(jinja_hint(r, &v.is.hint, "parameter '%s' was not provided", p->name));
    return jinja_bind(r, p->id, v);
}

static err bind_caller(jinja_run *r, const macro_call *m)
{
    const jinja_value *caller = take_named(m, "caller");

    if (!m->macro->op) {
        if (!caller) return ERR_OK;
        return jinja_fail(r, "macro '%s' takes no keyword argument 'caller'", m->macro->name);
    }
    return jinja_bind(r, r->t->caller, caller ? *caller : jinja_undefined("No caller defined"));
}

/* What is left over has no parameter: an error, unless the body asks for it. */
static err bind_extras(jinja_run *r, const macro_call *m, size_t n_parameters)
{
    jinja_value more, named;

    TRY(jinja_make_list(&r->arena, JINJA_TUPLE, 0, &more));
    TRY(jinja_make_dict(&r->arena, &named));
    for (size_t i = n_parameters; i < m->x->n; i++)
        TRY(jinja_list_add(&r->arena, more.is.list, m->x->at[i]));
    for (size_t i = 0; i < m->x->n_named; i++)
        if (!m->used[i])
            TRY(jinja_dict_set(&r->arena, named.is.dict, jinja_of_text(m->x->named[i].name),
                               m->x->named[i].value));
    if (m->macro->flag) {
        TRY(jinja_bind(r, r->t->varargs, more));
        return jinja_bind(r, r->t->kwargs, named);
    }
    if (named.is.dict->n)
        return jinja_fail(r, "macro '%s' takes no keyword argument '%.*s'", m->macro->name,
                          (int)named.is.dict->at[0].key.is.text.n,
                          jinja_text_at(named.is.dict->at[0].key.is.text));
    if (!more.is.list->n) return ERR_OK;
    return jinja_fail(r, "macro '%s' takes not more than %zu argument(s)", m->macro->name,
                      n_parameters);
}

static err call_macro(jinja_run *r, const jinja_function *f, const jinja_args *x,
                      jinja_value *out)
{
    macro_call m = {f->node, x, jinja_arena_take(&r->arena, x->n_named + 1)};
    const int line = r->line;
    jinja_scope *before;
    jinja_text t;
    size_t n = 0;

    if (!m.used) return ERR_NOMEM;
    TRY(jinja_open_scope(r, f->scope, &before));
    for (const jinja_node *p = f->node->a; p; p = p->next) TRY(bind_parameter(r, &m, p, n++));
    TRY(bind_caller(r, &m));
    TRY(bind_extras(r, &m, n));
    TRY(jinja_run_captured(r, f->node->c, r->scope, &t));
    r->scope = before;
    r->line = line;
    *out = jinja_of_text(t);
    return ERR_OK;
}

/* loop(items), of a recursive loop: the same loop over others, as a text. */
static err call_loop(jinja_run *r, const jinja_loop *loop, const jinja_args *x,
                     jinja_value *out)
{
    jinja_buffer *const before = r->out, *own = jinja_arena_take(&r->arena, sizeof *own);
    jinja_scope *const scope = r->scope;

    if (!own) return ERR_NOMEM;
    if (!loop->node)
        return jinja_fail(r, "the loop must have the 'recursive' marker to be called");
    if (x->n != 1) return jinja_fail(r, "loop() takes one argument");
    TRY(jinja_enter(r));
    r->out = own;
    r->scope = loop->scope;
    TRY(jinja_run_loop(r, loop->node, x->at[0], loop->level + 1));
    r->scope = scope;
    r->out = before;
    r->depth--;
    *out = jinja_of_text(jinja_buffer_text(own));
    return ERR_OK;
}

/* --- any call --- */

/* The cycler's next; the joiner's text, but not the first time. */
static err call_turns(jinja_run *r, jinja_value v, const jinja_args *x, jinja_value *out)
{
    jinja_turns *t = v.is.turns;

    if (x->n || x->n_named) return jinja_fail(r, "a joiner takes no arguments");
    if (v.type == JINJA_CYCLER) return jinja_fail(r, "'Cycler' object is not callable");
    *out = t->now++ ? t->at[0] : jinja_of_text((jinja_text){0});
    return ERR_OK;
}

err jinja_call(jinja_run *r, jinja_value v, const jinja_args *x, jinja_value *out)
{
    switch (v.type) {
    case JINJA_FUNCTION:
        if (v.is.function->row)
            return jinja_native_call(r, v.is.function->row, v.is.function->on, x, out);
        return call_macro(r, v.is.function, x, out);
    case JINJA_LOOP:
        return call_loop(r, v.is.loop, x, out);
    case JINJA_CYCLER:
    case JINJA_JOINER:
        return call_turns(r, v, x, out);
    case JINJA_UNDEFINED:
        return jinja_fail(r, "%s", v.is.hint);
    default:
        return jinja_fail(r, "'%s' object is not callable", jinja_type_name(v));
    }
}

/* `caller` is one named argument more. */
err jinja_call_node(jinja_run *r, const jinja_node *call, const jinja_value *caller,
                    jinja_value *out)
{
    jinja_named *named;
    jinja_value function;
    jinja_args x;

    TRY(jinja_eval(r, call->a, &function));
    TRY(jinja_read_args(r, call->b, &x));
    r->line = call->line;
    if (!caller) return jinja_call(r, function, &x, out);
    named = jinja_arena_take(&r->arena, (x.n_named + 1) * sizeof *named);
    if (!named) return ERR_NOMEM;
    if (x.n_named) memcpy(named, x.named, x.n_named * sizeof *named);
    TRY(jinja_text_borrow(&r->arena, "caller", 6, true, &named[x.n_named].name));
    named[x.n_named++].value = *caller;
    x.named = named;
    return jinja_call(r, function, &x, out);
}
