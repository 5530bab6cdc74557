/* jinja_filters_text.c - filters that make a text of a text.
 *
 * What is no text becomes one first, as Jinja's soft_str does: undefined is nothing. Each byte
 * that is copied keeps its mark; what a filter puts in between (spaces of an indent, dots of a
 * cut) is the template's, unless it comes out of an argument. Source: jinja2/filters.py. */
#include <ctype.h>
#include <stdio.h>
#include <string.h>

#include "engine/template/jinja_case.h"
#include "engine/template/jinja_state.h"

/* A text that is written piece by piece. */
static err open_text(jinja_run *r, jinja_buffer **out)
{
    *out = jinja_arena_take(&r->arena, sizeof **out);
    return *out ? ERR_OK : ERR_NOMEM;
}

static err change_case(jinja_run *r, jinja_value on, jinja_case_kind kind, jinja_value *out)
{
    jinja_text t;

    TRY(jinja_str(r, on, &t));
    TRY(jinja_step(r, t.n / 16));
    *out = jinja_of_text((jinja_text){0});
    return jinja_case(&r->arena, t, kind, &out->is.text);
}

#define CASE(name, kind)                                                       \
    err jinja_filter_##name(jinja_run *r, jinja_value on, const jinja_args *x, \
                            jinja_value *out)                                  \
    {                                                                          \
        (void)x;                                                               \
        return change_case(r, on, kind, out);                                  \
    }
CASE(capitalize, JINJA_CAPITALIZE)
CASE(lower, JINJA_LOWER)
CASE(title, JINJA_WORDS)
CASE(upper, JINJA_UPPER)
#undef CASE

err jinja_filter_string(jinja_run *r, jinja_value on, const jinja_args *x, jinja_value *out)
{
    jinja_text t;

    (void)x;
    TRY(jinja_str(r, on, &t));
    *out = jinja_of_text(t);
    out->markup = on.type == JINJA_TEXT && on.markup;
    return ERR_OK;
}

err jinja_filter_trim(jinja_run *r, jinja_value on, const jinja_args *x, jinja_value *out)
{
    const bool some = x->at[0].type != JINJA_ABSENT && x->at[0].type != JINJA_NONE;
    jinja_text t, drop;

    TRY(jinja_str(r, on, &t));
    if (some) TRY(jinja_want_text(r, x->at[0], "what to trim", &drop));
    *out = jinja_of_text(jinja_text_strip(t, some ? &drop : NULL, true, true));
    return ERR_OK;
}

/* At most `count` of them, all if it is negative. */
err jinja_filter_replace(jinja_run *r, jinja_value on, const jinja_args *x, jinja_value *out)
{
    jinja_text t, old, new;
    jinja_buffer *b;
    int64_t count;
    size_t from = 0, at;

    TRY(jinja_str(r, on, &t));
    if (x->at[0].type == JINJA_ABSENT || x->at[1].type == JINJA_ABSENT)
        return jinja_fail(r, "replace lacks an argument");
    TRY(jinja_str(r, x->at[0], &old));
    TRY(jinja_str(r, x->at[1], &new));
    TRY(jinja_want_int(r, x->at[2], -1, &count));
    TRY(open_text(r, &b));
    TRY(jinja_step(r, t.n / 128));
    for (at = 0; count; count--) {
        size_t length;

        at = jinja_text_find(t, old, at);
        if (at == SIZE_MAX) break;
        TRY(jinja_step(r, 1));
        TRY(jinja_buffer_add_text(&r->arena, b, jinja_text_cut(t, from, at - from)));
        TRY(jinja_buffer_add_text(&r->arena, b, new));
        from = at += old.n;
        if (old.n) continue;
        if (at == t.n) break; /* nothing stands before and behind each character */
        jinja_char(jinja_text_at(t) + at, t.n - at, &length);
        at += length;
    }
    TRY(jinja_buffer_add_text(&r->arena, b, jinja_text_cut(t, from, t.n - from)));
    *out = jinja_of_text(jinja_buffer_text(b));
    return ERR_OK;
}

/* --- joining --- */

err jinja_filter_join(jinja_run *r, jinja_value on, const jinja_args *x, jinja_value *out)
{
    const bool by = x->at[1].type != JINJA_ABSENT && x->at[1].type != JINJA_NONE;
    const jinja_list *items;
    jinja_text between = {0}, t;
    jinja_buffer *b;

    TRY(jinja_iterate(r, on, &items));
    if (x->at[0].type != JINJA_ABSENT) TRY(jinja_str(r, x->at[0], &between));
    TRY(open_text(r, &b));
    for (size_t i = 0; i < items->n; i++) {
        jinja_value v = items->at[i];

        if (by) TRY(jinja_item(r, v, x->at[1], &v));
        if (i) TRY(jinja_buffer_add_text(&r->arena, b, between));
        TRY(jinja_str(r, v, &t));
        TRY(jinja_step(r, 1 + t.n / 128));
        TRY(jinja_buffer_add_text(&r->arena, b, t));
    }
    *out = jinja_of_text(jinja_buffer_text(b));
    return ERR_OK;
}

