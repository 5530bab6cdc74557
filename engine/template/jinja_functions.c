/* jinja_functions.c - functions that every template has, and what is of the values they make.
 *
 * range, dict, namespace, cycler and joiner are Jinja's; raise_exception and strftime_now are
 * transformers'. The clock is read when a run is opened, so one prompt has one time. */
#include <string.h>

#include "engine/template/jinja_state.h"

enum { MOST_RANGE = 100000 /* jinja2's sandbox has this bound */ };

err jinja_function_range(jinja_run *r, jinja_value on, const jinja_args *x, jinja_value *out)
{
    const bool one = x->at[1].type == JINJA_ABSENT;
    int64_t from = 0, to, step, n = 0;

    (void)on;
    if (x->at[0].type == JINJA_ABSENT)
        return jinja_fail(r, "range expected at least 1 argument");
    TRY(jinja_want_int(r, x->at[0], 0, one ? &to : &from));
    if (!one) TRY(jinja_want_int(r, x->at[1], 0, &to));
    TRY(jinja_want_int(r, x->at[2], 1, &step));
    if (step == 0) return jinja_fail(r, "range() arg 3 must not be zero");
    if (from < -(1LL << 40) || from > 1LL << 40 || to < -(1LL << 40) || to > 1LL << 40 ||
        step < -(1LL << 40) || step > 1LL << 40)
        return jinja_fail(r, "a number is too large");
    if (step > 0 && to > from) n = (to - from - 1) / step + 1;
    if (step < 0 && to < from) n = (from - to - 1) / -step + 1;
    if (n > MOST_RANGE)
        return jinja_fail(r,
                          "Range too big. The sandbox blocks ranges larger than MAX_RANGE "
                          "(%d).",
                          (int)MOST_RANGE);
    TRY(jinja_step(r, (size_t)n));
    TRY(jinja_make_list(&r->arena, JINJA_RANGE, (size_t)n, out));
    for (int64_t i = 0; i < n; i++)
        TRY(jinja_list_add(&r->arena, out->is.list, jinja_int(from + i * step)));
    return ERR_OK;
}

/* --- dict, namespace --- */

/* Pairs of a list: dict([("a", 1)]). */
static err add_pairs(jinja_run *r, jinja_dict *d, jinja_value v)
{
    const jinja_list *items, *pair;

    TRY(jinja_iterate(r, v, &items));
    for (size_t i = 0; i < items->n; i++) {
        TRY(jinja_iterate(r, items->at[i], &pair));
        if (pair->n != 2 || !jinja_hashable(pair->at[0]))
            return jinja_fail(r, "a dict is made of pairs, the first of which can be a key");
        TRY(jinja_dict_set(&r->arena, d, pair->at[0], pair->at[1]));
    }
    return ERR_OK;
}

err jinja_function_dict(jinja_run *r, jinja_value on, const jinja_args *x, jinja_value *out)
{
    (void)on;
    if (x->n > 1) return jinja_fail(r, "dict expected at most 1 argument, got %zu", x->n);
    TRY(jinja_make_dict(&r->arena, out));
    if (x->n && (x->at[0].type == JINJA_DICT || x->at[0].type == JINJA_NAMESPACE)) {
        const jinja_dict *from = x->at[0].is.dict;

        for (size_t i = 0; i < from->n; i++)
            TRY(jinja_dict_set(&r->arena, out->is.dict, from->at[i].key, from->at[i].value));
    } else if (x->n)
        TRY(add_pairs(r, out->is.dict, x->at[0]));
    for (size_t i = 0; i < x->n_named; i++)
        TRY(jinja_dict_set(&r->arena, out->is.dict, jinja_of_text(x->named[i].name),
                           x->named[i].value));
    return ERR_OK;
}

err jinja_function_namespace(jinja_run *r, jinja_value on, const jinja_args *x,
                             jinja_value *out)
{
    TRY(jinja_function_dict(r, on, x, out));
    out->type = JINJA_NAMESPACE;
    return ERR_OK;
}

/* --- cycler, joiner --- */

