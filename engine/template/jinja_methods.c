/* jinja_methods.c - methods of texts: searched, cut, stripped, filled up.
 *
 * Positions are in characters, as Python counts, and are turned into bytes at the border; a
 * part of a text keeps its marks. What a method wants is checked as Python does, so a template
 * that tries one on a value of another type gets an error and not a guess. */
#include <string.h>

#include "engine/template/jinja_case.h"
#include "engine/template/jinja_state.h"

/* --- like filters --- */

err jinja_method_replace(jinja_run *r, jinja_value on, const jinja_args *x, jinja_value *out)
{
    jinja_text t;

    TRY(jinja_want_text(r, x->at[0], "replace() argument 1", &t));
    TRY(jinja_want_text(r, x->at[1], "replace() argument 2", &t));
    return jinja_filter_replace(r, on, x, out);
}

/* Unlike the filter it takes texts alone. */
err jinja_method_join(jinja_run *r, jinja_value on, const jinja_args *x, jinja_value *out)
{
    jinja_value bound[2] = {on, {.type = JINJA_ABSENT}};
    const jinja_args args = {bound, 1, NULL, 0};
    const jinja_list *items;
    jinja_text t;

    TRY(jinja_iterate(r, x->at[0], &items));
    for (size_t i = 0; i < items->n; i++)
        TRY(jinja_want_text(r, items->at[i], "an item of join()", &t));
    return jinja_filter_join(r, x->at[0], &args, out);
}

err jinja_method_format(jinja_run *r, jinja_value on, const jinja_args *x, jinja_value *out)
{
    return jinja_format(r, on.is.text, x, out);
}

#define CASE(name, kind)                                                       \
    err jinja_method_##name(jinja_run *r, jinja_value on, const jinja_args *x, \
                            jinja_value *out)                                  \
    {                                                                          \
        (void)x;                                                               \
        TRY(jinja_step(r, on.is.text.n / 16));                                 \
        *out = jinja_of_text((jinja_text){0});                                 \
        return jinja_case(&r->arena, on.is.text, kind, &out->is.text);         \
    }
CASE(capitalize, JINJA_CAPITALIZE)
CASE(lower, JINJA_LOWER)
CASE(swapcase, JINJA_SWAP)
CASE(title, JINJA_TITLE)
CASE(upper, JINJA_UPPER)
#undef CASE

/* --- stripping --- */

static err strip(jinja_run *r, jinja_value on, jinja_value chars, unsigned sides,
                 jinja_value *out)
{
    const bool some = chars.type != JINJA_ABSENT && chars.type != JINJA_NONE;
    jinja_text drop;

    if (some) TRY(jinja_want_text(r, chars, "strip() argument", &drop));
    *out = jinja_of_text(
        jinja_text_strip(on.is.text, some ? &drop : NULL, sides & 1, sides & 2));
    return ERR_OK;
}

err jinja_method_strip(jinja_run *r, jinja_value on, const jinja_args *x, jinja_value *out)
{
    return strip(r, on, x->at[0], 3, out);
}

err jinja_method_lstrip(jinja_run *r, jinja_value on, const jinja_args *x, jinja_value *out)
{
    return strip(r, on, x->at[0], 1, out);
}

err jinja_method_rstrip(jinja_run *r, jinja_value on, const jinja_args *x, jinja_value *out)
{
    return strip(r, on, x->at[0], 2, out);
}

/* --- beginnings and ends --- */

/* The part that start and end leave. */
static err cut_part(jinja_run *r, jinja_text t, const jinja_value *bounds, jinja_text *out)
{
    const jinja_value part[3] = {bounds[0].type == JINJA_ABSENT ? jinja_none() : bounds[0],
                                 bounds[1].type == JINJA_ABSENT ? jinja_none() : bounds[1],
                                 jinja_none()};
    jinja_value v;

    *out = t;
    if (bounds[0].type == JINJA_ABSENT) return ERR_OK;
    TRY(jinja_slice(r, jinja_of_text(t), part, &v));
    *out = v.is.text;
    return ERR_OK;
}

static bool borders(jinja_text t, jinja_text with, bool end)
{
    return with.n <= t.n &&
           jinja_text_same(jinja_text_cut(t, end ? t.n - with.n : 0, with.n), with);
}

