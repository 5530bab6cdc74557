/* schema_number.c - numbers between bounds, as digits.
 *
 * Without bounds they are JSON's (json_rules.h). With bounds they have no exponent, so that
 * comparing numbers is comparing digits:
 *
 *   x = sign, whole digits, fraction      a negative x is '-' and a magnitude between the
 * bounds with their signs changed
 *
 *   whole part between those of both bounds        any fraction
 *   whole part of a bound                          a fraction that is not beyond the bound's
 *
 * A text beyond a bound must not become the bound itself when it is read as a double. So whole
 * and fraction together have at most 15 digits, which doubles tell apart. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "server/schema/schema_state.h"

enum { EXACT_DIGITS = 15, OPEN_DIGITS = 10, MOST_DIGITS = 16 };

/* A bound of a magnitude: whole.fraction, the digits of both as text. */
typedef struct bound {
    char whole[24], fraction[24];
    bool open; /* the bound itself is out */
} bound;

/* --- whole numbers --- */

/* n digits, any. */
static void add_digits(nfa *a, uint32_t from, size_t n, uint32_t to)
{
    if (!n) nfa_add_skip(a, from, to);
    for (size_t i = 0; i < n; i++) {
        const uint32_t next = i + 1 < n ? nfa_add_node(a) : to;

        nfa_add_bytes(a, from, '0', '9', next);
        from = next;
    }
}

/* n digits from lo to hi, as texts; NULL: no bound on that side. As deep as there are digits.
 */
static void add_between(nfa *a, uint32_t from, const char *lo, const char *hi, size_t n,
                        uint32_t to)
{
    const char low = lo && n ? *lo : '0', high = hi && n ? *hi : '9';

    if (!n || (!lo && !hi)) {
        add_digits(a, from, n, to);
        return;
    }
    for (char d = low; d <= high; d++) {
        const bool at_low = lo && d == low, at_high = hi && d == high;
        const uint32_t next = nfa_add_node(a);
        char last = d;

        /* digits that no bound touches are one edge */
        while (!at_low && !at_high && last < high && !(hi && last + 1 == high)) last++;
        nfa_add_bytes(a, from, (uint8_t)d, (uint8_t)last, next);
        add_between(a, next, at_low ? lo + 1 : NULL, at_high ? hi + 1 : NULL, n - 1, to);
        d = last;
    }
}

/* Whole numbers from lo to hi, both written without a leading 0. */
static void add_whole(nfa *a, uint32_t from, const char *lo, const char *hi, uint32_t to)
{
    const size_t least = strlen(lo), most = strlen(hi);

    if (least > most || (least == most && strcmp(lo, hi) > 0)) return;
    for (size_t n = least; n <= most; n++) {
        char first[24] = "1";

        memset(first + 1, '0', n - 1);
        add_between(a, from, n == least ? lo : first, n == most ? hi : NULL, n, to);
    }
}

static void write_whole(char out[24], double x)
{
    snprintf(out, 24, "%.0f", x);
}

static void add_integers(schema_compiler *c, double lo, double hi, uint32_t rule)
{
    const uint32_t from = nfa_start(c->a, rule), to = nfa_end(c->a, rule);
    char least[24], most[24];

    if (lo < 0) {
        const uint32_t minus = nfa_add_node(c->a);

        write_whole(least, hi < 0 ? -hi : 1);
        write_whole(most, -lo);
        nfa_add_text(c->a, from, "-", 1, minus);
        add_whole(c->a, minus, least, most, to);
    }
    if (hi < 0) return;
    write_whole(least, lo > 0 ? lo : 0);
    write_whole(most, hi);
    add_whole(c->a, from, least, most, to);
}

/* --- fractions --- */

/* Between the fractions of two bounds; NULL: that side is free already. */
typedef struct fractions {
    nfa *a;
    const bound *lo, *hi;
    size_t most; /* digits */
    uint32_t to;
} fractions;

static char digit_at(const bound *b, size_t i)
{
    return i < strlen(b->fraction) ? b->fraction[i] : '0';
}

/* Would nothing but zeros from digit i on be the bound itself? */
static bool is_zero_from(const bound *b, size_t i)
{
    const size_t n = strlen(b->fraction);

    return i >= n || strspn(b->fraction + i, "0") == n - i;
}

