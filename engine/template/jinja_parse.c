/* jinja_parse.c - statements: what stands between {% and %}, and the bodies between them.
 *
 *   {% if a %} BODY {% elif b %} BODY {% else %} BODY {% endif %}
 *              |- parse_body -|  stops before the words that may end it
 *
 * Each tag has a row in jinja_tags.def. A word without a row is refused by name. */
#include "engine/template/jinja_parse.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "engine/template/jinja_parse_state.h"

enum { DEEPEST = 300 };

/* --- tokens and nodes --- */

err jinja_parse_fail(jinja_parser *p, const char *format, ...)
{
    va_list list;

    va_start(list, format);
    p->why->line = p->now->line;
    vsnprintf(p->why->text, sizeof p->why->text, format, list);
    va_end(list);
    return ERR_TEMPLATE;
}

err jinja_parse_node(jinja_parser *p, jinja_node_kind kind, jinja_node **out)
{
    jinja_node *x = jinja_arena_take(&p->t->arena, sizeof *x);

    if (!x) return ERR_NOMEM;
    x->kind = kind;
    x->line = p->now->line;
    *out = x;
    return ERR_OK;
}

err jinja_parse_id(jinja_parser *p, const char *name, size_t n, size_t *id)
{
    const jinja_value *found;
    jinja_value key;

    TRY(jinja_make_text(&p->t->arena, name, n, true, &key));
    found = jinja_dict_find(p->t->names, key);
    *id = found ? (size_t)found->is.number : p->t->names->n;
    if (found) return ERR_OK;
    return jinja_dict_set(&p->t->arena, p->t->names, key, jinja_int((int64_t)*id));
}

static bool token_is(const jinja_token *t, jinja_token_kind kind, const char *text)
{
    return t->kind == kind && t->n == strlen(text) && memcmp(t->at, text, t->n) == 0;
}

bool jinja_parse_is_name(const jinja_parser *p, const char *word)
{
    return token_is(p->now, JINJA_NAME, word);
}

bool jinja_parse_is(const jinja_parser *p, const char *operator)
{
    return token_is(p->now, JINJA_OPERATOR, operator);
}

bool jinja_parse_accept_name(jinja_parser *p, const char *word)
{
    if (!jinja_parse_is_name(p, word)) return false;
    p->now++;
    return true;
}

bool jinja_parse_accept(jinja_parser *p, const char *operator)
{
    if (!jinja_parse_is(p, operator)) return false;
    p->now++;
    return true;
}

/* How a person would say what comes next. */
static const char *describe(const jinja_parser *p, char text[48])
{
    const jinja_token *t = p->now;

    if (t->kind == JINJA_END) return "end of template";
    if (t->kind == JINJA_DATA) return "text";
    if (t->kind == JINJA_END_BLOCK || t->kind == JINJA_END_VALUE) return "end of the tag";
    snprintf(text, 48, "'%.*s'", t->n > 40 ? 40 : (int)t->n, t->at);
    return text;
}

err jinja_parse_expect(jinja_parser *p, const char *operator)
{
    char text[48];

    if (jinja_parse_accept(p, operator)) return ERR_OK;
    return jinja_parse_fail(p, "expected '%s', got %s", operator, describe(p, text));
}

err jinja_parse_name(jinja_parser *p, const char **name, size_t *id)
{
    char text[48];

    if (p->now->kind != JINJA_NAME)
        return jinja_parse_fail(p, "expected a name, got %s", describe(p, text));
    *name = jinja_arena_copy(&p->t->arena, p->now->at, p->now->n);
    if (!*name) return ERR_NOMEM;
    TRY(jinja_parse_id(p, *name, p->now->n, id));
    p->now++;
    return ERR_OK;
}

static err expect_word(jinja_parser *p, const char *word)
{
    char text[48];

    if (jinja_parse_accept_name(p, word)) return ERR_OK;
    return jinja_parse_fail(p, "expected '%s', got %s", word, describe(p, text));
}

static err end_block(jinja_parser *p)
{
    char text[48];

    if (p->now->kind != JINJA_END_BLOCK)
        return jinja_parse_fail(p, "unexpected %s", describe(p, text));
    p->now++;
    return ERR_OK;
}

/* --- bodies --- */

static err parse_statement(jinja_parser *p, jinja_node **out);

