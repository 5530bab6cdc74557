/* json_rules.c - RFC 8259, less what a model could get lost in. */
#include "engine/grammar/json_rules.h"

#include "engine/grammar/charset.h"

static void add_byte(nfa *a, uint32_t from, char c, uint32_t to)
{
    nfa_add_bytes(a, from, (uint8_t)c, (uint8_t)c, to);
}

static void add_space(nfa *a, uint32_t rule)
{
    enum { INDENT = 20 };
    const uint32_t from = nfa_start(a, rule), to = nfa_end(a, rule);
    uint32_t line = nfa_add_node(a);

    nfa_add_skip(a, from, to);
    add_byte(a, from, ' ', to);
    add_byte(a, from, '\n', line);
    add_byte(a, line, '\n', to);
    for (int i = 0; i < INDENT; i++) {
        const uint32_t next = nfa_add_node(a);

        nfa_add_skip(a, line, to);
        add_byte(a, line, ' ', next);
        add_byte(a, line, '\t', next);
        line = next;
    }
    nfa_add_skip(a, line, to);
}

static void add_string(nfa *a, uint32_t rule)
{
    const uint32_t inside = nfa_add_node(a);
    charset any = {0};
    err e = charset_add(&any, 0, CHARSET_LAST);

    if (e != ERR_OK) a->failure = e;
    add_byte(a, nfa_start(a, rule), '"', inside);
    charset_add_edge(a, &any, CHARSET_JSON_FREE, charset_add_rule(a, &any, CHARSET_JSON_FREE),
                     inside, inside);
    add_byte(a, inside, '"', nfa_end(a, rule));
    charset_free(&any);
}

/* Up to `most` more digits, before and behind each of which `to` may follow. */
static void add_digits(nfa *a, uint32_t from, int most, uint32_t to)
{
    for (int i = 0; i < most; i++) {
        const uint32_t next = nfa_add_node(a);

        nfa_add_skip(a, from, to);
        nfa_add_bytes(a, from, '0', '9', next);
        from = next;
    }
    nfa_add_skip(a, from, to);
}

static void add_integer(nfa *a, uint32_t rule)
{
    const uint32_t from = nfa_start(a, rule), to = nfa_end(a, rule);
    const uint32_t first = nfa_add_node(a), more = nfa_add_node(a);

    nfa_add_skip(a, from, first);
    add_byte(a, from, '-', first);
    add_byte(a, first, '0', to);
    nfa_add_bytes(a, first, '1', '9', more);
    add_digits(a, more, JSON_RULES_DIGITS - 1, to);
}

static void add_number(nfa *a, const json_rules *j)
{
    const uint32_t from = nfa_start(a, j->number), to = nfa_end(a, j->number);
    const uint32_t whole = nfa_add_node(a), point = nfa_add_node(a), digit = nfa_add_node(a);
    const uint32_t mantissa = nfa_add_node(a), sign = nfa_add_node(a), power = nfa_add_node(a);
    const uint32_t more = nfa_add_node(a);

    nfa_add_call(a, from, j->integer, whole);
    nfa_add_skip(a, whole, mantissa);
    add_byte(a, whole, '.', point);
    nfa_add_bytes(a, point, '0', '9', digit);
    add_digits(a, digit, JSON_RULES_DIGITS - 1, mantissa);
    nfa_add_skip(a, mantissa, to);
    add_byte(a, mantissa, 'e', sign);
    add_byte(a, mantissa, 'E', sign);
    nfa_add_skip(a, sign, power);
    add_byte(a, sign, '+', power);
    add_byte(a, sign, '-', power);
    nfa_add_bytes(a, power, '0', '9', more);
    add_digits(a, more, 1, to);
}

/* A member of any object; its colon follows the name at once. */
static uint32_t add_member(nfa *a, const json_rules *j)
{
    const uint32_t rule = nfa_add_rule(a), colon = nfa_add_node(a), behind = nfa_add_node(a);
    const uint32_t value = nfa_add_node(a);

    nfa_add_call(a, nfa_start(a, rule), j->string, colon);
    add_byte(a, colon, ':', behind);
    nfa_add_call(a, behind, j->space, value);
    nfa_add_call(a, value, j->value, nfa_end(a, rule));
    return rule;
}

void json_rules_add_list(nfa *a, const json_rules *j, const char *marks, uint32_t element,
                         uint32_t rule)
{
    const uint32_t open = nfa_add_node(a), first = nfa_add_node(a), behind = nfa_add_node(a);
    const uint32_t comma = nfa_add_node(a), next = nfa_add_node(a), again = nfa_add_node(a);
    const uint32_t end = nfa_end(a, rule);

    add_byte(a, nfa_start(a, rule), marks[0], open);
    nfa_add_call(a, open, j->space, first);
    add_byte(a, first, marks[1], end);
    nfa_add_call(a, first, element, behind);
    nfa_add_call(a, behind, j->space, comma);
    add_byte(a, comma, marks[1], end);
    add_byte(a, comma, ',', next);
    nfa_add_call(a, next, j->space, again);
    nfa_add_call(a, again, element, behind);
}

static void add_value(nfa *a, const json_rules *j)
{
    const uint32_t from = nfa_start(a, j->value), to = nfa_end(a, j->value);

    nfa_add_call(a, from, j->object, to);
    nfa_add_call(a, from, j->array, to);
    nfa_add_call(a, from, j->string, to);
    nfa_add_call(a, from, j->number, to);
    nfa_add_text(a, from, "true", 4, to);
    nfa_add_text(a, from, "false", 5, to);
    nfa_add_text(a, from, "null", 4, to);
}

json_rules json_rules_add(nfa *a)
{
    const json_rules j = {.space = nfa_add_rule(a),
                          .string = nfa_add_rule(a),
                          .number = nfa_add_rule(a),
                          .integer = nfa_add_rule(a),
                          .value = nfa_add_rule(a),
                          .object = nfa_add_rule(a),
                          .array = nfa_add_rule(a)};

    add_space(a, j.space);
    add_string(a, j.string);
    add_integer(a, j.integer);
    add_number(a, &j);
    add_value(a, &j);
    json_rules_add_list(a, &j, "[]", j.value, j.array);
    json_rules_add_list(a, &j, "{}", add_member(a, &j), j.object);
    return j;
}