static err make_turns(jinja_run *r, jinja_type type, const jinja_value *at, size_t n,
                      jinja_value *out)
{
    jinja_turns *t = jinja_arena_take(&r->arena, sizeof *t);

    if (!t) return ERR_NOMEM;
    t->at = jinja_arena_take(&r->arena, n * sizeof *t->at);
    if (!t->at) return ERR_NOMEM;
    memcpy(t->at, at, n * sizeof *at);
    t->n = n;
    *out = (jinja_value){.type = type, .is.turns = t};
    return ERR_OK;
}

err jinja_function_cycler(jinja_run *r, jinja_value on, const jinja_args *x, jinja_value *out)
{
    (void)on;
    if (!x->n) return jinja_fail(r, "at least one item has to be provided");
    return make_turns(r, JINJA_CYCLER, x->at, x->n, out);
}

err jinja_function_joiner(jinja_run *r, jinja_value on, const jinja_args *x, jinja_value *out)
{
    jinja_value sep = x->at[0];

    (void)on;
    if (sep.type == JINJA_ABSENT) TRY(jinja_make_text(&r->arena, ", ", 2, true, &sep));
    return make_turns(r, JINJA_JOINER, &sep, 1, out);
}

err jinja_method_next(jinja_run *r, jinja_value on, const jinja_args *x, jinja_value *out)
{
    jinja_turns *t = on.is.turns;

    (void)r, (void)x;
    *out = t->at[t->now];
    t->now = (t->now + 1) % t->n;
    return ERR_OK;
}

err jinja_method_reset(jinja_run *r, jinja_value on, const jinja_args *x, jinja_value *out)
{
    (void)r, (void)x;
    on.is.turns->now = 0;
    *out = jinja_none();
    return ERR_OK;
}

/* --- loop --- */

err jinja_method_cycle(jinja_run *r, jinja_value on, const jinja_args *x, jinja_value *out)
{
    if (!x->n) return jinja_fail(r, "no items for cycling given");
    *out = x->at[on.is.loop->now % x->n];
    return ERR_OK;
}

/* Are the arguments others than the last time? */
err jinja_method_changed(jinja_run *r, jinja_value on, const jinja_args *x, jinja_value *out)
{
    jinja_value now;

    TRY(jinja_make_list(&r->arena, JINJA_TUPLE, x->n, &now));
    for (size_t i = 0; i < x->n; i++) TRY(jinja_list_add(&r->arena, now.is.list, x->at[i]));
    *out = jinja_bool(!jinja_equal(on.is.loop->changed, now));
    on.is.loop->changed = now;
    return ERR_OK;
}

/* --- what a template says, and the time --- */

err jinja_function_raise_exception(jinja_run *r, jinja_value on, const jinja_args *x,
                                   jinja_value *out)
{
    jinja_text t;

    (void)on, (void)out;
    if (x->at[0].type == JINJA_ABSENT)
        return jinja_fail(r, "raise_exception lacks its message");
    TRY(jinja_str(r, x->at[0], &t));
    jinja_fail(r, "%.*s", t.n > 1000 ? 1000 : (int)t.n, jinja_text_at(t));
    if (!r->why->text[0]) strcpy(r->why->text, "(no message)");
    r->why->raised = true;
    return ERR_TEMPLATE;
}

err jinja_function_strftime_now(jinja_run *r, jinja_value on, const jinja_args *x,
                                jinja_value *out)
{
    char format[128] = {0}, text[512];
    struct tm now;
    jinja_text t;
    size_t n;

    (void)on;
    TRY(jinja_want_text(r, x->at[0], "a format of time", &t));
    if (t.n >= sizeof format - 1) return jinja_fail(r, "a format of time is too long");
    memcpy(format, jinja_text_at(t), t.n);
    format[t.n] = '.'; /* or nothing and too much would look alike */
    localtime_r(&r->now, &now);
    n = strftime(text, sizeof text, format, &now);
    if (!n) return jinja_fail(r, "a format of time is not valid");
    *out = jinja_of_text(
        (jinja_text){jinja_arena_take(&r->arena, sizeof(jinja_buffer)), 0, n - 1});
    if (!out->is.text.in) return ERR_NOMEM;
    out->is.text.n = 0;
    TRY(jinja_buffer_add(&r->arena, out->is.text.in, text, n - 1, false));
    out->is.text.n = n - 1;
    return ERR_OK;
}
