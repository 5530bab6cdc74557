/* jinja_filters_list.c - filters over lists: chosen, changed, sorted, grouped.
 *
 * Where Jinja makes a generator the list is made at once, and only behaves as one: it has no
 * length and no elements by number. Source: jinja2/filters.py. */
#include <string.h>

#include "engine/template/jinja_case.h"
#include "engine/template/jinja_state.h"

static err open_list(jinja_run *r, jinja_form form, jinja_value *out)
{
    return jinja_make_list(&r->arena, form, 0, out);
}

static err add(jinja_run *r, jinja_value list, jinja_value v)
{
    TRY(jinja_step(r, 1));
    return jinja_list_add(&r->arena, list.is.list, v);
}

/* --- attributes of elements --- */

/* "a.b.0": element of element; `missing` where it is undefined, if that is given. */
static err follow(jinja_run *r, jinja_value v, jinja_value path, jinja_value missing,
                  jinja_value *out)
{
    jinja_text rest;

    *out = v;
    if (path.type == JINJA_ABSENT || path.type == JINJA_NONE) return ERR_OK;
    if (path.type != JINJA_TEXT) return jinja_item(r, v, path, out);
    for (rest = path.is.text;;) {
        const size_t dot = jinja_text_find(
            rest, (jinja_text){&(jinja_buffer){".", NULL, 1, 0, 0}, 0, 1}, 0);
        const jinja_text part = jinja_text_cut(rest, 0, dot == SIZE_MAX ? rest.n : dot);
        jinja_value key = jinja_of_text(part);
        int64_t number = 0;
        bool digits = part.n > 0 && part.n < 10;

        for (size_t i = 0; i < part.n && digits; i++) {
            const char c = jinja_text_at(part)[i];

            digits = c >= '0' && c <= '9';
            number = number * 10 + (c - '0');
        }
        if (digits) key = jinja_int(number);
        TRY(jinja_item(r, *out, key, out));
        if (out->type == JINJA_UNDEFINED && missing.type != JINJA_ABSENT) *out = missing;
        if (dot == SIZE_MAX) return ERR_OK;
        rest = jinja_text_cut(rest, dot + 1, rest.n - dot - 1);
    }
}

/* What elements are compared by: texts without their case, unless it counts. */
static err sort_key(jinja_run *r, jinja_value v, bool with_case, jinja_value *out)
{
    *out = v;
    if (v.type != JINJA_TEXT || with_case) return ERR_OK;
    TRY(jinja_step(r, v.is.text.n / 16));
    return jinja_case(&r->arena, v.is.text, JINJA_LOWER, &out->is.text);
}

/* "a,b": several attributes, in that order. */
static err sort_keys(jinja_run *r, jinja_value v, jinja_value by, bool with_case,
                     jinja_value *out)
{
    const jinja_value none = {.type = JINJA_ABSENT};
    jinja_value list, part;
    jinja_text rest;

    if (by.type != JINJA_TEXT || !memchr(jinja_text_at(by.is.text), ',', by.is.text.n)) {
        TRY(follow(r, v, by, none, &part));
        return sort_key(r, part, with_case, out);
    }
    TRY(open_list(r, JINJA_LIST_FORM, &list));
    for (rest = by.is.text; rest.n;) {
        const char *comma = memchr(jinja_text_at(rest), ',', rest.n);
        const size_t n = comma ? (size_t)(comma - jinja_text_at(rest)) : rest.n;

        TRY(follow(r, v, jinja_of_text(jinja_text_cut(rest, 0, n)), none, &part));
        TRY(sort_key(r, part, with_case, &part));
        TRY(add(r, list, part));
        rest = jinja_text_cut(rest, n + (comma != NULL), rest.n - n - (comma != NULL));
    }
    *out = list;
    return ERR_OK;
}

/* --- ends --- */

err jinja_filter_first(jinja_run *r, jinja_value on, const jinja_args *x, jinja_value *out)
{
    const jinja_list *items;

    (void)x;
    TRY(jinja_iterate(r, on, &items));
    *out = items->n ? items->at[0] : jinja_undefined("No first item, sequence was empty.");
    return ERR_OK;
}

err jinja_filter_last(jinja_run *r, jinja_value on, const jinja_args *x, jinja_value *out)
{
    const jinja_list *items;

    (void)x;
    if (on.type == JINJA_LIST && on.is.list->form == JINJA_GENERATOR)
        return jinja_fail(r, "'generator' object is not reversible");
    TRY(jinja_iterate(r, on, &items));
    *out = items->n ? items->at[items->n - 1]
                    : jinja_undefined("No last item, sequence was empty.");
    return ERR_OK;
}

err jinja_filter_length(jinja_run *r, jinja_value on, const jinja_args *x, jinja_value *out)
{
    size_t n;

    (void)x;
    TRY(jinja_length(r, on, &n));
    *out = jinja_int((int64_t)n);
    return ERR_OK;
}

