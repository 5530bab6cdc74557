/* jinja_attr.c - parts of values: a.b, a[b] and a[b:c:d].
 *
 *   a.b    a method of a's type, else a[b]
 *   a[b]   an element, else a method of that name
 *
 * What is not there is undefined: to be asked for, printed as nothing, and an error as soon as
 * anything else is done with it. */
#include <string.h>

#include "engine/template/jinja_state.h"

/* Its error, once it is used. */
static err missing(jinja_run *r, jinja_value of, jinja_value name, jinja_value *out)
{
    jinja_buffer text = {0};

    out->type = JINJA_UNDEFINED;
    if (of.type == JINJA_NONE && name.type == JINJA_TEXT)
        return jinja_hint(r, &out->is.hint, "'None' has no attribute '%.*s'",
                          (int)name.is.text.n, jinja_text_at(name.is.text));
    if (name.type == JINJA_TEXT)
        return jinja_hint(r, &out->is.hint, "'%s object' has no attribute '%.*s'",
                          jinja_type_name(of), (int)name.is.text.n,
                          jinja_text_at(name.is.text));
    TRY(jinja_write_repr(r, name, &text));
    return jinja_hint(r, &out->is.hint, "%s object has no element %.*s", jinja_type_name(of),
                      (int)text.n, text.n ? text.bytes : "");
}

/* --- methods, and attributes that are computed --- */

static const jinja_value *neighbour(const jinja_loop *l, bool next)
{
    if (next) return l->now + 1 < l->items->n ? &l->items->at[l->now + 1] : NULL;
    return l->now ? &l->items->at[l->now - 1] : NULL;
}

/* loop.index and the like. False: it is no such name. */
static bool loop_attribute(const jinja_loop *l, jinja_text name, jinja_value *out)
{
    const int64_t now = (int64_t)l->now, n = (int64_t)l->items->n;
    const struct {
        const char *name;
        jinja_value v;
    } known[] = {
        {"index", jinja_int(now + 1)},    {"index0", jinja_int(now)},
        {"revindex", jinja_int(n - now)}, {"revindex0", jinja_int(n - now - 1)},
        {"first", jinja_bool(now == 0)},  {"last", jinja_bool(now + 1 == n)},
        {"length", jinja_int(n)},         {"depth", jinja_int(l->level + 1)},
        {"depth0", jinja_int(l->level)},
    };
    const bool next = jinja_text_is(name, "nextitem");

    for (size_t i = 0; i < sizeof known / sizeof *known; i++)
        if (jinja_text_is(name, known[i].name)) {
            *out = known[i].v;
            return true;
        }
    if (!next && !jinja_text_is(name, "previtem")) return false;
    *out = neighbour(l, next)
               ? *neighbour(l, next)
               : jinja_undefined(next ? "there is no next item" : "there is no previous item");
    return true;
}

/* group.grouper, group.list; cycler.current; macro.name. */
static bool own_attribute(jinja_run *r, jinja_value of, jinja_text name, jinja_value *out)
{
    if (of.type == JINJA_LOOP) return loop_attribute(of.is.loop, name, out);
    if (of.type == JINJA_GROUP && jinja_text_is(name, "grouper"))
        *out = of.is.list->at[0];
    else if (of.type == JINJA_GROUP && jinja_text_is(name, "list"))
        *out = of.is.list->at[1];
    else if (of.type == JINJA_CYCLER && jinja_text_is(name, "current"))
        *out = of.is.turns->at[of.is.turns->now % of.is.turns->n];
    else if (of.type == JINJA_FUNCTION && of.is.function->node && jinja_text_is(name, "name"))
        return jinja_make_text(&r->arena, of.is.function->node->name,
                               strlen(of.is.function->node->name), true, out) == ERR_OK;
    else
        return false;
    return true;
}

/* A method as a value that can be called; *found: there is one, even if it may not be. */
static err find_method(jinja_run *r, jinja_value of, jinja_text name, bool *found,
                       jinja_value *out)
{
    jinja_function f = {.row = jinja_native_method(of, name), .on = of};

    *found = true;
    if (f.row) return jinja_make_function(r, &f, out);
    *found = own_attribute(r, of, name, out);
    if (*found || !jinja_native_is_change(of, name)) return ERR_OK;
    *found = true;
    out->type = JINJA_UNDEFINED;
    return jinja_hint(r, &out->is.hint, "access to attribute '%.*s' of '%s' object is unsafe.",
                      (int)name.n, jinja_text_at(name), jinja_type_name(of));
}

/* --- elements --- */

/* A list's element or a text's character, counted from the end if negative. */
static err element(jinja_run *r, jinja_value of, int64_t i, bool *found, jinja_value *out)
{
    size_t n;

    TRY(jinja_length(r, of, &n));
    if (i < 0) i += (int64_t)n;
    *found = i >= 0 && (size_t)i < n;
    if (!*found) return ERR_OK;
    if (of.type == JINJA_TEXT) {
        const size_t from = jinja_char_offset(of.is.text, (size_t)i);
        const jinja_text rest = jinja_text_cut(of.is.text, from, of.is.text.n - from);

        *out = jinja_of_text(jinja_text_cut(rest, 0, jinja_char_offset(rest, 1)));
        return ERR_OK;
    }
    *out = of.is.list->at[i];
    return ERR_OK;
}

/* Is it a list that has elements by number? */
static bool is_indexed(jinja_value of)
{
    return of.type == JINJA_TEXT || of.type == JINJA_GROUP ||
           (of.type == JINJA_LIST && of.is.list->form < JINJA_KEYS);
}