/* May the number end here, its i digits being those of the bounds that still count? */
static bool may_end(const bound *lo, const bound *hi, size_t i)
{
    if (lo && !(is_zero_from(lo, i) && !lo->open)) return false;
    return !hi || !is_zero_from(hi, i) || !hi->open;
}

static void add_fraction(const fractions *f, uint32_t from, const bound *lo, const bound *hi,
                         size_t i)
{
    if (i > 0 && may_end(lo, hi, i)) nfa_add_skip(f->a, from, f->to);
    if (i == f->most) return;
    if (!lo && !hi) { /* up to so many more, one at a time */
        const uint32_t next = nfa_add_node(f->a);

        nfa_add_bytes(f->a, from, '0', '9', next);
        add_fraction(f, next, NULL, NULL, i + 1);
        return;
    }
    for (char d = lo ? digit_at(lo, i) : '0'; d <= (hi ? digit_at(hi, i) : '9'); d++) {
        const uint32_t next = nfa_add_node(f->a);

        nfa_add_bytes(f->a, from, (uint8_t)d, (uint8_t)d, next);
        add_fraction(f, next, lo && d == digit_at(lo, i) ? lo : NULL,
                     hi && d == digit_at(hi, i) ? hi : NULL, i + 1);
    }
}

/* Behind a whole part: nothing, or a point and digits. */
static void add_tail(const fractions *f, uint32_t from, const bound *lo, const bound *hi)
{
    const uint32_t point = nfa_add_node(f->a);

    if (may_end(lo, hi, 0)) nfa_add_skip(f->a, from, f->to);
    nfa_add_text(f->a, from, ".", 1, point);
    add_fraction(f, point, lo, hi, 0);
}

/* --- magnitudes --- */

/* One more, or less, than a whole number in digits. */
static void step_whole(char out[24], const char *whole, int by)
{
    snprintf(out, 24, "%lld", strtoll(whole, NULL, 10) + by);
}

static void add_at_whole(const fractions *f, uint32_t from, const char *whole, const bound *lo,
                         const bound *hi)
{
    const uint32_t behind = nfa_add_node(f->a);

    nfa_add_text(f->a, from, whole, strlen(whole), behind);
    add_tail(f, behind, lo, hi);
}

static void add_magnitudes(schema_compiler *c, const bound *lo, const bound *hi, uint32_t from,
                           uint32_t to)
{
    const size_t whole = strlen(hi->whole);
    const fractions f = {
        .a = c->a, .most = whole < EXACT_DIGITS ? EXACT_DIGITS - whole : 0, .to = to};
    const uint32_t between = nfa_add_node(c->a);
    char least[24], most[24];

    if (strcmp(lo->whole, hi->whole) == 0) {
        add_at_whole(&f, from, lo->whole, lo, hi);
        return;
    }
    if (strtoll(lo->whole, NULL, 10) > strtoll(hi->whole, NULL, 10)) return;
    add_at_whole(&f, from, lo->whole, lo, NULL);
    add_at_whole(&f, from, hi->whole, NULL, hi);
    step_whole(least, lo->whole, 1);
    step_whole(most, hi->whole, -1);
    add_whole(c->a, from, least, most, between);
    add_tail(&f, between, NULL, NULL);
}

/* --- bounds --- */

typedef struct bounds {
    double lo, hi; /* infinite: none */
    bool lo_open, hi_open;
    const cJSON *lo_part, *hi_part;
} bounds;

static bool read_bounds(schema_compiler *c, const schema_set *set, bounds *b)
{
    const cJSON *min, *max, *above, *below;

    *b = (bounds){.lo = -INFINITY, .hi = INFINITY};
    if (!schema_set_bound(c, set, "minimum", true, &min) ||
        !schema_set_bound(c, set, "maximum", false, &max) ||
        !schema_set_bound(c, set, "exclusiveMinimum", true, &above) ||
        !schema_set_bound(c, set, "exclusiveMaximum", false, &below))
        return false;
    if (min) b->lo = min->valuedouble, b->lo_part = min;
    if (max) b->hi = max->valuedouble, b->hi_part = max;
    if (above && above->valuedouble >= b->lo)
        b->lo = above->valuedouble, b->lo_part = above, b->lo_open = true;
    if (below && below->valuedouble <= b->hi)
        b->hi = below->valuedouble, b->hi_part = below, b->hi_open = true;
    return true;
}

