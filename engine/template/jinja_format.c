/* jinja_format.c - "%s of %d" % values, and "{} of {}".format(values).
 *
 *   %-5.2f  flags, width, precision, kind      {0:>8.2f}  what, how: fill, side, width ...
 *
 * Both become a field, which is written by one function for numbers and one for texts. What
 * stands between the fields keeps its marks, as do texts that are put in; widths and precisions
 * have bounds, since a format may come out of a request. */
#include <stdio.h>
#include <string.h>

#include "engine/template/jinja_state.h"

enum { MOST_WIDTH = 10000, MOST_PRECISION = 100 };

/* One field: how a value is written. */
typedef struct field {
    jinja_text fill; /* one character; empty: a space */
    char side;       /* '<' '>' '^' or '=' */
    char sign;       /* '+', ' ' or 0 */
    bool alternative, zero, comma;
    int64_t width, precision; /* -1: none */
    char kind;                /* 0: none given */
} field;

typedef struct formatter {
    jinja_run *r;
    jinja_buffer *out;
    jinja_text rest; /* of the format */
    const jinja_args *x;
    size_t next; /* argument */
} formatter;

static err put(formatter *f, const char *text, size_t n)
{
    return jinja_buffer_add(&f->r->arena, f->out, text, n, false);
}

static char peek(const formatter *f)
{
    return f->rest.n ? *jinja_text_at(f->rest) : '\0';
}

static void skip(formatter *f, size_t n)
{
    f->rest = jinja_text_cut(f->rest, n, f->rest.n - n);
}

/* Digits, or -1 where there are none. */
static err read_count(formatter *f, int64_t most, int64_t *out)
{
    *out = -1;
    for (; peek(f) >= '0' && peek(f) <= '9'; skip(f, 1)) {
        *out = (*out < 0 ? 0 : *out) * 10 + (peek(f) - '0');
        if (*out > most) return jinja_fail(f->r, "a width or precision is too large");
    }
    return ERR_OK;
}

/* --- a field's text --- */

/* A number by C's own printf, which has Python's digits. */
static err print_number(formatter *f, const field *x, jinja_value v, char text[512])
{
    const char kind = x->kind ? x->kind : v.type == JINJA_FLOAT ? 'g' : 'd';
    const int precision = x->precision < 0 ? (kind == 'd' ? 1 : 6) : (int)x->precision;
    char how[16];

    if (strchr("diuxXo", kind)) {
        const long long n = (long long)jinja_as_double(v);
        const long long whole = v.type == JINJA_INT ? (long long)v.is.number : n;

        snprintf(how, sizeof how, "%%%s.*ll%c", x->alternative ? "#" : "",
                 kind == 'i' || kind == 'u' ? 'd' : kind);
        snprintf(text, 512, how,
                 precision < 1    ? 1
                 : precision == 6 ? 1
                                  : precision,
                 kind == 'd' || kind == 'i' || kind == 'u' ? whole
                 : whole < 0                               ? -whole
                                                           : whole);
        return ERR_OK;
    }
    if (kind == 'g' && !x->kind) {
        jinja_real_text(v.is.real, text);
        return ERR_OK;
    }
    if (!strchr("eEfFgG%", kind))
        return jinja_fail(f->r, "unsupported format character '%c'", kind);
    snprintf(how, sizeof how, "%%%s.*%c", x->alternative ? "#" : "", kind == '%' ? 'f' : kind);
    snprintf(text, 512, how, precision, jinja_as_double(v) * (kind == '%' ? 100 : 1));
    if (kind == '%') strcat(text, "%");
    return ERR_OK;
}

/* 1234567.5 -> 1,234,567.5 */
static void add_commas(char text[512])
{
    const size_t from = *text == '-' || *text == '+' || *text == ' ';
    size_t digits = strspn(text + from, "0123456789"), n = strlen(text);

    for (size_t i = digits; i > 3 && n < 510; i -= 3, n++) {
        memmove(text + from + i - 2, text + from + i - 3, n - from - (i - 3) + 1);
        text[from + i - 3] = ',';
    }
}