err jinja_filter_list(jinja_run *r, jinja_value on, const jinja_args *x, jinja_value *out)
{
    const jinja_list *items;

    (void)x;
    TRY(jinja_iterate(r, on, &items));
    TRY(open_list(r, JINJA_LIST_FORM, out));
    for (size_t i = 0; i < items->n; i++) TRY(add(r, *out, items->at[i]));
    return ERR_OK;
}

err jinja_filter_items(jinja_run *r, jinja_value on, const jinja_args *x, jinja_value *out)
{
    (void)x;
    if (on.type == JINJA_UNDEFINED) return open_list(r, JINJA_GENERATOR, out);
    if (on.type != JINJA_DICT) return jinja_fail(r, "Can only get item pairs from a mapping.");
    TRY(jinja_views(r, on.is.dict, JINJA_ITEMS, out));
    out->is.list->form = JINJA_GENERATOR;
    return ERR_OK;
}

/* A text's characters, or a list's elements, from the last to the first. */
err jinja_filter_reverse(jinja_run *r, jinja_value on, const jinja_args *x, jinja_value *out)
{
    const jinja_list *items;
    jinja_value list;

    (void)x;
    TRY(jinja_iterate(r, on, &items));
    TRY(open_list(r, JINJA_GENERATOR, &list));
    for (size_t i = items->n; i-- > 0;) TRY(add(r, list, items->at[i]));
    *out = list;
    if (on.type != JINJA_TEXT) return ERR_OK;
    return jinja_filter_join(r, list, &(jinja_args){(jinja_value[2]){{0}}, 0, NULL, 0}, out);
}

/* --- map, select, reject --- */

/* The arguments behind the first `skip`, for a filter or a test that is named by them. */
static jinja_args later_args(const jinja_args *x, size_t skip)
{
    jinja_args rest = *x;

    if (!x->n) return rest;
    rest.at += skip < x->n ? skip : x->n;
    rest.n -= skip < x->n ? skip : x->n;
    return rest;
}

static err find_row(jinja_run *r, jinja_value name, const char *what,
                    const jinja_native *(*find)(const char *), const jinja_native **out)
{
    char text[40] = {0};
    jinja_text t;

    TRY(jinja_want_text(r, name, what, &t));
    if (t.n < sizeof text) memcpy(text, jinja_text_at(t), t.n);
    *out = find(text);
    return *out ? ERR_OK : jinja_fail(r, "unknown %s '%.40s'", what, text);
}

static const jinja_value *find_named(const jinja_args *x, const char *name)
{
    for (size_t i = 0; i < x->n_named; i++)
        if (jinja_text_is(x->named[i].name, name)) return &x->named[i].value;
    return NULL;
}

/* Of what is false, as none is, there are no elements. */
static err iterate_some(jinja_run *r, jinja_value v, const jinja_list **out)
{
    return jinja_iterate(r, jinja_truth(v) ? v : jinja_undefined(""), out);
}

/* map(attribute="a", default=0), or map("filter", arguments of it). */
err jinja_filter_map(jinja_run *r, jinja_value on, const jinja_args *x, jinja_value *out)
{
    const jinja_value *by = x->n ? NULL : find_named(x, "attribute");
    const jinja_value *missing = find_named(x, "default"), absent = {.type = JINJA_ABSENT};
    const jinja_args rest = later_args(x, 1);
    const jinja_native *row = NULL;
    const jinja_list *items;

    if (!by && !x->n) return jinja_fail(r, "map requires a filter argument");
    if (!by) TRY(find_row(r, x->at[0], "filter", jinja_native_filter, &row));
    TRY(iterate_some(r, on, &items));
    TRY(open_list(r, JINJA_GENERATOR, out));
    for (size_t i = 0; i < items->n; i++) {
        jinja_value v;

        if (row)
            TRY(jinja_native_call(r, row, items->at[i], &rest, &v));
        else
            TRY(follow(r, items->at[i], *by, missing ? *missing : absent, &v));
        TRY(add(r, *out, v));
    }
    return ERR_OK;
}

/* select("test", ...) and selectattr("attribute", "test", ...): without a test, by truth. */
static err choose(jinja_run *r, jinja_value on, const jinja_args *x, bool by, bool wanted,
                  jinja_value *out)
{
    const jinja_value absent = {.type = JINJA_ABSENT};
    const jinja_args rest = later_args(x, by ? 2 : 1);
    const jinja_native *row = NULL;
    const jinja_list *items;
    jinja_value v, holds;

    if (by && !x->n) return jinja_fail(r, "missing parameter for attribute name");
    if (x->n > by) TRY(find_row(r, x->at[by], "test", jinja_native_test, &row));
    TRY(iterate_some(r, on, &items));
    TRY(open_list(r, JINJA_GENERATOR, out));
    for (size_t i = 0; i < items->n; i++) {
        TRY(follow(r, items->at[i], by ? x->at[0] : absent, absent, &v));
        holds = v;
        if (row) TRY(jinja_native_call(r, row, v, &rest, &holds));
        TRY(jinja_step(r, 1));
        if (jinja_truth(holds) == wanted) TRY(add(r, *out, items->at[i]));
    }
    return ERR_OK;
}