/* The digits of a magnitude; false: they are too many to be compared exactly. */
static bool write_bound(bound *out, double x, bool open)
{
    char text[64], *point;

    *out = (bound){.open = open};
    if (!(x < 1e15)) return false;
    for (int digits = 0; digits <= EXACT_DIGITS; digits++) {
        snprintf(text, sizeof text, "%.*f", digits, x);
        if (strtod(text, NULL) == x) break;
    }
    if (strtod(text, NULL) != x) return false;
    point = strchr(text, '.');
    if (point) *point++ = '\0';
    if (strlen(text) + (point ? strlen(point) : 0) > EXACT_DIGITS + (*text == '0'))
        return false;
    snprintf(out->whole, sizeof out->whole, "%s", text);
    if (point) snprintf(out->fraction, sizeof out->fraction, "%s", point);
    return true;
}

/* Without a bound: so many digits that the other bound is not reached. */
static bound no_bound(double other)
{
    bound b = {.fraction = ""};
    size_t n = OPEN_DIGITS;

    for (double x = 1e9; fabs(other) >= x && n < EXACT_DIGITS - 1; x *= 10) n++;
    memset(b.whole, '9', n);
    return b;
}

/* One sign's numbers: magnitudes between lo and hi, either of which may be infinite. */
static bool add_side(schema_compiler *c, const bounds *b, bool negative, uint32_t rule)
{
    const double lo = negative ? -b->hi : b->lo, hi = negative ? -b->lo : b->hi;
    const bool lo_open = negative ? b->hi_open : b->lo_open;
    const bool hi_open = negative ? b->lo_open : b->hi_open;
    const cJSON *lo_part = negative ? b->hi_part : b->lo_part;
    const cJSON *hi_part = negative ? b->lo_part : b->hi_part;
    static const char many[] = "too many digits to be compared exactly";
    uint32_t from = nfa_start(c->a, rule);
    bound low, high;

    if (hi < 0 || (negative && hi == 0)) return true;
    if (lo > 0 ? !write_bound(&low, lo, lo_open)
               : !write_bound(&low, 0, negative || (lo == 0 && lo_open)))
        return schema_check_refuse(c, lo_part, many);
    if (hi == INFINITY)
        high = no_bound(lo);
    else if (!write_bound(&high, hi, hi_open))
        return schema_check_refuse(c, hi_part, many);
    if (negative) {
        const uint32_t minus = nfa_add_node(c->a);

        nfa_add_text(c->a, from, "-", 1, minus);
        from = minus;
    }
    add_magnitudes(c, &low, &high, from, nfa_end(c->a, rule));
    return true;
}

static bool add_bounded_integers(schema_compiler *c, const bounds *b, uint32_t rule)
{
    const double exact = 9007199254740992.0; /* 2^53 */
    double lo = b->lo_open ? floor(b->lo) + 1 : ceil(b->lo);
    double hi = b->hi_open ? ceil(b->hi) - 1 : floor(b->hi);

    if ((isfinite(lo) && fabs(lo) > exact) || (isfinite(hi) && fabs(hi) > exact))
        return schema_check_refuse(c,
                                   isfinite(lo) && fabs(lo) > exact ? b->lo_part : b->hi_part,
                                   "more than 2^53 is not exact");
    if (lo == -INFINITY) lo = -exact;
    if (hi == INFINITY) hi = exact;
    if (lo <= hi) add_integers(c, lo, hi, rule);
    return true;
}

bool schema_number_add(schema_compiler *c, const schema_set *set, unsigned types, uint32_t rule)
{
    const bool whole = !(types & SCHEMA_FRACTION);
    bounds b;

    if (!read_bounds(c, set, &b)) return false;
    if (b.lo == -INFINITY && b.hi == INFINITY) {
        nfa_add_call(c->a, nfa_start(c->a, rule), whole ? c->json.integer : c->json.number,
                     nfa_end(c->a, rule));
        return true;
    }
    if (whole) return add_bounded_integers(c, &b, rule);
    return add_side(c, &b, false, rule) && add_side(c, &b, true, rule);
}