static err parse_data(jinja_parser *p, jinja_node **out)
{
    jinja_node *x;

    TRY(jinja_parse_node(p, JINJA_NODE_DATA, &x));
    TRY(jinja_make_text(&p->t->arena, p->now->at, p->now->n, true, &x->value));
    p->now++;
    *out = x;
    return ERR_OK;
}

static err parse_print(jinja_parser *p, jinja_node **out)
{
    char text[48];
    jinja_node *x;

    p->now++;
    TRY(jinja_parse_node(p, JINJA_NODE_PRINT, &x));
    if (p->now->kind == JINJA_END_VALUE) return jinja_parse_fail(p, "expected an expression");
    TRY(jinja_expr_tuple(p, (jinja_tuple_rule){0}, &x->a));
    if (p->now->kind != JINJA_END_VALUE)
        return jinja_parse_fail(p, "unexpected %s", describe(p, text));
    p->now++;
    *out = x;
    return ERR_OK;
}

/* Is what follows a block that begins with one of the words, "else endif"? */
static bool at_word(const jinja_parser *p, const char *words)
{
    const jinja_token *name = p->now + 1;

    if (p->now->kind != JINJA_BEGIN_BLOCK || name->kind != JINJA_NAME) return false;
    for (size_t n; *words; words += n + (words[n] == ' ')) {
        n = strcspn(words, " ");
        if (name->n == n && memcmp(name->at, words, n) == 0) return true;
    }
    return false;
}

/* Up to one of the words, whose token is then the next; no words: the template's end. */
static err parse_body(jinja_parser *p, const char *words, jinja_node **out)
{
    jinja_node **last = out;

    if (++p->depth > DEEPEST) return jinja_parse_fail(p, "statements are nested too deeply");
    *out = NULL;
    while (p->now->kind != JINJA_END && !at_word(p, words)) {
        if (p->now->kind == JINJA_DATA)
            TRY(parse_data(p, last));
        else if (p->now->kind == JINJA_BEGIN_VALUE)
            TRY(parse_print(p, last));
        else
            TRY(parse_statement(p, last));
        while (*last) last = &(*last)->next;
    }
    p->depth--;
    if (!*words) return ERR_OK;
    if (p->now->kind == JINJA_END)
        return jinja_parse_fail(p, "unexpected end of template, expected '%s'",
                                strrchr(words, ' ') ? strrchr(words, ' ') + 1 : words);
    p->now++; /* the block's beginning */
    return ERR_OK;
}

/* A body that only its end ends. */
static err parse_whole(jinja_parser *p, const char *end, jinja_node **out)
{
    TRY(end_block(p));
    TRY(parse_body(p, end, out));
    p->now++;
    return end_block(p);
}

/* --- statements --- */

static err parse_if(jinja_parser *p, jinja_node **out)
{
    jinja_node *x;

    TRY(jinja_parse_node(p, JINJA_NODE_IF, &x));
    TRY(jinja_expr_tuple(p, (jinja_tuple_rule){.no_condition = true}, &x->a));
    TRY(end_block(p));
    p->conditions++;
    TRY(parse_body(p, "elif else endif", &x->b));
    *out = x;
    while (jinja_parse_accept_name(p, "elif")) {
        TRY(jinja_parse_node(p, JINJA_NODE_IF, &x->c));
        x = x->c;
        TRY(jinja_expr_tuple(p, (jinja_tuple_rule){.no_condition = true}, &x->a));
        TRY(end_block(p));
        TRY(parse_body(p, "elif else endif", &x->b));
    }
    if (jinja_parse_accept_name(p, "else")) {
        TRY(end_block(p));
        TRY(parse_body(p, "endif", &x->c));
    }
    p->conditions--;
    p->now++;
    return end_block(p);
}

/* What may stand left of "=" or "in": a name, several, or an attribute of a namespace. */
static err parse_target_name(jinja_parser *p, bool member, jinja_node **out)
{
    jinja_node *x, *items;
    size_t id;

    if (jinja_parse_accept(p, "(")) {
        TRY(jinja_expr_tuple(p, (jinja_tuple_rule){0}, &items));
        *out = items;
        return jinja_parse_expect(p, ")");
    }
    TRY(jinja_parse_node(p, JINJA_NODE_NAME, &x));
    TRY(jinja_parse_name(p, &x->name, &x->id));
    *out = x;
    if (!member || !jinja_parse_accept(p, ".")) return ERR_OK;
    x->kind = JINJA_NODE_MEMBER;
    TRY(jinja_parse_node(p, JINJA_NODE_NAME, &x->a));
    return jinja_parse_name(p, &x->a->name, &id);
}