err jinja_filter_select(jinja_run *r, jinja_value on, const jinja_args *x, jinja_value *out)
{
    return choose(r, on, x, false, true, out);
}

err jinja_filter_reject(jinja_run *r, jinja_value on, const jinja_args *x, jinja_value *out)
{
    return choose(r, on, x, false, false, out);
}

err jinja_filter_selectattr(jinja_run *r, jinja_value on, const jinja_args *x, jinja_value *out)
{
    return choose(r, on, x, true, true, out);
}

err jinja_filter_rejectattr(jinja_run *r, jinja_value on, const jinja_args *x, jinja_value *out)
{
    return choose(r, on, x, true, false, out);
}

/* --- sorted --- */

/* The elements with their keys, [items->n] in the arena. */
static err read_keys(jinja_run *r, const jinja_list *items, jinja_value by, bool with_case,
                     jinja_entry **out)
{
    jinja_entry *at = jinja_arena_take(&r->arena, (items->n + 1) * sizeof *at);

    if (!at) return ERR_NOMEM;
    for (size_t i = 0; i < items->n; i++) {
        TRY(jinja_step(r, 1));
        at[i].value = items->at[i];
        TRY(sort_keys(r, items->at[i], by, with_case, &at[i].key));
    }
    *out = at;
    return ERR_OK;
}

err jinja_filter_sort(jinja_run *r, jinja_value on, const jinja_args *x, jinja_value *out)
{
    const jinja_list *items;
    jinja_entry *at;

    TRY(jinja_iterate(r, on, &items));
    TRY(read_keys(r, items, x->at[2], jinja_truth(x->at[1]), &at));
    TRY(jinja_sort(r, at, items->n, jinja_truth(x->at[0])));
    TRY(open_list(r, JINJA_LIST_FORM, out));
    for (size_t i = 0; i < items->n; i++) TRY(add(r, *out, at[i].value));
    return ERR_OK;
}

err jinja_filter_dictsort(jinja_run *r, jinja_value on, const jinja_args *x, jinja_value *out)
{
    const bool by_value = x->at[1].type == JINJA_TEXT &&
                          jinja_text_is(x->at[1].is.text, "value");
    const jinja_list *items;
    jinja_value pairs;
    jinja_entry *at;

    if (on.type != JINJA_DICT) return jinja_fail(r, "dictsort needs a dict");
    TRY(jinja_views(r, on.is.dict, JINJA_ITEMS, &pairs));
    items = pairs.is.list;
    TRY(read_keys(r, items, jinja_int(by_value), jinja_truth(x->at[0]), &at));
    TRY(jinja_sort(r, at, items->n, jinja_truth(x->at[2])));
    TRY(open_list(r, JINJA_LIST_FORM, out));
    for (size_t i = 0; i < items->n; i++) TRY(add(r, *out, at[i].value));
    return ERR_OK;
}

/* The first of those that are alike. */
err jinja_filter_unique(jinja_run *r, jinja_value on, const jinja_args *x, jinja_value *out)
{
    const jinja_list *items;
    jinja_value seen;
    jinja_entry *at;

    TRY(jinja_iterate(r, on, &items));
    TRY(read_keys(r, items, x->at[1], jinja_truth(x->at[0]), &at));
    TRY(jinja_make_dict(&r->arena, &seen));
    TRY(open_list(r, JINJA_GENERATOR, out));
    for (size_t i = 0; i < items->n; i++) {
        if (!jinja_hashable(at[i].key))
            return jinja_fail(r, "unhashable type: '%s'", jinja_type_name(at[i].key));
        if (jinja_dict_find(seen.is.dict, at[i].key)) continue;
        TRY(jinja_dict_set(&r->arena, seen.is.dict, at[i].key, jinja_none()));
        TRY(add(r, *out, at[i].value));
    }
    return ERR_OK;
}

static err extreme(jinja_run *r, jinja_value on, const jinja_args *x, bool largest,
                   jinja_value *out)
{
    const jinja_list *items;
    jinja_entry *at;
    size_t best = 0;

    TRY(jinja_iterate(r, on, &items));
    TRY(read_keys(r, items, x->at[1], jinja_truth(x->at[0]), &at));
    for (size_t i = 1; i < items->n; i++) {
        bool better;

        TRY(jinja_relate(r, largest ? '>' : '<', at[i].key, at[best].key, &better));
        if (better) best = i;
    }
    *out = items->n ? at[best].value
                    : jinja_undefined("No aggregated item, sequence was empty.");
    return ERR_OK;
}

