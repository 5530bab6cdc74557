/* jinja_repr.c - values as text, as Python writes them.
 *
 *   print, ~, join   str:  a text as it is, None, True, 1.0, [1, 'a']
 *   inside of lists  repr: a text in quotes, with escapes
 *
 * What is made of numbers and structure is not the template's own text, so it never becomes a
 * control token: a request could have chosen it. */
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/template/jinja_state.h"

err jinja_hint(jinja_run *r, const char **out, const char *format, ...)
{
    char text[200];
    va_list list;

    va_start(list, format);
    vsnprintf(text, sizeof text, format, list);
    va_end(list);
    *out = jinja_arena_copy(&r->arena, text, strlen(text));
    return *out ? ERR_OK : ERR_NOMEM;
}

static err put(jinja_run *r, jinja_buffer *to, const char *text)
{
    return jinja_buffer_add(&r->arena, to, text, strlen(text), false);
}

/* The shortest digits that are this number, with an exponent where Python has one. */
void jinja_real_text(double real, char text[40])
{
    char digits[40];
    int exponent = 0, precision = 0;
    size_t n;

    if (isnan(real) || isinf(real)) {
        strcpy(text, isnan(real) ? "nan" : real < 0 ? "-inf" : "inf");
        return;
    }
    do snprintf(digits, sizeof digits, "%.*e", precision, real);
    while (strtod(digits, NULL) != real && ++precision < 17);
    exponent = atoi(strchr(digits, 'e') + 1);
    if (exponent >= -4 && exponent < 16) {
        snprintf(text, 40, "%.*f", precision > exponent ? precision - exponent : 1, real);
        return;
    }
    n = strcspn(digits, "e");
    snprintf(text, 40, "%.*se%c%02d", (int)n, digits, exponent < 0 ? '-' : '+', abs(exponent));
}

/* --- texts in quotes --- */

/* A character as repr has it: what nobody can see is escaped. */
static err put_char(jinja_run *r, jinja_buffer *to, const char *at, size_t n, char quote)
{
    size_t length;
    const uint32_t c = jinja_char(at, n, &length);
    char text[16];

    if (c == (uint32_t)quote || c == '\\')
        snprintf(text, sizeof text, "\\%c", (char)c);
    else if (c == '\n' || c == '\r' || c == '\t')
        snprintf(text, sizeof text, "\\%c", c == '\n' ? 'n' : c == '\r' ? 'r' : 't');
    else if (c < ' ' || (c >= 0x7f && c <= 0xa0) || c == 0xad)
        snprintf(text, sizeof text, "\\x%02x", (unsigned)c);
    else if (c - 0xd800 < 0x800 || (c >= 0x2000 && c <= 0x200f) ||
             (c >= 0x2028 && c <= 0x202f) || (c >= 0x205f && c <= 0x206f) || c == 0x3000 ||
             c == 0xfeff)
        snprintf(text, sizeof text, "\\u%04x", (unsigned)c);
    else
        return jinja_buffer_add(&r->arena, to, at, length, false);
    return put(r, to, text);
}

static err put_text(jinja_run *r, jinja_buffer *to, jinja_text t)
{
    const char *at = jinja_text_at(t);
    const bool single = memchr(at, '\'', t.n) != NULL;
    const char quote = single && !memchr(at, '"', t.n) ? '"' : '\'';
    size_t length;

    TRY(jinja_step(r, t.n / 32));
    TRY(jinja_buffer_add(&r->arena, to, &quote, 1, false));
    for (size_t i = 0; i < t.n; i += length) {
        jinja_char(at + i, t.n - i, &length);
        TRY(put_char(r, to, at + i, t.n - i, quote));
    }
    return jinja_buffer_add(&r->arena, to, &quote, 1, false);
}

/* --- lists and dicts --- */

static err put_items(jinja_run *r, jinja_buffer *to, const jinja_list *l)
{
    for (size_t i = 0; i < l->n; i++) {
        if (i) TRY(put(r, to, ", "));
        TRY(jinja_write_repr(r, l->at[i], to));
    }
    return ERR_OK;
}

