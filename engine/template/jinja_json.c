/* jinja_json.c - the filter tojson, as transformers sets it: Python's json.dumps, which has no
 * bounds on what is written but Jinja's own escapes of HTML left out.
 *
 *   indent None   {"a": [1, 2]}      indent 2   {\n  "a": [\n    1,\n    2\n  ]\n}
 *
 * All of it counts as a request's text: it is what a request said, in quotes. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "engine/template/jinja_state.h"

typedef struct writer {
    jinja_run *r;
    jinja_buffer *to;
    bool ascii, sorted;
    bool lines; /* each element on a line of its own */
    jinja_text indent, between, colon;
    int level;
} writer;

static err put(writer *w, const char *text, size_t n)
{
    if (w->to->n > w->r->most_output)
        return jinja_fail(w->r, "the template writes more than %zu bytes", w->r->most_output);
    return jinja_buffer_add(&w->r->arena, w->to, text, n, false);
}

static err put_string(writer *w, const char *text)
{
    return put(w, text, strlen(text));
}

/* --- texts --- */

/* One that JSON escapes, or only ASCII does; false: it stands as it is. */
static bool escape(uint32_t c, bool ascii, char text[16])
{
    static const char plain[] = "\"\\\n\r\t\b\f", letters[] = "\"\\nrtbf";
    const char *found = c && c < 0x80 ? strchr(plain, (int)c) : NULL;

    if (found)
        snprintf(text, 16, "\\%c", letters[found - plain]);
    else if (c < 0x20 || (ascii && c >= 0x7f && c < 0x10000 && c != 0x7f))
        snprintf(text, 16, "\\u%04x", (unsigned)c);
    else if (ascii && c >= 0x10000)
        snprintf(text, 16, "\\u%04x\\u%04x", 0xd800u + ((c - 0x10000) >> 10 & 0x3ff),
                 0xdc00u + ((c - 0x10000) & 0x3ff));
    else
        return false;
    return true;
}

static err put_text(writer *w, jinja_text t)
{
    const char *at = jinja_text_at(t);
    size_t length, from = 0;
    char text[16];

    TRY(jinja_step(w->r, 1 + t.n / 32));
    TRY(put(w, "\"", 1));
    for (size_t i = 0; i < t.n; i += length) {
        if (!escape(jinja_char(at + i, t.n - i, &length), w->ascii, text)) continue;
        TRY(put(w, at + from, i - from));
        TRY(put_string(w, text));
        from = i + length;
    }
    TRY(put(w, at + from, t.n - from));
    return put(w, "\"", 1);
}

/* --- lists and dicts --- */

static err put_value(writer *w, jinja_value v);

static err put_line(writer *w)
{
    if (!w->lines) return ERR_OK;
    TRY(put(w, "\n", 1));
    for (int i = 0; i < w->level; i++) TRY(put(w, jinja_text_at(w->indent), w->indent.n));
    return ERR_OK;
}

static err put_between(writer *w, bool first)
{
    if (!first) TRY(put(w, jinja_text_at(w->between), w->between.n));
    return put_line(w);
}

static err put_list(writer *w, const jinja_list *l)
{
    if (!l->n) return put(w, "[]", 2);
    TRY(put(w, "[", 1));
    w->level++;
    for (size_t i = 0; i < l->n; i++) {
        TRY(put_between(w, i == 0));
        TRY(put_value(w, l->at[i]));
    }
    w->level--;
    TRY(put_line(w));
    return put(w, "]", 1);
}

/* Keys that are no texts become some. */
static err put_key(writer *w, jinja_value key)
{
    if (key.type == JINJA_TEXT) return put_text(w, key.is.text);
    if (key.type != JINJA_NONE && !jinja_is_number(key))
        return jinja_fail(w->r, "keys must be str, int, float, bool or None, not %s",
                          jinja_type_name(key));
    TRY(put(w, "\"", 1));
    TRY(put_value(w, key));
    return put(w, "\"", 1);
}