/* Names only, tuples of them, or members. */
static bool is_target(const jinja_node *x)
{
    if (x->kind != JINJA_NODE_TUPLE)
        return x->kind == JINJA_NODE_NAME || x->kind == JINJA_NODE_MEMBER;
    for (const jinja_node *i = x->a; i; i = i->next)
        if (!is_target(i)) return false;
    return x->a != NULL;
}

static err parse_target(jinja_parser *p, bool member, jinja_node **out)
{
    jinja_node *first, **last, *tuple;

    TRY(parse_target_name(p, member, &first));
    *out = first;
    if (jinja_parse_is(p, ",")) {
        TRY(jinja_parse_node(p, JINJA_NODE_TUPLE, &tuple));
        tuple->a = first;
        last = &first->next;
        while (jinja_parse_accept(p, ",")) {
            if (jinja_parse_is(p, "=") || jinja_parse_is_name(p, "in")) break;
            TRY(parse_target_name(p, member, last));
            last = &(*last)->next;
        }
        *out = tuple;
    }
    if (is_target(*out)) return ERR_OK;
    return jinja_parse_fail(p, "cannot assign to what stands there");
}

static err parse_for(jinja_parser *p, jinja_node **out)
{
    jinja_node *x;

    TRY(jinja_parse_node(p, JINJA_NODE_FOR, &x));
    TRY(parse_target(p, false, &x->a));
    TRY(expect_word(p, "in"));
    TRY(jinja_expr_tuple(p, (jinja_tuple_rule){true, "recursive"}, &x->b));
    if (jinja_parse_accept_name(p, "if")) TRY(jinja_expr(p, true, &x->d));
    x->flag = jinja_parse_accept_name(p, "recursive");
    TRY(end_block(p));
    p->loops++;
    TRY(parse_body(p, "else endfor", &x->c));
    p->loops--;
    *out = x;
    if (jinja_parse_accept_name(p, "else")) return parse_whole(p, "endfor", &x->e);
    p->now++;
    return end_block(p);
}

static err parse_set(jinja_parser *p, jinja_node **out)
{
    jinja_node *x, *hole;

    TRY(jinja_parse_node(p, JINJA_NODE_SET, &x));
    TRY(parse_target(p, true, &x->a));
    *out = x;
    if (jinja_parse_accept(p, "=")) {
        TRY(jinja_expr_tuple(p, (jinja_tuple_rule){0}, &x->b));
        return end_block(p);
    }
    x->kind = JINJA_NODE_SET_BLOCK;
    TRY(jinja_parse_node(p, JINJA_NODE_HOLE, &hole));
    TRY(jinja_expr_filters(p, hole, false, &x->b));
    return parse_whole(p, "endset", &x->c);
}

/* (a, b=1): parameters of a macro, or of a caller. */
static err parse_parameters(jinja_parser *p, jinja_node **out)
{
    bool defaults = false;

    *out = NULL;
    TRY(jinja_parse_expect(p, "("));
    while (!jinja_parse_accept(p, ")")) {
        if (*out) TRY(jinja_parse_expect(p, ","));
        if (*out) out = &(*out)->next;
        if (jinja_parse_is(p, ")")) continue;
        TRY(jinja_parse_node(p, JINJA_NODE_PARAMETER, out));
        TRY(jinja_parse_name(p, &(*out)->name, &(*out)->id));
        if (jinja_parse_accept(p, "=")) {
            defaults = true;
            TRY(jinja_expr(p, true, &(*out)->a));
        } else if (defaults)
            return jinja_parse_fail(p, "a parameter without default follows one with one");
    }
    return ERR_OK;
}

/* A body that has its own variables: no loop around it can be left from inside. */
static err parse_macro_body(jinja_parser *p, jinja_node *x, const char *end)
{
    const int loops = p->loops;
    const bool extras = p->extras, caller = p->caller;

    p->loops = 0;
    p->extras = p->caller = false;
    TRY(parse_whole(p, end, &x->c));
    x->flag = p->extras;
    x->op = p->caller ? 'c' : '\0';
    p->loops = loops;
    p->extras = extras;
    p->caller = caller;
    return ERR_OK;
}

static err parse_macro(jinja_parser *p, jinja_node **out)
{
    jinja_node *x;

    TRY(jinja_parse_node(p, JINJA_NODE_MACRO, &x));
    TRY(jinja_parse_name(p, &x->name, &x->id));
    TRY(parse_parameters(p, &x->a));
    *out = x;
    return parse_macro_body(p, x, "endmacro");
}