/* With its sign in front. */
static void add_sign(const field *x, char text[512])
{
    if (!x->sign || *text == '-' || strlen(text) > 500) return;
    memmove(text + 1, text, strlen(text) + 1);
    *text = x->sign;
}

/* Filled up to the width. */
static err put_padded(formatter *f, const field *x, jinja_text t, bool number)
{
    const int64_t n = (int64_t)jinja_chars(t), missing = x->width > n ? x->width - n : 0;
    const char side = x->side ? x->side : number ? '>' : '<';
    const size_t sign = side == '=' && t.n && strchr("+- ", *jinja_text_at(t)) ? 1 : 0;
    int64_t left = side == '>' || side == '=' ? missing : side == '^' ? missing / 2 : 0;

    TRY(jinja_step(f->r, (size_t)missing));
    TRY(jinja_buffer_add_text(&f->r->arena, f->out, jinja_text_cut(t, 0, sign)));
    for (int64_t i = 0; i < missing; i++) {
        if (i == left)
            TRY(jinja_buffer_add_text(&f->r->arena, f->out,
                                      jinja_text_cut(t, sign, t.n - sign)));
        if (x->fill.n)
            TRY(jinja_buffer_add_text(&f->r->arena, f->out, x->fill));
        else
            TRY(put(f, x->zero ? "0" : " ", 1));
    }
    if (left == missing)
        return jinja_buffer_add_text(&f->r->arena, f->out, jinja_text_cut(t, sign, t.n - sign));
    return ERR_OK;
}

static err put_number(formatter *f, const field *x, jinja_value v)
{
    field how = *x;
    char text[512];
    jinja_buffer b = {.bytes = text};

    TRY(print_number(f, x, v, text));
    if (x->comma) add_commas(text);
    add_sign(x, text);
    b.n = strlen(text);
    if (x->zero && !x->side) how.side = '=';
    return put_padded(f, &how, jinja_buffer_text(&b), true);
}

static err put_text(formatter *f, const field *x, jinja_text t)
{
    if (x->precision >= 0) t.n = jinja_char_offset(t, (size_t)x->precision);
    return put_padded(f, x, t, false);
}

/* --- % --- */

/* The next value: of a tuple, the one value, or by its name in a dict. */
static err next_value(formatter *f, jinja_value *out)
{
    if (f->next >= f->x->n) return jinja_fail(f->r, "not enough arguments for format string");
    *out = f->x->at[f->next++];
    return ERR_OK;
}

/* %(name)s */
static err named_value(formatter *f, jinja_value *out)
{
    const char *at = jinja_text_at(f->rest), *end = memchr(at, ')', f->rest.n);
    const jinja_value dict = f->x->n == 1 ? f->x->at[0] : jinja_none();
    const jinja_value *found;
    size_t n;

    if (!end) return jinja_fail(f->r, "incomplete format key");
    if (dict.type != JINJA_DICT) return jinja_fail(f->r, "format requires a mapping");
    n = (size_t)(end - at) - 1;
    found = jinja_dict_find(dict.is.dict, jinja_of_text(jinja_text_cut(f->rest, 1, n)));
    if (!found) return jinja_fail(f->r, "format has no key '%.*s'", (int)n, at + 1);
    skip(f, n + 2);
    *out = *found;
    return ERR_OK;
}

static err read_percent(formatter *f, field *x)
{
    jinja_value v;

    for (; peek(f) && strchr("-+ #0", peek(f)); skip(f, 1)) {
        if (peek(f) == '-') x->side = '<';
        if (peek(f) == '+' || (peek(f) == ' ' && !x->sign)) x->sign = peek(f);
        if (peek(f) == '#') x->alternative = true;
        if (peek(f) == '0') x->zero = true;
    }
    if (peek(f) == '*') {
        skip(f, 1);
        TRY(next_value(f, &v));
        TRY(jinja_want_int(f->r, v, 0, &x->width));
        if (x->width > MOST_WIDTH) return jinja_fail(f->r, "a width is too large");
    } else
        TRY(read_count(f, MOST_WIDTH, &x->width));
    if (peek(f) == '.') {
        skip(f, 1);
        TRY(read_count(f, MOST_PRECISION, &x->precision));
        if (x->precision < 0) x->precision = 0;
    }
    if (!peek(f)) return jinja_fail(f->r, "incomplete format");
    x->kind = peek(f);
    skip(f, 1);
    return ERR_OK;
}