/* --- lines --- */

/* The end of a line and of what ends it, as Python's splitlines has them. */
static size_t line_end(jinja_text t, size_t from, size_t *next)
{
    size_t length;

    for (size_t i = from; i < t.n; i += length) {
        const uint32_t c = jinja_char(jinja_text_at(t) + i, t.n - i, &length);

        if (!((c >= 10 && c <= 13) || (c >= 0x1c && c <= 0x1e) || c == 0x85 || c == 0x2028 ||
              c == 0x2029))
            continue;
        *next = i + length;
        if (c == '\r' && *next < t.n && jinja_text_at(t)[*next] == '\n') ++*next;
        return i;
    }
    return *next = t.n;
}

err jinja_method_splitlines(jinja_run *r, jinja_value on, const jinja_args *x, jinja_value *out)
{
    const jinja_text t = on.is.text;
    const bool keep = jinja_truth(x->at[0]);

    TRY(jinja_make_list(&r->arena, JINJA_LIST_FORM, 0, out));
    TRY(jinja_step(r, t.n / 32));
    for (size_t from = 0, next; from < t.n; from = next) {
        const size_t end = line_end(t, from, &next);

        TRY(jinja_list_add(&r->arena, out->is.list,
                           jinja_of_text(jinja_text_cut(t, from, (keep ? next : end) - from))));
    }
    return ERR_OK;
}

/* What each line is moved in by: a number of spaces, or a text. */
static err read_indent(jinja_run *r, jinja_value width, jinja_text *out)
{
    jinja_buffer *b;
    int64_t n;

    if (width.type == JINJA_TEXT) {
        *out = width.is.text;
        return ERR_OK;
    }
    TRY(jinja_want_int(r, width, 4, &n));
    TRY(open_text(r, &b));
    for (; n > 0; n--) {
        TRY(jinja_step(r, 1));
        TRY(jinja_buffer_add(&r->arena, b, " ", 1, true));
    }
    *out = jinja_buffer_text(b);
    return ERR_OK;
}

/* The first line and empty ones are moved only on request. */
err jinja_filter_indent(jinja_run *r, jinja_value on, const jinja_args *x, jinja_value *out)
{
    const bool first = jinja_truth(x->at[1]), blank = jinja_truth(x->at[2]);
    jinja_text t, in;
    jinja_buffer *b;
    size_t from = 0, next;

    TRY(jinja_str(r, on, &t));
    TRY(read_indent(r, x->at[0], &in));
    TRY(open_text(r, &b));
    if (first) TRY(jinja_buffer_add_text(&r->arena, b, in));
    do {
        const size_t end = line_end(t, from, &next);

        TRY(jinja_step(r, 1 + (end - from) / 32));
        if (from && (blank || end > from)) TRY(jinja_buffer_add_text(&r->arena, b, in));
        TRY(jinja_buffer_add_text(&r->arena, b, jinja_text_cut(t, from, end - from)));
        if (end < t.n) TRY(jinja_buffer_add(&r->arena, b, "\n", 1, true));
        if (end < t.n && next == t.n && blank) TRY(jinja_buffer_add_text(&r->arena, b, in));
        from = next;
    } while (from < t.n);
    *out = jinja_of_text(jinja_buffer_text(b));
    return ERR_OK;
}

/* --- the rest --- */

err jinja_filter_escape(jinja_run *r, jinja_value on, const jinja_args *x, jinja_value *out)
{
    static const char marks[] = "&<>\"'";
    static const char *const names[] = {"&amp;", "&lt;", "&gt;", "&#34;", "&#39;"};
    jinja_buffer *b;
    jinja_text t;

    (void)x;
    *out = on;
    if (on.type == JINJA_TEXT && on.markup) return ERR_OK;
    TRY(jinja_str(r, on, &t));
    TRY(open_text(r, &b));
    TRY(jinja_step(r, t.n / 16));
    for (size_t i = 0; i < t.n; i++) {
        const char c = jinja_text_at(t)[i];
        const char *mark = c ? strchr(marks, c) : NULL;
        const char *name = mark ? names[mark - marks] : &jinja_text_at(t)[i];

        TRY(jinja_buffer_add(&r->arena, b, name, mark ? strlen(name) : 1,
                             jinja_text_trusted(t, i)));
    }
    *out = jinja_of_text(jinja_buffer_text(b));
    out->markup = true;
    return ERR_OK;
}

