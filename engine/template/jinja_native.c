/* jinja_native.c - the tables of what C does, and how arguments find their parameters.
 *
 *   FILTER("replace", "old new count", replace)      x | replace("a", count=1, new="b")
 *   bound    [0] "a"   [1] "b"   [2] 1               in the row's order, whoever named them
 *
 * Too many, twice the same or one of an unknown name is an error here, so no function looks. */
#include "engine/template/jinja_native.h"

#include <string.h>

#include "engine/template/jinja_state.h"

enum { MOST_PARAMETERS = 4 };

/* --- tables --- */

static const jinja_native filters[] = {
#define FILTER(name, params, function) {name, params, jinja_filter_##function},
#include "engine/template/jinja_filters.def"
#undef FILTER
};

static const jinja_native tests[] = {
#define TEST(name, params, function) {name, params, jinja_test_##function},
#include "engine/template/jinja_tests.def"
#undef TEST
};

static const jinja_native functions[] = {
#define FUNCTION(name, params, function) {name, params, jinja_function_##function},
#include "engine/template/jinja_functions.def"
#undef FUNCTION
};

static const struct {
    jinja_type type;
    jinja_native row;
} methods[] = {
#define METHOD(type, name, params, function) \
    {JINJA_##type, {name, params, jinja_method_##function}},
#include "engine/template/jinja_methods.def"
#undef METHOD
};

static const jinja_native *find_row(const jinja_native *rows, size_t n, const char *name)
{
    for (size_t i = 0; i < n; i++)
        if (strcmp(rows[i].name, name) == 0) return &rows[i];
    return NULL;
}

const jinja_native *jinja_native_filter(const char *name)
{
    return find_row(filters, sizeof filters / sizeof *filters, name);
}

const jinja_native *jinja_native_test(const char *name)
{
    return find_row(tests, sizeof tests / sizeof *tests, name);
}

const jinja_native *jinja_native_function(const char *name)
{
    return find_row(functions, sizeof functions / sizeof *functions, name);
}

/* Views and generators are lists to us alone. */
const jinja_native *jinja_native_method(jinja_value of, jinja_text name)
{
    if (of.type == JINJA_LIST && of.is.list->form > JINJA_RANGE) return NULL;
    for (size_t i = 0; i < sizeof methods / sizeof *methods; i++)
        if (methods[i].type == of.type && jinja_text_is(name, methods[i].row.name))
            return &methods[i].row;
    return NULL;
}

bool jinja_native_is_change(jinja_value of, jinja_text name)
{
    static const char *const lists[] = {"append", "clear",  "extend",  "insert",
                                        "pop",    "remove", "reverse", "sort"};
    static const char *const dicts[] = {"clear", "pop", "popitem", "setdefault", "update"};
    const bool dict = of.type == JINJA_DICT;
    const char *const *names = dict ? dicts : lists;
    const size_t n = dict ? sizeof dicts / sizeof *dicts : sizeof lists / sizeof *lists;

    if (!dict && !(of.type == JINJA_LIST && of.is.list->form == JINJA_LIST_FORM)) return false;
    for (size_t i = 0; i < n; i++)
        if (jinja_text_is(name, names[i])) return true;
    return false;
}

/* --- arguments --- */

/* The number of a parameter; -1: the row has none of that name. */
static int find_parameter(const char *params, jinja_text name)
{
    size_t n;

    for (int i = 0; *params; i++, params += n + (params[n] == ' ')) {
        n = strcspn(params, " ");
        if (name.n == n && memcmp(jinja_text_at(name), params, n) == 0) return i;
    }
    return -1;
}

static size_t count_parameters(const char *params)
{
    size_t n = *params ? 1 : 0;

    for (; *params; params++) n += *params == ' ';
    return n;
}

err jinja_native_call(jinja_run *r, const jinja_native *row, jinja_value on,
                      const jinja_args *x, jinja_value *out)
{
    jinja_value bound[MOST_PARAMETERS] = {{.type = JINJA_ABSENT}};
    const jinja_args in_order = {bound, x->n, NULL, 0};
    const size_t most = count_parameters(row->params);

    TRY(jinja_step(r, 1));
    if (*row->params == '*') return row->call(r, on, x, out);
    if (x->n > most)
        return jinja_fail(r, "'%s' takes at most %zu arguments, not %zu", row->name, most,
                          x->n);
    for (size_t i = 0; i < x->n; i++) bound[i] = x->at[i];
    for (size_t i = 0; i < x->n_named; i++) {
        const int at = find_parameter(row->params, x->named[i].name);

        if (at < 0 || bound[at].type != JINJA_ABSENT)
            return jinja_fail(r, "'%s' has no argument '%.*s' here", row->name,
                              (int)x->named[i].name.n, jinja_text_at(x->named[i].name));
        bound[at] = x->named[i].value;
    }
    return row->call(r, on, &in_order, out);
}

/* --- what a function wants --- */

err jinja_want_text(jinja_run *r, jinja_value v, const char *what, jinja_text *out)
{
    if (v.type == JINJA_UNDEFINED) return jinja_fail(r, "%s", v.is.hint);
    if (v.type != JINJA_TEXT)
        return jinja_fail(r, "%s must be a string, not %s", what, jinja_type_name(v));
    *out = v.is.text;
    return ERR_OK;
}

/* A whole number; `missing` where none is given, or none at all. */
err jinja_want_int(jinja_run *r, jinja_value v, int64_t missing, int64_t *out)
{
    *out = missing;
    if (v.type == JINJA_ABSENT || v.type == JINJA_NONE) return ERR_OK;
    if (v.type == JINJA_UNDEFINED) return jinja_fail(r, "%s", v.is.hint);
    if (v.type != JINJA_INT && v.type != JINJA_BOOL)
        return jinja_fail(r, "'%s' object cannot be interpreted as an integer",
                          jinja_type_name(v));
    *out = v.type == JINJA_BOOL ? v.is.truth : v.is.number;
    return ERR_OK;
}