static err find_element(jinja_run *r, jinja_value of, jinja_value index, bool *found,
                        jinja_value *out)
{
    const jinja_value *v = NULL;

    *found = false;
    if (of.type == JINJA_DICT) {
        if (!jinja_hashable(index)) return ERR_OK;
        v = jinja_dict_find(of.is.dict, index);
    }
    if (of.type == JINJA_NAMESPACE && index.type == JINJA_TEXT)
        v = jinja_dict_find(of.is.dict, index);
    if (v) *out = *v;
    *found = v != NULL;
    if (is_indexed(of) && (index.type == JINJA_INT || index.type == JINJA_BOOL))
        return element(r, of, (int64_t)jinja_as_double(index), found, out);
    return ERR_OK;
}

err jinja_attribute(jinja_run *r, jinja_value of, jinja_value name, jinja_value *out)
{
    bool found = false;

    if (of.type == JINJA_UNDEFINED) return jinja_fail(r, "%s", of.is.hint);
    /* What a namespace was given counts before anything else. */
    if (of.type != JINJA_NAMESPACE) TRY(find_method(r, of, name.is.text, &found, out));
    if (!found) TRY(find_element(r, of, name, &found, out));
    return found ? ERR_OK : missing(r, of, name, out);
}

err jinja_item(jinja_run *r, jinja_value of, jinja_value index, jinja_value *out)
{
    bool found = false;

    if (of.type == JINJA_UNDEFINED) return jinja_fail(r, "%s", of.is.hint);
    TRY(find_element(r, of, index, &found, out));
    if (!found && index.type == JINJA_TEXT) TRY(find_method(r, of, index.is.text, &found, out));
    return found ? ERR_OK : missing(r, of, index, out);
}

/* --- slices --- */

/* A bound as Python cuts it: within [low, high]. */
static err read_bound(jinja_run *r, jinja_value v, int64_t missing_value, int64_t low,
                      int64_t *bound, int64_t n)
{
    *bound = missing_value;
    if (v.type == JINJA_NONE) return ERR_OK;
    if (v.type == JINJA_UNDEFINED) return jinja_fail(r, "%s", v.is.hint);
    if (v.type != JINJA_INT && v.type != JINJA_BOOL)
        return jinja_fail(r, "slice indices must be integers or None");
    *bound = (int64_t)jinja_as_double(v);
    if (*bound < 0) *bound += n;
    if (*bound < low) *bound = low;
    if (*bound > n + low) *bound = n + low;
    return ERR_OK;
}

/* Which elements a slice has: from, from + step ... `count` of them. */
typedef struct cut {
    int64_t from, step;
    size_t count;
} cut;

static err read_cut(jinja_run *r, const jinja_value part[3], size_t length, cut *out)
{
    const int64_t n = (int64_t)length;
    int64_t from, to, step = 1, low;

    TRY(jinja_want_int(r, part[2], 1, &step));
    if (step == 0) return jinja_fail(r, "slice step cannot be zero");
    if (step > n + 1) step = n + 1; /* the first element alone, either way */
    if (step < -n - 1) step = -n - 1;
    low = step < 0 ? -1 : 0; /* a slice that goes down may end before the first */
    TRY(read_bound(r, part[0], step < 0 ? n - 1 : 0, low, &from, n));
    TRY(read_bound(r, part[1], step < 0 ? -1 : n, low, &to, n));
    *out = (cut){from, step, 0};
    if (step > 0 && to > from) out->count = (size_t)((to - from - 1) / step + 1);
    if (step < 0 && to < from) out->count = (size_t)((from - to - 1) / -step + 1);
    return ERR_OK;
}

/* Characters that follow each other are a part of the text; others are copied one by one. */
static err slice_text(jinja_run *r, jinja_text t, const cut *c, jinja_value *out)
{
    const size_t from = c->count ? jinja_char_offset(t, (size_t)c->from) : 0;
    const jinja_text rest = jinja_text_cut(t, from, t.n - from);
    jinja_buffer *b;

    if (c->step == 1 || !c->count) {
        const size_t n = c->count ? jinja_char_offset(rest, c->count) : 0;

        *out = jinja_of_text(jinja_text_cut(rest, 0, n));
        return ERR_OK;
    }
    b = jinja_arena_take(&r->arena, sizeof *b);
    if (!b) return ERR_NOMEM;
    for (size_t i = 0; i < c->count; i++) {
        jinja_value one;
        bool found;

        TRY(jinja_step(r, 1 + t.n / 64)); /* each is counted from the beginning */
        TRY(element(r, jinja_of_text(t), c->from + (int64_t)i * c->step, &found, &one));
        TRY(jinja_buffer_add_text(&r->arena, b, one.is.text));
    }
    *out = jinja_of_text(jinja_buffer_text(b));
    return ERR_OK;
}

err jinja_slice(jinja_run *r, jinja_value of, const jinja_value part[3], jinja_value *out)
{
    jinja_value list;
    size_t n;
    cut c = {0};

    if (of.type == JINJA_UNDEFINED) return jinja_fail(r, "%s", of.is.hint);
    if (!is_indexed(of)) {
        *out = jinja_undefined("the value has no slices");
        return ERR_OK;
    }
    TRY(jinja_length(r, of, &n));
    TRY(read_cut(r, part, n, &c));
    if (of.type == JINJA_TEXT) return slice_text(r, of.is.text, &c, out);
    TRY(jinja_step(r, c.count));
    TRY(jinja_make_list(&r->arena, of.type == JINJA_GROUP ? JINJA_TUPLE : of.is.list->form,
                        c.count, &list));
    for (size_t i = 0; i < c.count; i++)
        TRY(jinja_list_add(&r->arena, list.is.list,
                           of.is.list->at[c.from + (int64_t)i * c.step]));
    *out = list;
    return ERR_OK;
}