static err parse_call(jinja_parser *p, jinja_node **out)
{
    jinja_node *x, *caller;

    TRY(jinja_parse_node(p, JINJA_NODE_CALL_BLOCK, &x));
    TRY(jinja_parse_node(p, JINJA_NODE_MACRO, &caller));
    caller->name = "caller";
    if (jinja_parse_is(p, "(")) TRY(parse_parameters(p, &caller->a));
    TRY(jinja_expr(p, true, &x->a));
    if (x->a->kind != JINJA_NODE_CALL) return jinja_parse_fail(p, "'call' needs a call");
    x->b = caller;
    *out = x;
    return parse_macro_body(p, caller, "endcall");
}

static err parse_filter(jinja_parser *p, jinja_node **out)
{
    jinja_node *x, *hole;

    TRY(jinja_parse_node(p, JINJA_NODE_FILTER, &x));
    TRY(jinja_parse_node(p, JINJA_NODE_HOLE, &hole));
    TRY(jinja_expr_filters(p, hole, true, &x->b));
    *out = x;
    return parse_whole(p, "endfilter", &x->c);
}

static err parse_with(jinja_parser *p, jinja_node **out)
{
    jinja_node *x, **last;

    TRY(jinja_parse_node(p, JINJA_NODE_WITH, &x));
    last = &x->a;
    while (p->now->kind != JINJA_END_BLOCK) {
        if (x->a) TRY(jinja_parse_expect(p, ","));
        TRY(jinja_parse_node(p, JINJA_NODE_SET, last));
        TRY(parse_target_name(p, false, &(*last)->a));
        TRY(jinja_parse_expect(p, "="));
        TRY(jinja_expr(p, true, &(*last)->b));
        last = &(*last)->next;
    }
    *out = x;
    return parse_whole(p, "endwith", &x->c);
}

static err parse_generation(jinja_parser *p, jinja_node **out)
{
    TRY(jinja_parse_node(p, JINJA_NODE_GROUP, out));
    return parse_whole(p, "endgeneration", &(*out)->c);
}

static err parse_leave(jinja_parser *p, jinja_node_kind kind, const char *word,
                       jinja_node **out)
{
    if (!p->loops) return jinja_parse_fail(p, "'%s' outside of a loop", word);
    TRY(jinja_parse_node(p, kind, out));
    return end_block(p);
}

static err parse_break(jinja_parser *p, jinja_node **out)
{
    return parse_leave(p, JINJA_NODE_BREAK, "break", out);
}

static err parse_continue(jinja_parser *p, jinja_node **out)
{
    return parse_leave(p, JINJA_NODE_CONTINUE, "continue", out);
}

/* --- one of them, and all --- */

static const struct {
    const char *name;
    err (*parse)(jinja_parser *p, jinja_node **out);
} tags[] = {
#define TAG(name, parse) {name, parse},
#include "engine/template/jinja_tags.def"
#undef TAG
};

/* Statements that real templates do not have (include, extends, autoescape ...) end here, as
 * does an "endif" too many. */
static err parse_statement(jinja_parser *p, jinja_node **out)
{
    char text[48];

    p->now++;
    for (size_t i = 0; i < sizeof tags / sizeof *tags; i++)
        if (jinja_parse_accept_name(p, tags[i].name)) return tags[i].parse(p, out);
    return jinja_parse_fail(p, "unknown statement %s", describe(p, text));
}

static err number_names(jinja_parser *p)
{
    TRY(jinja_parse_id(p, "loop", 4, &p->t->loop));
    TRY(jinja_parse_id(p, "caller", 6, &p->t->caller));
    TRY(jinja_parse_id(p, "varargs", 7, &p->t->varargs));
    return jinja_parse_id(p, "kwargs", 6, &p->t->kwargs);
}

err jinja_parse(struct jinja *t, const char *source, size_t n, jinja_fault *why)
{
    jinja_parser p = {.t = t, .why = why};
    jinja_token *tokens;
    jinja_value names;

    TRY(jinja_lex(&t->arena, source, n, &tokens, why));
    TRY(jinja_make_dict(&t->arena, &names));
    t->names = names.is.dict;
    p.now = tokens;
    TRY(number_names(&p));
    return parse_body(&p, "", &t->body);
}
