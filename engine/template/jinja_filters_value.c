/* jinja_filters_value.c - filters of numbers, and of values of any kind.
 *
 * int and float never fail: what is no number becomes the default that was given with it, as
 * templates rely on. round gives a float for a float and a whole number for one. */
#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/template/jinja_state.h"

/* With `boolean`, whatever is false counts as not there. */
err jinja_filter_default(jinja_run *r, jinja_value on, const jinja_args *x, jinja_value *out)
{
    (void)r;
    *out = on;
    if (on.type != JINJA_UNDEFINED && !(jinja_truth(x->at[1]) && !jinja_truth(on)))
        return ERR_OK;
    *out = x->at[0].type == JINJA_ABSENT ? jinja_of_text((jinja_text){0}) : x->at[0];
    return ERR_OK;
}

err jinja_filter_attr(jinja_run *r, jinja_value on, const jinja_args *x, jinja_value *out)
{
    const jinja_native *row = NULL;
    jinja_function f = {.on = on};
    jinja_text name;

    TRY(jinja_want_text(r, x->at[0], "an attribute's name", &name));
    if (on.type == JINJA_NAMESPACE || on.type == JINJA_LOOP)
        return jinja_attribute(r, on, x->at[0], out);
    row = jinja_native_method(on, name);
    f.row = row;
    if (row) return jinja_make_function(r, &f, out);
    *out = jinja_undefined("the value has no such attribute");
    return ERR_OK;
}

err jinja_filter_abs(jinja_run *r, jinja_value on, const jinja_args *x, jinja_value *out)
{
    (void)x;
    if (on.type == JINJA_UNDEFINED) return jinja_fail(r, "%s", on.is.hint);
    if (!jinja_is_number(on))
        return jinja_fail(r, "bad operand type for abs(): '%s'", jinja_type_name(on));
    *out = on;
    if (jinja_as_double(on) < 0) return jinja_operate(r, '-', jinja_int(0), on, out);
    return ERR_OK;
}

/* --- texts that are numbers --- */

/* A text without white space at its ends, as C reads it; false: it is too long to be one. */
static bool copy_number(jinja_text t, char to[64])
{
    size_t n = 0;

    t = jinja_text_strip(t, NULL, true, true);
    if (t.n >= 64) return false;
    for (size_t i = 0; i < t.n; i++) /* 1_000 */
        if (jinja_text_at(t)[i] != '_') to[n++] = jinja_text_at(t)[i];
    to[n] = '\0';
    return n > 0;
}

static bool read_real(jinja_text t, double *out)
{
    char text[64], *end;

    if (!copy_number(t, text) || strpbrk(text, "xX(")) return false;
    *out = strtod(text, &end);
    return *end == '\0';
}

static bool read_whole(jinja_text t, int base, int64_t *out)
{
    char text[64], *end;

    if (!copy_number(t, text)) return false;
    errno = 0;
    *out = strtoll(text, &end, base);
    return !errno && *end == '\0';
}

err jinja_filter_float(jinja_run *r, jinja_value on, const jinja_args *x, jinja_value *out)
{
    double real = 0;

    (void)r;
    *out = x->at[0].type == JINJA_ABSENT ? jinja_float(0) : x->at[0];
    if (jinja_is_number(on)) *out = jinja_float(jinja_as_double(on));
    if (on.type == JINJA_TEXT && read_real(on.is.text, &real)) *out = jinja_float(real);
    return ERR_OK;
}

/* A real number loses its fraction, a text's too. */
err jinja_filter_int(jinja_run *r, jinja_value on, const jinja_args *x, jinja_value *out)
{
    int64_t whole = 0, base;
    double real = NAN;

    TRY(jinja_want_int(r, x->at[1], 10, &base));
    if (base != 0 && (base < 2 || base > 36)) return jinja_fail(r, "int has no such base");
    *out = x->at[0].type == JINJA_ABSENT ? jinja_int(0) : x->at[0];
    if (on.type == JINJA_BOOL) *out = jinja_int(on.is.truth);
    if (on.type == JINJA_INT) *out = on;
    if (on.type == JINJA_TEXT && read_whole(on.is.text, (int)base, &whole))
        *out = jinja_int(whole);
    else if (on.type == JINJA_TEXT && !read_real(on.is.text, &real))
        return ERR_OK;
    if (on.type == JINJA_FLOAT) real = on.is.real;
    if (isfinite(real) && fabs(real) < 9e18) *out = jinja_int((int64_t)real);
    return ERR_OK;
}

/* Half goes to the even neighbour, by the exact value, as Python's round has it. */
static double round_to(double v, int precision)
{
    char text[400];

    if (precision > 300 || !isfinite(v)) return v;
    if (precision < 0) {
        const double scale = pow(10, -precision);

        return isfinite(scale) ? nearbyint(v / scale) * scale : 0;
    }
    snprintf(text, sizeof text, "%.*f", precision > 60 ? 60 : precision, v);
    return strtod(text, NULL);
}

err jinja_filter_round(jinja_run *r, jinja_value on, const jinja_args *x, jinja_value *out)
{
    int64_t precision;
    double v, scale;

    if (on.type == JINJA_UNDEFINED) return jinja_fail(r, "%s", on.is.hint);
    if (!jinja_is_number(on)) return jinja_fail(r, "round needs a number");
    TRY(jinja_want_int(r, x->at[0], 0, &precision));
    if (precision > 300 || precision < -300) return jinja_fail(r, "a number is too large");
    v = jinja_as_double(on);
    scale = pow(10, (double)precision);
    if (x->at[1].type == JINJA_TEXT && jinja_text_is(x->at[1].is.text, "ceil"))
        *out = jinja_float(ceil(v * scale) / scale);
    else if (x->at[1].type == JINJA_TEXT && jinja_text_is(x->at[1].is.text, "floor"))
        *out = jinja_float(floor(v * scale) / scale);
    else if (x->at[1].type != JINJA_ABSENT &&
             !(x->at[1].type == JINJA_TEXT && jinja_text_is(x->at[1].is.text, "common")))
        return jinja_fail(r, "method must be common, ceil or floor");
    else if (on.type == JINJA_FLOAT)
        *out = jinja_float(round_to(v, (int)precision));
    else
        *out = jinja_int((int64_t)round_to(v, precision > 0 ? 0 : (int)precision));
    return ERR_OK;
}
