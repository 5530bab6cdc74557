/* jinja_native.h - what C does for a template: filters, tests, methods and functions, a row
 * each in jinja_filters.def, jinja_tests.def, jinja_methods.def and jinja_functions.def.
 *
 * A row names its parameters, "first second", so arguments reach its function in that order
 * however they were given; one that was not given is JINJA_ABSENT. "*": they come as they are.
 */
#ifndef ENGINE_TEMPLATE_JINJA_NATIVE_H
#define ENGINE_TEMPLATE_JINJA_NATIVE_H

#include "engine/err.h"
#include "engine/template/jinja_value.h"

struct jinja_run;

typedef struct jinja_named {
    jinja_text name;
    jinja_value value;
} jinja_named;

typedef struct jinja_args {
    jinja_value *at; /* [n] */
    size_t n;
    jinja_named *named; /* [n_named] */
    size_t n_named;
} jinja_args;

typedef struct jinja_native {
    const char *name, *params;
    /* on: what is filtered or tested, or whose method it is. */
    err (*call)(struct jinja_run *r, jinja_value on, const jinja_args *x, jinja_value *out);
} jinja_native;

/* NULL: there is none. */
const jinja_native *jinja_native_filter(const char *name);
const jinja_native *jinja_native_test(const char *name);
const jinja_native *jinja_native_function(const char *name);
const jinja_native *jinja_native_method(jinja_value of, jinja_text name);

/* Would the method change what others see? Templates may not. */
bool jinja_native_is_change(jinja_value of, jinja_text name);

/* Call it. ERR_TEMPLATE: the arguments do not fit, or what it says. */
err jinja_native_call(struct jinja_run *r, const jinja_native *row, jinja_value on,
                      const jinja_args *x, jinja_value *out);

#endif
