/* jinja_operators.c - arithmetic and comparisons, Python's.
 *
 *   bool, int       whole, of 64 bits: what leaves them is an error, where Python would go on
 *   a float in it   real
 *   text, list      + joins, * repeats, % formats
 *   anything else   an error that names both types
 *
 * Division rounds down and a remainder has the divisor's sign, unlike C's. */
#include <math.h>
#include <string.h>

#include "engine/template/jinja_state.h"

static err refuse(jinja_run *r, const char *op, jinja_value a, jinja_value b)
{
    if (a.type == JINJA_UNDEFINED) return jinja_fail(r, "%s", a.is.hint);
    if (b.type == JINJA_UNDEFINED) return jinja_fail(r, "%s", b.is.hint);
    return jinja_fail(r, "unsupported operand type(s) for %s: '%s' and '%s'", op,
                      jinja_type_name(a), jinja_type_name(b));
}

static err too_large(jinja_run *r)
{
    return jinja_fail(r, "a number is too large");
}

/* --- whole numbers --- */

/* Rounded down, and a remainder of the divisor's sign. */
static err divide_ints(jinja_run *r, bool remainder, int64_t a, int64_t b, int64_t *out)
{
    int64_t q, m;

    if (b == 0) return jinja_fail(r, "integer division or modulo by zero");
    if (b == -1) { /* the one quotient that may be too large */
        if (remainder) return *out = 0, ERR_OK;
        return __builtin_sub_overflow((int64_t)0, a, out) ? too_large(r) : ERR_OK;
    }
    q = a / b;
    m = a % b;
    if (m && (m < 0) != (b < 0)) {
        q--;
        m += b;
    }
    *out = remainder ? m : q;
    return ERR_OK;
}

static err power_ints(jinja_run *r, int64_t a, int64_t b, jinja_value *out)
{
    int64_t result = 1;

    if (b < 0 && a == 0) return jinja_fail(r, "0.0 cannot be raised to a negative power");
    if (b < 0) {
        *out = jinja_float(pow((double)a, (double)b));
        return ERR_OK;
    }
    if (a == 0 || a == 1) b = b ? 1 : 0; /* no bound on these */
    if (a == -1) b = b % 2 ? 1 : 2;
    for (; b; b--)
        if (__builtin_mul_overflow(result, a, &result)) return too_large(r);
    *out = jinja_int(result);
    return ERR_OK;
}

static err operate_ints(jinja_run *r, char op, int64_t a, int64_t b, jinja_value *out)
{
    bool overflow = false;
    int64_t x = 0;

    switch (op) {
    case '+':
        overflow = __builtin_add_overflow(a, b, &x);
        break;
    case '-':
        overflow = __builtin_sub_overflow(a, b, &x);
        break;
    case '*':
        overflow = __builtin_mul_overflow(a, b, &x);
        break;
    case '2':
        return power_ints(r, a, b, out);
    case '/':
        if (b == 0) return jinja_fail(r, "division by zero");
        *out = jinja_float((double)a / (double)b);
        return ERR_OK;
    default:
        TRY(divide_ints(r, op == '%', a, b, &x));
    }
    if (overflow) return too_large(r);
    *out = jinja_int(x);
    return ERR_OK;
}

/* --- reals --- */

static err operate_reals(jinja_run *r, char op, double a, double b, jinja_value *out)
{
    double x = a;

    if (strchr("/d%", op) && b == 0) return jinja_fail(r, "float division by zero");
    if (op == '+') x = a + b;
    if (op == '-') x = a - b;
    if (op == '*') x = a * b;
    if (op == '/') x = a / b;
    if (op == 'd') x = floor(a / b);
    if (op == '2') x = pow(a, b);
    if (op == '%') {
        x = fmod(a, b);
        if (x && (x < 0) != (b < 0)) x += b;
    }
    *out = jinja_float(x);
    return ERR_OK;
}

/* --- texts and lists --- */

/* "ab" * 3, [1] * 3 */
static err repeat(jinja_run *r, jinja_value a, int64_t n, jinja_value *out)
{
    const jinja_list *list = a.type == JINJA_LIST ? a.is.list : NULL;
    const size_t each = list ? list->n : a.is.text.n;
    jinja_buffer *b = jinja_arena_take(&r->arena, sizeof *b);

    if (!b) return ERR_NOMEM;
    if (list)
        TRY(jinja_make_list(&r->arena, list->form, 0, out));
    else
        *out = jinja_of_text(jinja_buffer_text(b));
    if (!each) return ERR_OK;
    for (; n > 0; n--) {
        TRY(jinja_step(r, 1 + each / 128));
        if (!list) TRY(jinja_buffer_add_text(&r->arena, b, a.is.text));
        for (size_t i = 0; list && i < each; i++)
            TRY(jinja_list_add(&r->arena, out->is.list, list->at[i]));
    }
    if (!list) *out = jinja_of_text(jinja_buffer_text(b));
    return ERR_OK;
}

static err join_lists(jinja_run *r, const jinja_list *a, const jinja_list *b, jinja_value *out)
{
    TRY(jinja_step(r, a->n + b->n));
    TRY(jinja_make_list(&r->arena, a->form, a->n + b->n, out));
    for (size_t i = 0; i < a->n; i++) TRY(jinja_list_add(&r->arena, out->is.list, a->at[i]));
    for (size_t i = 0; i < b->n; i++) TRY(jinja_list_add(&r->arena, out->is.list, b->at[i]));
    return ERR_OK;
}