static err put_list(jinja_run *r, jinja_buffer *to, const jinja_list *l)
{
    static const char *const open[] = {
        "[", "(", "", "dict_keys([", "dict_values([", "dict_items([", ""};
    static const char *const close[] = {"]", ")", "", "])", "])", "])", ""};

    if (l->form == JINJA_GENERATOR) return put(r, to, "<generator object>");
    if (l->form == JINJA_RANGE) {
        char text[96];
        const long long from = l->n ? (long long)l->at[0].is.number : 0;
        const long long step = l->n > 1 ? (long long)l->at[1].is.number - from : 1;
        const long long end = l->n ? (long long)l->at[l->n - 1].is.number + step : 0;

        snprintf(text, sizeof text, step == 1 ? "range(%lld, %lld)" : "range(%lld, %lld, %lld)",
                 from, end, step);
        return put(r, to, text);
    }
    TRY(put(r, to, open[l->form]));
    TRY(put_items(r, to, l));
    if (l->form == JINJA_TUPLE && l->n == 1) TRY(put(r, to, ","));
    return put(r, to, close[l->form]);
}

static err put_dict(jinja_run *r, jinja_buffer *to, const jinja_dict *d)
{
    TRY(put(r, to, "{"));
    for (size_t i = 0; i < d->n; i++) {
        if (i) TRY(put(r, to, ", "));
        TRY(jinja_write_repr(r, d->at[i].key, to));
        TRY(put(r, to, ": "));
        TRY(jinja_write_repr(r, d->at[i].value, to));
    }
    return put(r, to, "}");
}

static err put_other(jinja_run *r, jinja_buffer *to, jinja_value v)
{
    if (v.type == JINJA_NAMESPACE) {
        TRY(put(r, to, "<Namespace "));
        TRY(put_dict(r, to, v.is.dict));
        return put(r, to, ">");
    }
    if (v.type == JINJA_GROUP) {
        TRY(put(r, to, "("));
        TRY(put_items(r, to, v.is.list));
        return put(r, to, ")");
    }
    TRY(put(r, to, "<"));
    TRY(put(r, to, jinja_type_name(v)));
    return put(r, to, ">");
}

static err put_plain(jinja_run *r, jinja_buffer *to, jinja_value v)
{
    char text[40];

    switch (v.type) {
    case JINJA_UNDEFINED:
        return put(r, to, "Undefined");
    case JINJA_BOOL:
        return put(r, to, v.is.truth ? "True" : "False");
    case JINJA_INT:
        snprintf(text, sizeof text, "%lld", (long long)v.is.number);
        return put(r, to, text);
    case JINJA_FLOAT:
        jinja_real_text(v.is.real, text);
        return put(r, to, text);
    default:
        return put(r, to, "None");
    }
}

err jinja_write_repr(jinja_run *r, jinja_value v, jinja_buffer *to)
{
    if (to->n > r->most_output)
        return jinja_fail(r, "the template writes more than %zu bytes", r->most_output);
    if (v.type <= JINJA_FLOAT) return put_plain(r, to, v);
    TRY(jinja_step(r, 1));
    TRY(jinja_enter(r));
    if (v.type == JINJA_TEXT)
        TRY(put_text(r, to, v.is.text));
    else if (v.type == JINJA_LIST)
        TRY(put_list(r, to, v.is.list));
    else if (v.type == JINJA_DICT)
        TRY(put_dict(r, to, v.is.dict));
    else
        TRY(put_other(r, to, v));
    r->depth--;
    return ERR_OK;
}

/* A text is itself; nothing is written for what is not there. */
err jinja_str(jinja_run *r, jinja_value v, jinja_text *out)
{
    jinja_buffer *b;

    if (v.type == JINJA_TEXT) {
        *out = v.is.text;
        return ERR_OK;
    }
    *out = (jinja_text){0};
    if (v.type == JINJA_UNDEFINED) return ERR_OK;
    b = jinja_arena_take(&r->arena, sizeof *b);
    if (!b) return ERR_NOMEM;
    TRY(jinja_write_repr(r, v, b));
    *out = jinja_buffer_text(b);
    return ERR_OK;
}