static err put_percent(formatter *f, bool has_value, jinja_value v)
{
    field x = {.width = -1, .precision = -1};
    jinja_buffer *b = jinja_arena_take(&f->r->arena, sizeof *b);
    jinja_text t;

    if (!b) return ERR_NOMEM;
    TRY(read_percent(f, &x));
    if (x.kind == '%') return put(f, "%", 1);
    if (!has_value) TRY(next_value(f, &v));
    if (x.side != '<') x.side = x.zero ? 0 : '>';
    if (x.kind == 's') {
        x.zero = false;
        TRY(jinja_str(f->r, v, &t));
        return put_text(f, &x, t);
    }
    if (x.kind == 'r' || x.kind == 'a') {
        TRY(jinja_write_repr(f->r, v, b));
        return put_text(f, &x, jinja_buffer_text(b));
    }
    if (!jinja_is_number(v))
        return jinja_fail(f->r, "%%%c format: a real number is required, not %s", x.kind,
                          jinja_type_name(v));
    return put_number(f, &x, v);
}

static err open_formatter(jinja_run *r, jinja_text format, const jinja_args *x, formatter *f)
{
    *f = (formatter){r, jinja_arena_take(&r->arena, sizeof *f->out), format, x, 0};
    return f->out ? ERR_OK : ERR_NOMEM;
}

/* Text up to one of the marks. */
static err copy_to(formatter *f, const char *marks)
{
    size_t n = 0;

    while (n < f->rest.n &&
           !(jinja_text_at(f->rest)[n] && strchr(marks, jinja_text_at(f->rest)[n])))
        n++;
    TRY(jinja_step(f->r, 1 + n / 64));
    TRY(jinja_buffer_add_text(&f->r->arena, f->out, jinja_text_cut(f->rest, 0, n)));
    skip(f, n);
    return ERR_OK;
}

err jinja_percent(jinja_run *r, jinja_text format, jinja_value args, jinja_value *out)
{
    const bool tuple = args.type == JINJA_LIST && args.is.list->form == JINJA_TUPLE;
    const jinja_args x = {tuple ? args.is.list->at : &args, tuple ? args.is.list->n : 1, NULL,
                          0};
    formatter f;

    TRY(open_formatter(r, format, &x, &f));
    for (;;) {
        jinja_value v = jinja_none();
        bool named;

        TRY(copy_to(&f, "%"));
        if (!f.rest.n) break;
        skip(&f, 1);
        named = peek(&f) == '(';
        if (named) {
            TRY(named_value(&f, &v));
            f.next = x.n;
        }
        TRY(put_percent(&f, named, v));
    }
    if (f.next < x.n && args.type != JINJA_DICT)
        return jinja_fail(r, "not all arguments converted during string formatting");
    *out = jinja_of_text(jinja_buffer_text(f.out));
    return ERR_OK;
}

/* --- {} --- */

/* [[fill]side][sign][#][0][width][,][.precision][kind] */
static err read_spec(formatter *f, field *x)
{
    size_t length = 0;

    if (f->rest.n) jinja_char(jinja_text_at(f->rest), f->rest.n, &length);
    if (length && length < f->rest.n && strchr("<>^=", jinja_text_at(f->rest)[length])) {
        x->fill = jinja_text_cut(f->rest, 0, length);
        skip(f, length);
    }
    if (peek(f) && strchr("<>^=", peek(f))) x->side = peek(f);
    if (x->side) skip(f, 1);
    if (peek(f) && strchr("+- ", peek(f))) {
        if (peek(f) != '-') x->sign = peek(f);
        skip(f, 1);
    }
    if (peek(f) == '#') x->alternative = true;
    if (peek(f) == '#') skip(f, 1);
    x->zero = peek(f) == '0';
    TRY(read_count(f, MOST_WIDTH, &x->width));
    x->comma = peek(f) == ',';
    if (x->comma) skip(f, 1);
    if (peek(f) == '.') {
        skip(f, 1);
        TRY(read_count(f, MOST_PRECISION, &x->precision));
    }
    if (peek(f) && peek(f) != '}') {
        x->kind = peek(f);
        skip(f, 1);
    }
    return peek(f) == '}' ? ERR_OK : jinja_fail(f->r, "a format is not valid");
}