/* Texts that `safe` has touched escape what they meet, and what comes of it is such a text. */
static err add_markup(jinja_run *r, jinja_value a, jinja_value b, jinja_value *out)
{
    jinja_value *plain = a.markup ? b.markup ? NULL : &b : &a;

    if (plain) TRY(jinja_filter_escape(r, *plain, NULL, plain));
    TRY(jinja_text_concat(&r->arena, a.is.text, b.is.text, &a.is.text));
    *out = a;
    return ERR_OK;
}

static err add(jinja_run *r, jinja_value a, jinja_value b, jinja_value *out)
{
    if (a.type == JINJA_TEXT && b.type == JINJA_TEXT) {
        if (a.markup || b.markup) return add_markup(r, a, b, out);
        TRY(jinja_step(r, b.is.text.n / 128));
        *out = a;
        return jinja_text_concat(&r->arena, a.is.text, b.is.text, &out->is.text);
    }
    if (a.type == JINJA_LIST && b.type == JINJA_LIST && a.is.list->form <= JINJA_TUPLE &&
        a.is.list->form == b.is.list->form)
        return join_lists(r, a.is.list, b.is.list, out);
    if (a.type == JINJA_TEXT && b.type != JINJA_UNDEFINED)
        return jinja_fail(r, "can only concatenate str (not \"%s\") to str",
                          jinja_type_name(b));
    return refuse(r, "+", a, b);
}

static bool repeats(jinja_value a, jinja_value n)
{
    return (a.type == JINJA_TEXT || (a.type == JINJA_LIST && a.is.list->form <= JINJA_TUPLE)) &&
           (n.type == JINJA_INT || n.type == JINJA_BOOL);
}

err jinja_operate(jinja_run *r, char op, jinja_value a, jinja_value b, jinja_value *out)
{
    const char name[] = {op == '2' || op == 'd' ? (op == '2' ? '*' : '/') : op,
                         op == '2' ? '*' : (op == 'd' ? '/' : '\0'), '\0'};

    if (jinja_is_number(a) && jinja_is_number(b)) {
        if (a.type == JINJA_FLOAT || b.type == JINJA_FLOAT)
            return operate_reals(r, op, jinja_as_double(a), jinja_as_double(b), out);
        return operate_ints(r, op, a.type == JINJA_BOOL ? a.is.truth : a.is.number,
                            b.type == JINJA_BOOL ? b.is.truth : b.is.number, out);
    }
    if (op == '+') return add(r, a, b, out);
    if (op == '*' && repeats(a, b)) return repeat(r, a, (int64_t)jinja_as_double(b), out);
    if (op == '*' && repeats(b, a)) return repeat(r, b, (int64_t)jinja_as_double(a), out);
    if (op == '%' && a.type == JINJA_TEXT && b.type != JINJA_UNDEFINED)
        return jinja_percent(r, a.is.text, b, out);
    return refuse(r, name, a, b);
}

/* --- comparisons --- */

err jinja_contains(jinja_run *r, jinja_value in, jinja_value v, bool *out)
{
    const jinja_list *items;

    if (in.type == JINJA_TEXT) {
        if (v.type == JINJA_UNDEFINED) return jinja_fail(r, "%s", v.is.hint);
        if (v.type != JINJA_TEXT)
            return jinja_fail(r, "'in <string>' requires string as left operand, not %s",
                              jinja_type_name(v));
        *out = jinja_text_find(in.is.text, v.is.text, 0) != SIZE_MAX;
        return jinja_step(r, in.is.text.n / 128);
    }
    if (in.type == JINJA_DICT) {
        if (!jinja_hashable(v))
            return jinja_fail(r, "unhashable type: '%s'", jinja_type_name(v));
        *out = jinja_dict_find(in.is.dict, v) != NULL;
        return ERR_OK;
    }
    TRY(jinja_iterate(r, in, &items));
    TRY(jinja_step(r, items->n));
    *out = false;
    for (size_t i = 0; i < items->n && !*out; i++) *out = jinja_equal(items->at[i], v);
    return ERR_OK;
}

static err order(jinja_run *r, char op, jinja_value a, jinja_value b, bool *out)
{
    int o = 0;

    if (a.type == JINJA_UNDEFINED) return jinja_fail(r, "%s", a.is.hint);
    if (b.type == JINJA_UNDEFINED) return jinja_fail(r, "%s", b.is.hint);
    if (!jinja_compare(a, b, &o))
        return jinja_fail(r, "'%c%s' not supported between instances of '%s' and '%s'",
                          op == 'l'   ? '<'
                          : op == 'g' ? '>'
                                      : op,
                          op == 'l' || op == 'g' ? "=" : "", jinja_type_name(a),
                          jinja_type_name(b));
    *out = op == '<' ? o < 0 : op == '>' ? o > 0 : op == 'l' ? o <= 0 : o >= 0;
    return ERR_OK;
}

err jinja_relate(jinja_run *r, char op, jinja_value a, jinja_value b, bool *out)
{
    switch (op) {
    case '=':
        *out = jinja_equal(a, b);
        return ERR_OK;
    case '!':
        *out = !jinja_equal(a, b);
        return ERR_OK;
    case 'i':
        return jinja_contains(r, b, a, out);
    case 'n':
        TRY(jinja_contains(r, b, a, out));
        *out = !*out;
        return ERR_OK;
    default:
        return order(r, op, a, b, out);
    }
}