static err put_dict(writer *w, const jinja_dict *d)
{
    jinja_entry *at = d->at;

    if (!d->n) return put(w, "{}", 2);
    if (w->sorted) {
        at = jinja_arena_take(&w->r->arena, d->n * sizeof *at);
        if (!at) return ERR_NOMEM;
        memcpy(at, d->at, d->n * sizeof *at);
        TRY(jinja_sort(w->r, at, d->n, false));
    }
    TRY(put(w, "{", 1));
    w->level++;
    for (size_t i = 0; i < d->n; i++) {
        TRY(put_between(w, i == 0));
        TRY(put_key(w, at[i].key));
        TRY(put(w, jinja_text_at(w->colon), w->colon.n));
        TRY(put_value(w, at[i].value));
    }
    w->level--;
    TRY(put_line(w));
    return put(w, "}", 1);
}

static err put_number(writer *w, jinja_value v)
{
    char text[40];

    if (v.type == JINJA_BOOL) return put_string(w, v.is.truth ? "true" : "false");
    if (v.type == JINJA_INT)
        snprintf(text, sizeof text, "%lld", (long long)v.is.number);
    else if (isfinite(v.is.real))
        jinja_real_text(v.is.real, text);
    else
        strcpy(text, isnan(v.is.real) ? "NaN" : v.is.real < 0 ? "-Infinity" : "Infinity");
    return put_string(w, text);
}

static err put_value(writer *w, jinja_value v)
{
    const bool list = v.type == JINJA_GROUP ||
                      (v.type == JINJA_LIST && v.is.list->form <= JINJA_TUPLE);

    if (v.type == JINJA_NONE) return put(w, "null", 4);
    if (jinja_is_number(v)) return put_number(w, v);
    if (v.type == JINJA_TEXT) return put_text(w, v.is.text);
    if (!list && v.type != JINJA_DICT)
        return jinja_fail(w->r, "Object of type %s is not JSON serializable",
                          jinja_type_name(v));
    TRY(jinja_step(w->r, 1));
    TRY(jinja_enter(w->r));
    TRY(list ? put_list(w, v.is.list) : put_dict(w, v.is.dict));
    w->r->depth--;
    return ERR_OK;
}

/* --- options --- */

/* A number of spaces, or a text; a negative number is none, but still lines. */
static err read_indent(writer *w, jinja_value v)
{
    jinja_buffer *b = jinja_arena_take(&w->r->arena, sizeof *b);
    int64_t n;

    if (!b) return ERR_NOMEM;
    w->lines = v.type != JINJA_ABSENT && v.type != JINJA_NONE;
    if (v.type == JINJA_TEXT) {
        w->indent = v.is.text;
        return ERR_OK;
    }
    TRY(jinja_want_int(w->r, v, 0, &n));
    if (n > 256) return jinja_fail(w->r, "tojson is not indented by more than 256");
    for (; n > 0; n--) TRY(jinja_buffer_add(&w->r->arena, b, " ", 1, false));
    w->indent = jinja_buffer_text(b);
    return ERR_OK;
}

static err read_separators(writer *w, jinja_value v)
{
    const jinja_list *pair;

    TRY(jinja_text_borrow(&w->r->arena, w->lines ? "," : ", ", w->lines ? 1 : 2, false,
                          &w->between));
    TRY(jinja_text_borrow(&w->r->arena, ": ", 2, false, &w->colon));
    if (v.type == JINJA_ABSENT || v.type == JINJA_NONE) return ERR_OK;
    TRY(jinja_iterate(w->r, v, &pair));
    if (pair->n != 2) return jinja_fail(w->r, "separators are two strings");
    TRY(jinja_want_text(w->r, pair->at[0], "a separator", &w->between));
    return jinja_want_text(w->r, pair->at[1], "a separator", &w->colon);
}

err jinja_filter_tojson(jinja_run *r, jinja_value on, const jinja_args *x, jinja_value *out)
{
    writer w = {.r = r, .ascii = jinja_truth(x->at[0]), .sorted = jinja_truth(x->at[3])};

    w.to = jinja_arena_take(&r->arena, sizeof *w.to);
    if (!w.to) return ERR_NOMEM;
    TRY(read_indent(&w, x->at[1]));
    TRY(read_separators(&w, x->at[2]));
    TRY(put_value(&w, on));
    *out = jinja_of_text(jinja_buffer_text(w.to));
    return ERR_OK;
}