/* The argument by number, by name, or the next. */
static err read_argument(formatter *f, jinja_value *out)
{
    size_t n = 0, number = 0;
    bool digits = true;
    jinja_text name;

    while (n < f->rest.n && !strchr("}:!.[", jinja_text_at(f->rest)[n])) n++;
    name = jinja_text_cut(f->rest, 0, n);
    skip(f, n);
    if (!n) return next_value(f, out);
    for (size_t i = 0; i < n && i < 6; i++) {
        const char c = jinja_text_at(name)[i];

        digits = digits && c >= '0' && c <= '9';
        number = number * 10 + (size_t)(c - '0');
    }
    for (size_t i = 0; i < f->x->n_named; i++)
        if (jinja_text_same(f->x->named[i].name, name)) {
            *out = f->x->named[i].value;
            return ERR_OK;
        }
    if (!digits || number >= f->x->n)
        return jinja_fail(f->r, "format has no argument '%.*s'", (int)n, jinja_text_at(name));
    *out = f->x->at[number];
    return ERR_OK;
}

/* .name and [index] behind it. */
static err read_parts(formatter *f, jinja_value *v)
{
    while (peek(f) == '.' || peek(f) == '[') {
        const bool index = peek(f) == '[';
        size_t n = 1;
        jinja_value key;

        while (n < f->rest.n && !strchr(index ? "]" : "}:!.[", jinja_text_at(f->rest)[n])) n++;
        key = jinja_of_text(jinja_text_cut(f->rest, 1, n - 1));
        skip(f, n + (index && n < f->rest.n));
        if (index) {
            const jinja_native *to_int = jinja_native_filter("int");
            jinja_value number;

            TRY(jinja_native_call(f->r, to_int, key, &(jinja_args){&v[0], 0, NULL, 0},
                                  &number));
            if (v->type == JINJA_LIST) key = number;
        }
        TRY(index ? jinja_item(f->r, *v, key, v) : jinja_attribute(f->r, *v, key, v));
    }
    return ERR_OK;
}

static err put_field(formatter *f)
{
    field x = {.width = -1, .precision = -1};
    jinja_buffer *b = jinja_arena_take(&f->r->arena, sizeof *b);
    jinja_value v;
    jinja_text t;
    bool repr;

    if (!b) return ERR_NOMEM;
    TRY(read_argument(f, &v));
    TRY(read_parts(f, &v));
    repr = peek(f) == '!' && f->rest.n > 1 && jinja_text_at(f->rest)[1] == 'r';
    if (peek(f) == '!') skip(f, f->rest.n > 1 ? 2 : 1);
    if (peek(f) == ':') {
        skip(f, 1);
        TRY(read_spec(f, &x));
    }
    if (peek(f) != '}') return jinja_fail(f->r, "expected '}' before end of string");
    skip(f, 1);
    if (jinja_is_number(v) && v.type != JINJA_BOOL && !repr) return put_number(f, &x, v);
    if (repr) TRY(jinja_write_repr(f->r, v, b));
    t = jinja_buffer_text(b);
    if (!repr) TRY(jinja_str(f->r, v, &t));
    return put_text(f, &x, t);
}

err jinja_format(jinja_run *r, jinja_text format, const jinja_args *x, jinja_value *out)
{
    formatter f;

    TRY(open_formatter(r, format, x, &f));
    for (;;) {
        char c;

        TRY(copy_to(&f, "{}"));
        if (!f.rest.n) break;
        c = peek(&f);
        skip(&f, 1);
        if (peek(&f) == c) {
            TRY(jinja_buffer_add_text(&r->arena, f.out, jinja_text_cut(f.rest, 0, 1)));
            skip(&f, 1);
        } else if (c == '}')
            return jinja_fail(r, "Single '}' encountered in format string");
        else
            TRY(put_field(&f));
    }
    *out = jinja_of_text(jinja_buffer_text(f.out));
    return ERR_OK;
}