err jinja_filter_safe(jinja_run *r, jinja_value on, const jinja_args *x, jinja_value *out)
{
    TRY(jinja_filter_string(r, on, x, out));
    out->markup = true;
    return ERR_OK;
}

/* Only what a text of URLs may hold; "/" stays. */
err jinja_filter_urlencode(jinja_run *r, jinja_value on, const jinja_args *x, jinja_value *out)
{
    jinja_buffer *b;
    jinja_text t;
    char code[4];

    (void)x;
    TRY(jinja_str(r, on, &t));
    TRY(open_text(r, &b));
    TRY(jinja_step(r, t.n / 16));
    for (size_t i = 0; i < t.n; i++) {
        const unsigned char c = (unsigned char)jinja_text_at(t)[i];
        const bool plain = c < 0x80 && (isalnum(c) || (c && strchr("_.-~/", c)));

        snprintf(code, sizeof code, plain ? "%c" : "%%%02X", c);
        TRY(jinja_buffer_add(&r->arena, b, code, strlen(code), jinja_text_trusted(t, i)));
    }
    *out = jinja_of_text(jinja_buffer_text(b));
    return ERR_OK;
}

static bool is_word(uint32_t c)
{
    return c == '_' || jinja_case_is_letter(c) || jinja_case_is_digit(c);
}

err jinja_filter_wordcount(jinja_run *r, jinja_value on, const jinja_args *x, jinja_value *out)
{
    bool inside = false;
    size_t n = 0, length;
    jinja_text t;

    (void)x;
    TRY(jinja_str(r, on, &t));
    TRY(jinja_step(r, t.n / 16));
    for (size_t i = 0; i < t.n; i += length) {
        const bool word = is_word(jinja_char(jinja_text_at(t) + i, t.n - i, &length));

        n += word && !inside;
        inside = word;
    }
    *out = jinja_int((int64_t)n);
    return ERR_OK;
}

/* Cut at a word's end, unless words may be killed; a little too long is not cut. */
err jinja_filter_truncate(jinja_run *r, jinja_value on, const jinja_args *x, jinja_value *out)
{
    jinja_text t, end, cut;
    int64_t length, leeway;
    size_t dots;

    TRY(jinja_str(r, on, &t));
    TRY(jinja_want_int(r, x->at[0], 255, &length));
    TRY(jinja_text_borrow(&r->arena, "...", 3, true, &end));
    if (x->at[2].type != JINJA_ABSENT) TRY(jinja_str(r, x->at[2], &end));
    TRY(jinja_want_int(r, x->at[3], 5, &leeway));
    dots = jinja_chars(end);
    *out = on = jinja_of_text(t);
    if (length < (int64_t)dots || leeway < 0)
        return jinja_fail(r, "expected length >= %zu, got %lld", dots, (long long)length);
    if ((int64_t)jinja_chars(t) <= length + leeway) return ERR_OK;
    cut = jinja_text_cut(t, 0, jinja_char_offset(t, (size_t)length - dots));
    if (!jinja_truth(x->at[1])) {
        const char *space = memrchr(jinja_text_at(cut), ' ', cut.n);

        if (space) cut.n = (size_t)(space - jinja_text_at(cut));
    }
    *out = jinja_of_text((jinja_text){0});
    return jinja_text_concat(&r->arena, cut, end, &out->is.text);
}

err jinja_filter_center(jinja_run *r, jinja_value on, const jinja_args *x, jinja_value *out)
{
    jinja_value bound[2] = {x->at[0], {.type = JINJA_ABSENT}};
    const jinja_args args = {bound, 1, NULL, 0};
    jinja_text t;

    if (bound[0].type == JINJA_ABSENT) bound[0] = jinja_int(80);
    TRY(jinja_str(r, on, &t));
    return jinja_method_center(r, jinja_of_text(t), &args, out);
}

err jinja_filter_format(jinja_run *r, jinja_value on, const jinja_args *x, jinja_value *out)
{
    jinja_value args;
    jinja_text t;

    TRY(jinja_str(r, on, &t));
    if (x->n_named) {
        const jinja_args named = {NULL, 0, x->named, x->n_named};

        TRY(jinja_function_dict(r, on, &named, &args));
        return jinja_percent(r, t, args, out);
    }
    TRY(jinja_make_list(&r->arena, JINJA_TUPLE, x->n, &args));
    for (size_t i = 0; i < x->n; i++) TRY(jinja_list_add(&r->arena, args.is.list, x->at[i]));
    return jinja_percent(r, t, args, out);
}