/* Of several, given as a tuple, one is enough. */
static err test_border(jinja_run *r, jinja_value on, const jinja_args *x, bool end,
                       jinja_value *out)
{
    const bool several = x->at[0].type == JINJA_LIST && x->at[0].is.list->form == JINJA_TUPLE;
    const size_t n = several ? x->at[0].is.list->n : 1;
    jinja_text t, with;
    bool found = false;

    TRY(cut_part(r, on.is.text, x->at + 1, &t));
    for (size_t i = 0; i < n && !found; i++) {
        TRY(jinja_want_text(r, several ? x->at[0].is.list->at[i] : x->at[0],
                            end ? "endswith() argument" : "startswith() argument", &with));
        found = borders(t, with, end);
    }
    *out = jinja_bool(found);
    return ERR_OK;
}

err jinja_method_startswith(jinja_run *r, jinja_value on, const jinja_args *x, jinja_value *out)
{
    return test_border(r, on, x, false, out);
}

err jinja_method_endswith(jinja_run *r, jinja_value on, const jinja_args *x, jinja_value *out)
{
    return test_border(r, on, x, true, out);
}

static err remove_border(jinja_run *r, jinja_value on, jinja_value with, bool end,
                         jinja_value *out)
{
    jinja_text t = on.is.text, drop;

    TRY(jinja_want_text(r, with, "what to remove", &drop));
    if (borders(t, drop, end)) t = jinja_text_cut(t, end ? 0 : drop.n, t.n - drop.n);
    *out = jinja_of_text(t);
    return ERR_OK;
}

err jinja_method_removeprefix(jinja_run *r, jinja_value on, const jinja_args *x,
                              jinja_value *out)
{
    return remove_border(r, on, x->at[0], false, out);
}

err jinja_method_removesuffix(jinja_run *r, jinja_value on, const jinja_args *x,
                              jinja_value *out)
{
    return remove_border(r, on, x->at[0], true, out);
}

/* --- searching --- */

/* The last place before `end`. */
static size_t find_last(jinja_text t, jinja_text sub, size_t end)
{
    for (size_t at = end >= sub.n ? end - sub.n + 1 : 0; at-- > 0;)
        if (memcmp(jinja_text_at(t) + at, jinja_text_at(sub), sub.n) == 0) return at;
    return SIZE_MAX;
}

/* In characters; -1: nowhere. */
static err search(jinja_run *r, jinja_value on, const jinja_args *x, bool last, int64_t *out)
{
    jinja_text t, sub;
    size_t at;

    TRY(jinja_want_text(r, x->at[0], "what to find", &sub));
    TRY(cut_part(r, on.is.text, x->at + 1, &t));
    TRY(jinja_step(r, t.n / 64));
    at = last ? find_last(t, sub, t.n) : jinja_text_find(t, sub, 0);
    *out = -1;
    if (at == SIZE_MAX) return ERR_OK;
    at += t.from - on.is.text.from;
    *out = (int64_t)jinja_chars(jinja_text_cut(on.is.text, 0, at));
    return ERR_OK;
}

static err search_position(jinja_run *r, jinja_value on, const jinja_args *x, bool last,
                           jinja_value *out)
{
    int64_t at;

    TRY(search(r, on, x, last, &at));
    *out = jinja_int(at);
    return ERR_OK;
}

err jinja_method_find(jinja_run *r, jinja_value on, const jinja_args *x, jinja_value *out)
{
    return search_position(r, on, x, false, out);
}

err jinja_method_rfind(jinja_run *r, jinja_value on, const jinja_args *x, jinja_value *out)
{
    return search_position(r, on, x, true, out);
}

err jinja_method_index(jinja_run *r, jinja_value on, const jinja_args *x, jinja_value *out)
{
    TRY(search_position(r, on, x, false, out));
    return out->is.number < 0 ? jinja_fail(r, "substring not found") : ERR_OK;
}

err jinja_method_rindex(jinja_run *r, jinja_value on, const jinja_args *x, jinja_value *out)
{
    TRY(search_position(r, on, x, true, out));
    return out->is.number < 0 ? jinja_fail(r, "substring not found") : ERR_OK;
}

