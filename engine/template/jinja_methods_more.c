/* jinja_methods_more.c - methods of texts that cut them into lists or ask what they are, and
 * those of lists, dicts and numbers.
 *
 * Parts are views of the text that they are cut from: a split of a megabyte copies none of it.
 */
#include <math.h>
#include <string.h>

#include "engine/template/jinja_case.h"
#include "engine/template/jinja_state.h"

/* --- splitting --- */

/* What separates, and how often at most; without a separator, white space does. */
typedef struct split_rule {
    jinja_text by;
    bool spaces;
    int64_t most; /* negative: no bound */
} split_rule;

static err read_rule(jinja_run *r, const jinja_args *x, split_rule *out)
{
    out->spaces = x->at[0].type == JINJA_ABSENT || x->at[0].type == JINJA_NONE;
    TRY(jinja_want_int(r, x->at[1], -1, &out->most));
    if (out->spaces) return ERR_OK;
    TRY(jinja_want_text(r, x->at[0], "the separator", &out->by));
    return out->by.n ? ERR_OK : jinja_fail(r, "empty separator");
}

static err add_part(jinja_run *r, jinja_value list, jinja_text part)
{
    TRY(jinja_step(r, 1));
    return jinja_list_add(&r->arena, list.is.list, jinja_of_text(part));
}

/* Where the next white space is. */
static size_t find_space(jinja_text t)
{
    size_t i = 0, length;

    for (; i < t.n; i += length)
        if (jinja_char_is_space(jinja_char(jinja_text_at(t) + i, t.n - i, &length))) break;
    return i;
}

static err split_spaces(jinja_run *r, jinja_text t, int64_t most, jinja_value list)
{
    for (t = jinja_text_strip(t, NULL, true, false); t.n; most--) {
        const size_t end = most ? find_space(t) : t.n; /* what is left over stays as it is */

        TRY(add_part(r, list, jinja_text_cut(t, 0, end)));
        t = jinja_text_strip(jinja_text_cut(t, end, t.n - end), NULL, true, false);
    }
    return ERR_OK;
}

static err split_text(jinja_run *r, jinja_text t, const split_rule *rule, jinja_value list)
{
    for (int64_t most = rule->most; most; most--) {
        const size_t at = jinja_text_find(t, rule->by, 0);

        if (at == SIZE_MAX) break;
        TRY(add_part(r, list, jinja_text_cut(t, 0, at)));
        t = jinja_text_cut(t, at + rule->by.n, t.n - at - rule->by.n);
    }
    return add_part(r, list, t);
}

err jinja_method_split(jinja_run *r, jinja_value on, const jinja_args *x, jinja_value *out)
{
    split_rule rule;

    TRY(read_rule(r, x, &rule));
    TRY(jinja_step(r, on.is.text.n / 32));
    TRY(jinja_make_list(&r->arena, JINJA_LIST_FORM, 0, out));
    if (rule.spaces) return split_spaces(r, on.is.text, rule.most, *out);
    return split_text(r, on.is.text, &rule, *out);
}

/* Where the last separator ends and begins; false: there is none. */
static bool find_last(jinja_text t, const split_rule *rule, size_t *from, size_t *to)
{
    const char *at = jinja_text_at(t);

    if (!rule->spaces) {
        for (size_t i = t.n >= rule->by.n ? t.n - rule->by.n + 1 : 0; i-- > 0;)
            if (memcmp(at + i, jinja_text_at(rule->by), rule->by.n) == 0) {
                *from = i;
                *to = i + rule->by.n;
                return true;
            }
        return false;
    }
    for (*to = t.n; *to; --*to) {
        const jinja_text before = jinja_text_cut(t, 0, *to);

        *from = jinja_text_strip(before, NULL, false, true).n;
        if (*from < *to) return true;
    }
    return false;
}

/* From the end on, so the list is turned round. */
err jinja_method_rsplit(jinja_run *r, jinja_value on, const jinja_args *x, jinja_value *out)
{
    jinja_text t = on.is.text;
    split_rule rule;
    size_t from, to;

    TRY(read_rule(r, x, &rule));
    TRY(jinja_step(r, t.n / 16));
    TRY(jinja_make_list(&r->arena, JINJA_LIST_FORM, 0, out));
    if (rule.spaces) t = jinja_text_strip(t, NULL, false, true);
    for (; rule.most && find_last(t, &rule, &from, &to); rule.most--) {
        TRY(add_part(r, *out, jinja_text_cut(t, to, t.n - to)));
        t = jinja_text_cut(t, 0, from);
    }
    if (rule.spaces) t = jinja_text_strip(t, NULL, false, true);
    if (!rule.spaces || t.n) TRY(add_part(r, *out, t));
    for (size_t i = 0, n = out->is.list->n; i < n / 2; i++) {
        const jinja_value v = out->is.list->at[i];

        out->is.list->at[i] = out->is.list->at[n - 1 - i];
        out->is.list->at[n - 1 - i] = v;
    }
    return ERR_OK;
}