err jinja_filter_max(jinja_run *r, jinja_value on, const jinja_args *x, jinja_value *out)
{
    return extreme(r, on, x, true, out);
}

err jinja_filter_min(jinja_run *r, jinja_value on, const jinja_args *x, jinja_value *out)
{
    return extreme(r, on, x, false, out);
}

err jinja_filter_sum(jinja_run *r, jinja_value on, const jinja_args *x, jinja_value *out)
{
    const jinja_value absent = {.type = JINJA_ABSENT};
    const jinja_list *items;
    jinja_value v;

    TRY(jinja_iterate(r, on, &items));
    *out = x->at[1].type == JINJA_ABSENT ? jinja_int(0) : x->at[1];
    for (size_t i = 0; i < items->n; i++) {
        TRY(follow(r, items->at[i], x->at[0], absent, &v));
        TRY(jinja_operate(r, '+', *out, v, out));
    }
    return ERR_OK;
}

/* --- in groups --- */

/* Elements with equal keys, in the order of the keys. */
err jinja_filter_groupby(jinja_run *r, jinja_value on, const jinja_args *x, jinja_value *out)
{
    const bool with_case = jinja_truth(x->at[2]);
    const jinja_list *items;
    jinja_value group, shown;
    jinja_entry *at;

    TRY(jinja_iterate(r, on, &items));
    at = jinja_arena_take(&r->arena, (items->n + 1) * sizeof *at);
    if (!at) return ERR_NOMEM;
    for (size_t i = 0; i < items->n; i++) {
        at[i].value = items->at[i];
        TRY(follow(r, items->at[i], x->at[0], x->at[1], &shown));
        TRY(sort_key(r, shown, with_case, &at[i].key));
    }
    TRY(jinja_sort(r, at, items->n, false));
    TRY(open_list(r, JINJA_LIST_FORM, out));
    for (size_t i = 0; i < items->n; i++) {
        if (!i || !jinja_equal(at[i].key, at[i - 1].key)) {
            jinja_value pair;

            TRY(open_list(r, JINJA_LIST_FORM, &group));
            TRY(follow(r, at[i].value, x->at[0], x->at[1], &shown));
            TRY(jinja_pair(r, shown, group, &pair));
            pair.type = JINJA_GROUP;
            TRY(add(r, *out, pair));
        }
        TRY(add(r, group, at[i].value));
    }
    return ERR_OK;
}

/* Rows of n, the last one filled up. */
err jinja_filter_batch(jinja_run *r, jinja_value on, const jinja_args *x, jinja_value *out)
{
    const jinja_list *items;
    jinja_value row = {.type = JINJA_ABSENT};
    int64_t n;

    TRY(jinja_want_int(r, x->at[0], 0, &n));
    TRY(jinja_iterate(r, on, &items));
    if (n < 1) n = 1;
    TRY(open_list(r, JINJA_GENERATOR, out));
    for (size_t i = 0; i < items->n; i++) {
        if (i % (size_t)n == 0) {
            TRY(open_list(r, JINJA_LIST_FORM, &row));
            TRY(add(r, *out, row));
        }
        TRY(add(r, row, items->at[i]));
    }
    if (x->at[1].type == JINJA_ABSENT || x->at[1].type == JINJA_NONE || !items->n)
        return ERR_OK;
    while (row.is.list->n < (size_t)n) TRY(add(r, row, x->at[1]));
    return ERR_OK;
}

/* n columns, as equal as can be, the longer ones first. */
err jinja_filter_slice(jinja_run *r, jinja_value on, const jinja_args *x, jinja_value *out)
{
    const jinja_list *items;
    jinja_value column;
    size_t at = 0;
    int64_t n;

    TRY(jinja_want_int(r, x->at[0], 0, &n));
    TRY(jinja_iterate(r, on, &items));
    if (n < 1) return jinja_fail(r, "slice needs a number of at least one");
    TRY(open_list(r, JINJA_GENERATOR, out));
    for (int64_t i = 0; i < n; i++) {
        const size_t longer = items->n % (size_t)n;
        const size_t length = items->n / (size_t)n + ((size_t)i < longer);

        TRY(open_list(r, JINJA_LIST_FORM, &column));
        for (size_t k = 0; k < length; k++) TRY(add(r, column, items->at[at++]));
        if (x->at[1].type != JINJA_ABSENT && x->at[1].type != JINJA_NONE && (size_t)i >= longer)
            TRY(add(r, column, x->at[1]));
        TRY(add(r, *out, column));
    }
    return ERR_OK;
}
