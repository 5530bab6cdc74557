/* jinja_value.h - what a template's expressions are: Python's values, as far as Jinja shows
 * them.
 *
 * A value is copied freely. Lists and dicts lie in the arena of the run and are shared; a
 * template cannot change them, but for the attributes of a namespace. */
#ifndef ENGINE_TEMPLATE_JINJA_VALUE_H
#define ENGINE_TEMPLATE_JINJA_VALUE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "engine/err.h"
#include "engine/template/jinja_arena.h"
#include "engine/template/jinja_text.h"

typedef enum jinja_type {
    JINJA_ABSENT, /* an argument that was not given */
    JINJA_UNDEFINED,
    JINJA_NONE,
    JINJA_BOOL,
    JINJA_INT,
    JINJA_FLOAT,
    JINJA_TEXT,
    JINJA_LIST,
    JINJA_DICT,
    JINJA_NAMESPACE,
    JINJA_FUNCTION,
    JINJA_LOOP,
    JINJA_CYCLER,
    JINJA_JOINER,
    JINJA_GROUP /* of groupby: a tuple with names */
} jinja_type;

/* How a list is written, and what else can be asked of it. */
typedef enum jinja_form {
    JINJA_LIST_FORM,
    JINJA_TUPLE,
    JINJA_RANGE,
    JINJA_KEYS, /* views of a dict: they have a length, and no elements by number */
    JINJA_VALUES,
    JINJA_ITEMS,
    JINJA_GENERATOR /* no length either */
} jinja_form;

typedef struct jinja_value {
    jinja_type type;
    bool markup; /* a text that is escaped, so what is added to it will be, too */
    union {
        bool truth;
        int64_t number;
        double real;
        jinja_text text;
        struct jinja_list *list; /* also GROUP: grouper and list */
        struct jinja_dict *dict; /* also NAMESPACE: its attributes */
        struct jinja_function *function;
        struct jinja_loop *loop;
        struct jinja_turns *turns; /* CYCLER, JOINER */
        const char *hint;          /* UNDEFINED: the sentence of using it */
    } is;
} jinja_value;

typedef struct jinja_list {
    jinja_value *at; /* [n] */
    size_t n, cap;
    jinja_form form;
} jinja_list;

typedef struct jinja_entry {
    jinja_value key, value;
} jinja_entry;

typedef struct jinja_dict {
    jinja_entry *at; /* [n] in the order they came */
    size_t n, cap;
    uint32_t *slots; /* [2 cap rounded up] 1 + entry, or 0; NULL while there are few */
    size_t n_slots;
} jinja_dict;

/* What a cycler or a joiner has come to. */
typedef struct jinja_turns {
    jinja_value *at; /* [n] */
    size_t n, now;
} jinja_turns;

static inline jinja_value jinja_none(void)
{
    return (jinja_value){.type = JINJA_NONE};
}

static inline jinja_value jinja_bool(bool truth)
{
    return (jinja_value){.type = JINJA_BOOL, .is.truth = truth};
}

static inline jinja_value jinja_int(int64_t number)
{
    return (jinja_value){.type = JINJA_INT, .is.number = number};
}

static inline jinja_value jinja_float(double real)
{
    return (jinja_value){.type = JINJA_FLOAT, .is.real = real};
}

static inline jinja_value jinja_of_text(jinja_text text)
{
    return (jinja_value){.type = JINJA_TEXT, .is.text = text};
}

static inline jinja_value jinja_undefined(const char *hint)
{
    return (jinja_value){.type = JINJA_UNDEFINED, .is.hint = hint};
}

/* A text of bytes that outlive the run. */
err jinja_make_text(jinja_arena *a, const char *bytes, size_t n, bool trusted,
                    jinja_value *out);

/* Empty ones, and what is put into them. Adding a key anew replaces its value. */
err jinja_make_list(jinja_arena *a, jinja_form form, size_t room, jinja_value *out);
err jinja_list_add(jinja_arena *a, jinja_list *list, jinja_value v);
err jinja_make_dict(jinja_arena *a, jinja_value *out);
err jinja_dict_set(jinja_arena *a, jinja_dict *d, jinja_value key, jinja_value v);
err jinja_dict_put(jinja_arena *a, jinja_dict *d, const char *key, jinja_value v); /* trusted */

/* NULL: it is not there. */
const jinja_value *jinja_dict_find(const jinja_dict *d, jinja_value key);
const jinja_value *jinja_dict_get(const jinja_dict *d, const char *key);

/* Can it be a key? Lists and dicts cannot. */
bool jinja_hashable(jinja_value v);

bool jinja_truth(jinja_value v);
bool jinja_is_number(jinja_value v);        /* bools are */
double jinja_as_double(jinja_value v);      /* of a number */
const char *jinja_type_name(jinja_value v); /* Python's: 'str', 'dict' */

/* Python's ==. Values that hold themselves, which only a namespace can, are equal if they are
 * the same. */
bool jinja_equal(jinja_value a, jinja_value b);

/* Python's <: *order is negative, 0 or positive. False: they do not compare. */
bool jinja_compare(jinja_value a, jinja_value b, int *order);

#endif
