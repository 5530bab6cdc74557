/* jinja_tests.c - "x is ..." for each row of jinja_tests.def.
 *
 * Most look at a value alone and cannot fail; those that compare or compute pass on what their
 * operator says. Undefined passes for much, as in Jinja: it can be called, gone over, indexed.
 */
#include <math.h>
#include <string.h>

#include "engine/template/jinja_state.h"

#define TEST_OF(name, condition)                                                               \
    err jinja_test_##name(jinja_run *r, jinja_value on, const jinja_args *x, jinja_value *out) \
    {                                                                                          \
        (void)r, (void)on, (void)x;                                                            \
        *out = jinja_bool(condition);                                                          \
        return ERR_OK;                                                                         \
    }

/* A list that has elements by number, or anything that is indexed. */
static bool is_sequence(jinja_value v)
{
    if (v.type == JINJA_LIST) return v.is.list->form < JINJA_KEYS;
    return v.type == JINJA_TEXT || v.type == JINJA_DICT || v.type == JINJA_UNDEFINED ||
           v.type == JINJA_GROUP;
}

static bool is_iterable(jinja_value v)
{
    return is_sequence(v) || v.type == JINJA_LIST || v.type == JINJA_LOOP;
}

/* Python's islower and isupper: some letters, and all of that case. */
static bool is_case(jinja_value v, bool upper)
{
    bool some = false;

    if (v.type != JINJA_TEXT) return false;
    for (size_t i = 0; i < v.is.text.n; i++) {
        const char c = jinja_text_at(v.is.text)[i];

        if (c >= (upper ? 'a' : 'A') && c <= (upper ? 'z' : 'Z')) return false;
        some = some || (c >= (upper ? 'A' : 'a') && c <= (upper ? 'Z' : 'z'));
    }
    return some;
}

static bool is_named(jinja_value v, const jinja_native *(*find)(const char *))
{
    char name[32] = {0};

    if (v.type != JINJA_TEXT || v.is.text.n >= sizeof name) return false;
    memcpy(name, jinja_text_at(v.is.text), v.is.text.n);
    return find(name) != NULL;
}

/* The same object: texts and lists by their place, small values by what they are. */
static bool is_same(jinja_value a, jinja_value b)
{
    if (a.type != b.type) return false;
    if (a.type == JINJA_DICT) return a.is.dict == b.is.dict;
    if (a.type == JINJA_LIST) return a.is.list == b.is.list;
    return jinja_equal(a, b);
}

TEST_OF(boolean, on.type == JINJA_BOOL)
TEST_OF(callable, on.type == JINJA_FUNCTION || on.type == JINJA_UNDEFINED ||
                      on.type == JINJA_JOINER || on.type == JINJA_LOOP)
TEST_OF(defined, on.type != JINJA_UNDEFINED)
TEST_OF(escaped, on.type == JINJA_TEXT && on.markup)
TEST_OF(false, on.type == JINJA_BOOL && !on.is.truth)
TEST_OF(filter, is_named(on, jinja_native_filter))
TEST_OF(float, on.type == JINJA_FLOAT)
TEST_OF(integer, on.type == JINJA_INT)
TEST_OF(iterable, is_iterable(on))
TEST_OF(lower, is_case(on, false))
TEST_OF(mapping, on.type == JINJA_DICT)
TEST_OF(none, on.type == JINJA_NONE)
TEST_OF(number, jinja_is_number(on))
TEST_OF(sameas, is_same(on, x->at[0]))
TEST_OF(sequence, is_sequence(on))
TEST_OF(string, on.type == JINJA_TEXT)
TEST_OF(test, is_named(on, jinja_native_test))
TEST_OF(true, on.type == JINJA_BOOL && on.is.truth)
TEST_OF(undefined, on.type == JINJA_UNDEFINED)
TEST_OF(upper, is_case(on, true))
#undef TEST_OF

/* --- those that compute --- */

static err relate(jinja_run *r, char op, jinja_value a, const jinja_args *x, jinja_value *out)
{
    if (x->at[0].type == JINJA_ABSENT) return jinja_fail(r, "a test lacks its argument");
    out->type = JINJA_BOOL;
    return jinja_relate(r, op, a, x->at[0], &out->is.truth);
}

#define RELATION(name, op)                                                                     \
    err jinja_test_##name(jinja_run *r, jinja_value on, const jinja_args *x, jinja_value *out) \
    {                                                                                          \
        return relate(r, op, on, x, out);                                                      \
    }
RELATION(eq, '=')
RELATION(ne, '!')
RELATION(lt, '<')
RELATION(le, 'l')
RELATION(gt, '>')
RELATION(ge, 'g')
RELATION(in, 'i')
#undef RELATION

/* Is the remainder of a division by `by` this one? */
static err leaves(jinja_run *r, jinja_value v, jinja_value by, int remainder, jinja_value *out)
{
    TRY(jinja_operate(r, '%', v, by, out));
    if (!jinja_is_number(*out)) return jinja_fail(r, "not a number");
    *out = jinja_bool(jinja_as_double(*out) == remainder);
    return ERR_OK;
}

err jinja_test_even(jinja_run *r, jinja_value on, const jinja_args *x, jinja_value *out)
{
    (void)x;
    return leaves(r, on, jinja_int(2), 0, out);
}

err jinja_test_odd(jinja_run *r, jinja_value on, const jinja_args *x, jinja_value *out)
{
    (void)x;
    return leaves(r, on, jinja_int(2), 1, out);
}

err jinja_test_divisibleby(jinja_run *r, jinja_value on, const jinja_args *x, jinja_value *out)
{
    if (x->at[0].type == JINJA_ABSENT) return jinja_fail(r, "a test lacks its argument");
    return leaves(r, on, x->at[0], 0, out);
}