/* Before, the separator, behind: what is not there is empty. */
static err part_in_three(jinja_run *r, jinja_value on, jinja_value sep, bool last,
                         jinja_value *out)
{
    const jinja_text t = on.is.text, none = jinja_text_cut(t, 0, 0);
    split_rule rule = {.most = -1};
    size_t from, to;
    bool found;

    TRY(jinja_want_text(r, sep, "the separator", &rule.by));
    if (!rule.by.n) return jinja_fail(r, "empty separator");
    TRY(jinja_step(r, t.n / 32));
    from = jinja_text_find(t, rule.by, 0);
    to = from == SIZE_MAX ? 0 : from + rule.by.n;
    found = last ? find_last(t, &rule, &from, &to) : from != SIZE_MAX;
    TRY(jinja_make_list(&r->arena, JINJA_TUPLE, 3, out));
    if (found) {
        TRY(add_part(r, *out, jinja_text_cut(t, 0, from)));
        TRY(add_part(r, *out, rule.by));
        return add_part(r, *out, jinja_text_cut(t, to, t.n - to));
    }
    TRY(add_part(r, *out, last ? none : t));
    TRY(add_part(r, *out, none));
    return add_part(r, *out, last ? t : none);
}

err jinja_method_partition(jinja_run *r, jinja_value on, const jinja_args *x, jinja_value *out)
{
    return part_in_three(r, on, x->at[0], false, out);
}

err jinja_method_rpartition(jinja_run *r, jinja_value on, const jinja_args *x, jinja_value *out)
{
    return part_in_three(r, on, x->at[0], true, out);
}

/* --- what a text is made of --- */

static bool is_letter_or_digit(uint32_t c)
{
    return jinja_case_is_letter(c) || jinja_case_is_digit(c);
}

/* All of it, and some of it. */
static bool is_all(jinja_text t, bool (*of)(uint32_t c))
{
    size_t length;

    for (size_t i = 0; i < t.n; i += length)
        if (!of(jinja_char(jinja_text_at(t) + i, t.n - i, &length))) return false;
    return t.n > 0;
}

#define ALL_OF(name, of)                                                       \
    err jinja_method_##name(jinja_run *r, jinja_value on, const jinja_args *x, \
                            jinja_value *out)                                  \
    {                                                                          \
        (void)x;                                                               \
        *out = jinja_bool(is_all(on.is.text, of));                             \
        return jinja_step(r, on.is.text.n / 32);                               \
    }
ALL_OF(isalnum, is_letter_or_digit)
ALL_OF(isalpha, jinja_case_is_letter)
ALL_OF(isdigit, jinja_case_is_digit)
ALL_OF(isspace, jinja_char_is_space)
#undef ALL_OF

err jinja_method_islower(jinja_run *r, jinja_value on, const jinja_args *x, jinja_value *out)
{
    return jinja_test_lower(r, on, x, out);
}

err jinja_method_isupper(jinja_run *r, jinja_value on, const jinja_args *x, jinja_value *out)
{
    return jinja_test_upper(r, on, x, out);
}

err jinja_method_is_integer(jinja_run *r, jinja_value on, const jinja_args *x, jinja_value *out)
{
    (void)r, (void)x;
    *out = jinja_bool(isfinite(on.is.real) && on.is.real == floor(on.is.real));
    return ERR_OK;
}

/* --- dicts and lists --- */

err jinja_method_get(jinja_run *r, jinja_value on, const jinja_args *x, jinja_value *out)
{
    const jinja_value *found;

    if (x->at[0].type == JINJA_ABSENT) return jinja_fail(r, "get expected at least 1 argument");
    if (!jinja_hashable(x->at[0]))
        return jinja_fail(r, "unhashable type: '%s'", jinja_type_name(x->at[0]));
    found = jinja_dict_find(on.is.dict, x->at[0]);
    *out = found ? *found : x->at[1].type == JINJA_ABSENT ? jinja_none() : x->at[1];
    return ERR_OK;
}

err jinja_method_items(jinja_run *r, jinja_value on, const jinja_args *x, jinja_value *out)
{
    (void)x;
    return jinja_views(r, on.is.dict, JINJA_ITEMS, out);
}

err jinja_method_keys(jinja_run *r, jinja_value on, const jinja_args *x, jinja_value *out)
{
    (void)x;
    return jinja_views(r, on.is.dict, JINJA_KEYS, out);
}

err jinja_method_values(jinja_run *r, jinja_value on, const jinja_args *x, jinja_value *out)
{
    (void)x;
    return jinja_views(r, on.is.dict, JINJA_VALUES, out);
}

/* Nothing can change either, so it may be the same. */
err jinja_method_copy(jinja_run *r, jinja_value on, const jinja_args *x, jinja_value *out)
{
    (void)r, (void)x;
    *out = on;
    return ERR_OK;
}

err jinja_method_list_count(jinja_run *r, jinja_value on, const jinja_args *x, jinja_value *out)
{
    int64_t n = 0;

    for (size_t i = 0; i < on.is.list->n; i++) n += jinja_equal(on.is.list->at[i], x->at[0]);
    *out = jinja_int(n);
    return jinja_step(r, on.is.list->n);
}

err jinja_method_list_index(jinja_run *r, jinja_value on, const jinja_args *x, jinja_value *out)
{
    TRY(jinja_step(r, on.is.list->n));
    for (size_t i = 0; i < on.is.list->n; i++)
        if (jinja_equal(on.is.list->at[i], x->at[0])) {
            *out = jinja_int((int64_t)i);
            return ERR_OK;
        }
    return jinja_fail(r, "the value is not in the list");
}
