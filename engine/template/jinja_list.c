/* jinja_list.c - going over values, and lists made of them.
 *
 * Whatever can be gone over becomes a list first: a text its characters, a dict its keys. So a
 * loop knows how long it is and what comes next, as loop.last and loop.nextitem ask. */
#include <string.h>

#include "engine/template/jinja_state.h"

err jinja_pair(jinja_run *r, jinja_value a, jinja_value b, jinja_value *out)
{
    TRY(jinja_make_list(&r->arena, JINJA_TUPLE, 2, out));
    TRY(jinja_list_add(&r->arena, out->is.list, a));
    return jinja_list_add(&r->arena, out->is.list, b);
}

err jinja_views(jinja_run *r, const jinja_dict *d, jinja_form form, jinja_value *out)
{
    TRY(jinja_step(r, d->n));
    TRY(jinja_make_list(&r->arena, form, d->n, out));
    for (size_t i = 0; i < d->n; i++) {
        jinja_value v = form == JINJA_KEYS ? d->at[i].key : d->at[i].value;

        if (form == JINJA_ITEMS) TRY(jinja_pair(r, d->at[i].key, d->at[i].value, &v));
        TRY(jinja_list_add(&r->arena, out->is.list, v));
    }
    return ERR_OK;
}

static err iterate_text(jinja_run *r, jinja_text t, const jinja_list **out)
{
    size_t length;
    jinja_value list;

    TRY(jinja_step(r, t.n));
    TRY(jinja_make_list(&r->arena, JINJA_LIST_FORM, 0, &list));
    for (size_t i = 0; i < t.n; i += length) {
        jinja_char(jinja_text_at(t) + i, t.n - i, &length);
        TRY(jinja_list_add(&r->arena, list.is.list,
                           jinja_of_text(jinja_text_cut(t, i, length))));
    }
    *out = list.is.list;
    return ERR_OK;
}

err jinja_iterate(jinja_run *r, jinja_value v, const jinja_list **out)
{
    static const jinja_list empty;
    jinja_value keys;

    switch (v.type) {
    case JINJA_UNDEFINED:
        *out = &empty;
        return ERR_OK;
    case JINJA_LIST:
    case JINJA_GROUP:
        *out = v.is.list;
        return ERR_OK;
    case JINJA_TEXT:
        return iterate_text(r, v.is.text, out);
    case JINJA_DICT:
        TRY(jinja_views(r, v.is.dict, JINJA_KEYS, &keys));
        *out = keys.is.list;
        return ERR_OK;
    default:
        return jinja_fail(r, "'%s' object is not iterable", jinja_type_name(v));
    }
}

err jinja_length(jinja_run *r, jinja_value v, size_t *out)
{
    const bool list = v.type == JINJA_GROUP || v.type == JINJA_LIST;

    if (v.type == JINJA_UNDEFINED)
        *out = 0;
    else if (v.type == JINJA_TEXT) {
        *out = jinja_chars(v.is.text);
        return jinja_step(r, v.is.text.n / 128);
    } else if (list && (v.type == JINJA_GROUP || v.is.list->form != JINJA_GENERATOR))
        *out = v.is.list->n;
    else if (v.type == JINJA_DICT)
        *out = v.is.dict->n;
    else
        return jinja_fail(r, "object of type '%s' has no len()", jinja_type_name(v));
    return ERR_OK;
}

/* --- sorting: merged from runs of one, so equal keys keep their order --- */

static err in_order(jinja_run *r, const jinja_entry *a, const jinja_entry *b, bool reverse,
                    bool *out)
{
    int order = 0;

    if (!jinja_compare(a->key, b->key, &order))
        return jinja_fail(r, "'<' not supported between instances of '%s' and '%s'",
                          jinja_type_name(b->key), jinja_type_name(a->key));
    *out = reverse ? order >= 0 : order <= 0;
    return jinja_step(r, 1);
}

static err merge(jinja_run *r, jinja_entry *at, size_t middle, size_t n, bool reverse,
                 jinja_entry *room)
{
    size_t a = 0, b = middle, to = 0;
    bool first = false;

    while (a < middle && b < n) {
        TRY(in_order(r, &at[a], &at[b], reverse, &first));
        room[to++] = first ? at[a++] : at[b++];
    }
    while (a < middle) room[to++] = at[a++];
    memcpy(at, room, to * sizeof *at);
    return ERR_OK;
}

err jinja_sort(jinja_run *r, jinja_entry *at, size_t n, bool reverse)
{
    jinja_entry *room = n ? jinja_arena_take(&r->arena, n * sizeof *room) : NULL;

    if (!room) return n ? ERR_NOMEM : ERR_OK;
    for (size_t run = 1; run < n; run *= 2)
        for (size_t i = 0; i + run < n; i += 2 * run)
            TRY(merge(r, at + i, run, n - i < 2 * run ? n - i : 2 * run, reverse, room));
    return ERR_OK;
}