err jinja_method_count(jinja_run *r, jinja_value on, const jinja_args *x, jinja_value *out)
{
    jinja_text t, sub;
    int64_t n = 0;

    TRY(jinja_want_text(r, x->at[0], "what to count", &sub));
    TRY(cut_part(r, on.is.text, x->at + 1, &t));
    TRY(jinja_step(r, t.n / 64));
    for (size_t at = 0; sub.n && (at = jinja_text_find(t, sub, at)) != SIZE_MAX; at += sub.n)
        n++;
    *out = jinja_int(sub.n ? n : (int64_t)jinja_chars(t) + 1);
    return ERR_OK;
}

/* --- filling up --- */

/* `left` fillings before, `right` behind. */
static err fill(jinja_run *r, jinja_text t, jinja_text with, int64_t left, int64_t right,
                jinja_value *out)
{
    jinja_buffer *b = jinja_arena_take(&r->arena, sizeof *b);

    if (!b) return ERR_NOMEM;
    for (; left > 0; left--) {
        TRY(jinja_step(r, 1));
        TRY(jinja_buffer_add_text(&r->arena, b, with));
    }
    TRY(jinja_buffer_add_text(&r->arena, b, t));
    for (; right > 0; right--) {
        TRY(jinja_step(r, 1));
        TRY(jinja_buffer_add_text(&r->arena, b, with));
    }
    *out = jinja_of_text(jinja_buffer_text(b));
    return ERR_OK;
}

/* How many are missing, and what they are. */
static err read_fill(jinja_run *r, jinja_value on, const jinja_args *x, jinja_text *with,
                     int64_t *missing)
{
    int64_t width;

    TRY(jinja_want_int(r, x->at[0], 0, &width));
    *missing = width - (int64_t)jinja_chars(on.is.text);
    TRY(jinja_text_borrow(&r->arena, " ", 1, true, with));
    if (x->at[1].type == JINJA_ABSENT) return ERR_OK;
    TRY(jinja_want_text(r, x->at[1], "the fill character", with));
    if (jinja_chars(*with) == 1) return ERR_OK;
    return jinja_fail(r, "The fill character must be exactly one character long");
}

err jinja_method_ljust(jinja_run *r, jinja_value on, const jinja_args *x, jinja_value *out)
{
    int64_t missing;
    jinja_text with;

    TRY(read_fill(r, on, x, &with, &missing));
    return fill(r, on.is.text, with, 0, missing, out);
}

err jinja_method_rjust(jinja_run *r, jinja_value on, const jinja_args *x, jinja_value *out)
{
    int64_t missing;
    jinja_text with;

    TRY(read_fill(r, on, x, &with, &missing));
    return fill(r, on.is.text, with, missing, 0, out);
}

/* Where it cannot be even, Python has one more on the left if the width is odd. */
err jinja_method_center(jinja_run *r, jinja_value on, const jinja_args *x, jinja_value *out)
{
    int64_t missing, left;
    jinja_text with;

    TRY(read_fill(r, on, x, &with, &missing));
    if (missing < 0) missing = 0;
    left = missing / 2 + (missing & (missing + (int64_t)jinja_chars(on.is.text)) & 1);
    return fill(r, on.is.text, with, left, missing - left, out);
}

/* Zeros behind the sign. */
err jinja_method_zfill(jinja_run *r, jinja_value on, const jinja_args *x, jinja_value *out)
{
    jinja_text t = on.is.text, sign, with;
    int64_t width, missing;
    jinja_value rest;

    TRY(jinja_want_int(r, x->at[0], 0, &width));
    missing = width - (int64_t)jinja_chars(t);
    sign = jinja_text_cut(t, 0, t.n && strchr("+-", *jinja_text_at(t)) ? 1 : 0);
    TRY(jinja_text_borrow(&r->arena, "0", 1, true, &with));
    TRY(fill(r, jinja_text_cut(t, sign.n, t.n - sign.n), with, missing, 0, &rest));
    *out = jinja_of_text((jinja_text){0});
    return jinja_text_concat(&r->arena, sign, rest.is.text, &out->is.text);
}
