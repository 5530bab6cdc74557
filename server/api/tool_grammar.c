/* tool_grammar.c - thoughts, text and calls, one behind the other.
 *
 *   auto      [thoughts]  text  (mark section  text)*
 *   forced    [thoughts]  (mark section)+                  one alone unless `parallel`
 *   document  [thoughts]  JSON | (mark section)+
 *
 *   section   open begin CALL end (between begin CALL end)* close      with blanks between
 *
 * Where thoughts are not opened by the prompt they may be left out. Text and thoughts that
 * begin alike are both open until it is clear which it was, so that no mark within thoughts
 * holds. */
#include "server/api/tool_grammar.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/grammar/json_rules.h"
#include "engine/grammar/trigger.h"
#include "server/schema/schema.h"

static const char assistant[] = "<|start|>assistant"; /* what a prompt of harmony ends with */

/* --- parts --- */

uint32_t tool_grammar_mark(const tool_maker *m, uint32_t from, const char *text)
{
    uint32_t to;

    if (!*text) return from;
    to = nfa_add_node(m->a);
    nfa_add_mark(m->a, from, text, to);
    return to;
}

uint32_t tool_grammar_text(const tool_maker *m, uint32_t from, const char *text)
{
    uint32_t to;

    if (!*text) return from;
    to = nfa_add_node(m->a);
    nfa_add_text(m->a, from, text, strlen(text), to);
    return to;
}

uint32_t tool_grammar_call(const tool_maker *m, uint32_t from, uint32_t rule)
{
    const uint32_t to = nfa_add_node(m->a);

    nfa_add_call(m->a, from, rule, to);
    return to;
}

/* --- a call --- */

typedef struct sections {
    tool_maker m;
    uint32_t rest[TOOL_MOST_FUNCTIONS]; /* what follows each function's name */
    uint32_t section;                   /* what follows the mark */
} sections;

static bool is_json(const tool_format *f)
{
    return f->shape == TOOL_JSON || f->shape == TOOL_LEAD_JSON;
}

/* What follows a name at once. */
static const char *behind_name(const tool_format *f)
{
    return is_json(f) ? "\"" : f->shape == TOOL_LEAD_PYTHON ? "(" : "";
}

static uint32_t add_call(const sections *s, uint32_t from)
{
    const tool_maker *m = &s->m;
    const tool_format *f = m->g->format;
    const uint32_t to = nfa_add_node(m->a);
    uint32_t at = from;

    if (is_json(f)) {
        at = tool_grammar_call(m, tool_grammar_text(m, at, "{"), m->blank);
        at = tool_grammar_call(m, tool_grammar_text(m, at, "\"name\":"), m->blank);
        at = tool_grammar_text(m, at, "\"");
    }
    for (size_t i = 0; i < m->g->n; i++) {
        uint32_t name = tool_grammar_text(m, at, m->g->functions[i].name);

        name = tool_grammar_text(m, name, behind_name(f));
        nfa_add_call(m->a, name, s->rest[i], to);
    }
    return to;
}

static bool has_more(const tool_maker *m)
{
    const tool_format *f = m->g->format;

    return m->g->parallel && (*f->between || (*f->close && *f->begin));
}

/* From behind a call to the section's end, with more calls where there may be some. */
static void add_more(const sections *s, uint32_t from, uint32_t to)
{
    const tool_maker *m = &s->m;
    const tool_format *f = m->g->format;
    const bool ends_here = !*f->close;
    uint32_t at = from;

    if (*f->end) at = tool_grammar_mark(m, tool_grammar_call(m, at, m->blank), f->end);
    if (ends_here) nfa_add_skip(m->a, at, to);
    if (has_more(m)) {
        uint32_t next = tool_grammar_call(m, at, m->blank);

        if (*f->between)
            next = tool_grammar_call(m, tool_grammar_mark(m, next, f->between), m->blank);
        next = tool_grammar_call(m, tool_grammar_mark(m, next, f->begin), m->blank);
        nfa_add_skip(m->a, add_call(s, next), from);
    }
    if (!ends_here)
        nfa_add_skip(m->a, tool_grammar_mark(m, tool_grammar_call(m, at, m->blank), f->close),
                     to);
}

static void add_section(sections *s)
{
    const tool_maker *m = &s->m;
    const tool_format *f = m->g->format;
    uint32_t at;

    s->section = nfa_add_rule(m->a);
    at = nfa_start(m->a, s->section);
    if (f->shape != TOOL_HARMONY) at = tool_grammar_call(m, at, m->blank);
    if (*f->open) at = tool_grammar_call(m, tool_grammar_mark(m, at, f->open), m->blank);
    if (*f->begin) at = tool_grammar_call(m, tool_grammar_mark(m, at, f->begin), m->blank);
    at = add_call(s, at);
    if (f->shape != TOOL_HARMONY) {
        add_more(s, at, nfa_end(m->a, s->section));
        return;
    }
    nfa_add_skip(m->a, at, nfa_end(m->a, s->section));
    nfa_add_skip(m->a, tool_grammar_mark(m, at, f->end), nfa_end(m->a, s->section));
}

/* --- text with marks in it --- */

/* What an answer may begin with in place of a mark, and what follows then. */
static size_t list_leads(const sections *s, trigger_rule *list, char (*texts)[TOOL_LEAD_BYTES])
{
    const tool_maker *m = &s->m;
    const tool_format *f = m->g->format;
    size_t n = 0;

    for (size_t i = 0; tool_format_leads(f) && i < m->g->n; i++) {
        const uint32_t rule = nfa_add_rule(m->a), end = nfa_end(m->a, rule);
        const uint32_t behind = tool_grammar_call(m, nfa_start(m->a, rule), s->rest[i]);

        if (f->shape == TOOL_JSON)
            nfa_add_skip(m->a, behind, end);
        else
            add_more(s, behind, end);
        for (int k = 0; k < TOOL_LEADS; k++)
            if (tool_format_lead(f, k, m->g->functions[i].name, texts[n]))
                list[n] = (trigger_rule){texts[n], rule}, n++;
    }
    return n;
}

static size_t list_marks(const sections *s, trigger_rule *list)
{
    const tool_format *f = s->m.g->format;

    list[0] = (trigger_rule){f->mark, s->section};
    if (f->shape != TOOL_HARMONY) return *f->mark != '\0';
    list[0].text = "<|channel|>commentary to=functions.";
    list[1] = (trigger_rule){"<|start|>assistant to=functions.", s->section};
    return 2;
}

/* Behind a call without its mark the answer ends: small models say such a one again and again,
 * and no template writes two. */
static err add_free(const sections *s, uint32_t from, uint32_t to)
{
    const bool harmony = s->m.g->format->shape == TOOL_HARMONY;
    const size_t most = TOOL_LEADS * s->m.g->n + 1;
    char(*texts)[TOOL_LEAD_BYTES] = calloc(most, sizeof *texts);
    trigger_rule marks[2], *leads = calloc(most, sizeof *leads);
    trigger_use use = {.from = from,
                       .to = to,
                       .at = marks,
                       .leading = leads,
                       .again = s->m.g->parallel && !harmony,
                       .leads_once = s->m.g->format->shape == TOOL_JSON,
                       .behind = harmony ? assistant : NULL};
    err e = texts && leads ? ERR_OK : ERR_NOMEM;

    if (e == ERR_OK) {
        use.n_leading = list_leads(s, leads, texts);
        use.n = list_marks(s, marks);
        e = trigger_add_text(s->m.a, &use);
    }
    free(texts);
    free(leads);
    return e == ERR_INVALID ? ERR_TOOMANY : e;
}

/* --- calls and nothing else --- */

static uint32_t add_mark(const sections *s, uint32_t from)
{
    const tool_maker *m = &s->m;
    const tool_format *f = m->g->format;
    uint32_t at;

    if (f->shape == TOOL_HARMONY) {
        at = nfa_add_node(m->a);
        nfa_add_skip(m->a, tool_grammar_mark(m, from, "<|channel|>commentary to=functions."),
                     at);
        nfa_add_skip(m->a, tool_grammar_mark(m, from, " to=functions."), at);
        return at;
    }
    return tool_grammar_mark(m, tool_grammar_call(m, from, m->blank), f->mark);
}

/* The texts that lead are what the parser knows them by: no blanks come before or within. */
static err add_led(const sections *s, uint32_t from, uint32_t to)
{
    const size_t most = TOOL_LEADS * s->m.g->n;
    char(*texts)[TOOL_LEAD_BYTES] = calloc(most, sizeof *texts);
    trigger_rule *leads = calloc(most, sizeof *leads);
    const err e = texts && leads ? ERR_OK : ERR_NOMEM;
    const size_t n = e == ERR_OK ? list_leads(s, leads, texts) : 0;

    for (size_t i = 0; i < n; i++)
        nfa_add_call(s->m.a, tool_grammar_text(&s->m, from, leads[i].text), leads[i].rule, to);
    free(texts);
    free(leads);
    return e;
}

static err add_calls(const sections *s, uint32_t from, uint32_t to)
{
    const tool_maker *m = &s->m;
    const tool_format *f = m->g->format;
    const bool alone = f->shape == TOOL_XML || (!*f->close && !*f->between);
    uint32_t behind;

    if (f->shape == TOOL_LEAD_JSON || f->shape == TOOL_LEAD_PYTHON) return add_led(s, from, to);
    behind = tool_grammar_call(m, add_mark(s, from), s->section);
    nfa_add_skip(m->a, behind, to);
    if (m->g->parallel && alone && f->shape != TOOL_HARMONY)
        nfa_add_skip(m->a, tool_grammar_call(m, add_mark(s, behind), s->section), behind);
    return ERR_OK;
}

static bool add_document(const sections *s, uint32_t from, uint32_t to)
{
    const tool_maker *m = &s->m;
    const schema_use use = {
        .root = m->g->document, .part = m->g->document, .path = "response_format"};
    const uint32_t rule = nfa_add_rule(m->a);

    nfa_add_call(m->a, from, rule, to);
    return schema_add_rule(m->a, rule, &use, m->why);
}

/* --- thoughts --- */

/* Any text until a mark, and that. */
static err add_until(const tool_maker *m, uint32_t from, const char *mark, uint32_t to)
{
    const trigger_rule stop = {mark, m->nothing};

    return trigger_add_text(
        m->a, &(trigger_use){.from = from, .to = to, .at = &stop, .n = 1, .must = true});
}

/* The analysis of harmony, and the beginning of the message behind it. */
static err add_analysis(const tool_maker *m, uint32_t from, uint32_t to)
{
    const uint32_t behind = nfa_add_node(m->a);
    const uint32_t open = tool_grammar_mark(m, from, "<|channel|>analysis<|message|>");

    nfa_add_skip(m->a, from, to);
    nfa_add_skip(m->a, tool_grammar_mark(m, behind, assistant), to);
    return add_until(m, open, "<|end|>", behind);
}

static err add_thoughts(const tool_maker *m, uint32_t from, uint32_t to)
{
    const tool_thoughts *t = &m->g->thoughts;
    uint32_t at = from;

    if (m->g->format->shape == TOOL_HARMONY && (m->g->forced || m->g->document))
        return add_analysis(m, from, to);
    if (!t->open || !m->g->opened) nfa_add_skip(m->a, from, to);
    if (!t->open) return ERR_OK;
    if (!m->g->opened) at = tool_grammar_mark(m, tool_grammar_call(m, from, m->blank), t->open);
    return add_until(m, at, t->close, to);
}

/* --- all of it --- */

static bool add_rules(sections *s)
{
    const tool_grammar *g = s->m.g;

    for (size_t i = 0; i < g->n; i++)
        if (!tool_arguments_add(&s->m, &g->functions[i], &s->rest[i])) return false;
    add_section(s);
    return true;
}

static bool add_answer(sections *s)
{
    const tool_grammar *g = s->m.g;
    nfa *a = s->m.a;
    const uint32_t begin = nfa_add_node(a), end = nfa_end(a, 0);
    err e = add_thoughts(&s->m, nfa_start(a, 0), begin);

    if (e == ERR_OK && !g->forced && !g->document) e = add_free(s, begin, end);
    if (e == ERR_OK && (g->forced || g->document)) e = add_calls(s, begin, end);
    if (e == ERR_OK && g->document && !g->forced &&
        !add_document(s, tool_grammar_call(&s->m, begin, s->m.blank), end))
        return false;
    if (e == ERR_OK) e = nfa_failure(a);
    if (e == ERR_TOOMANY)
        return fault_refuse(s->m.why, ERR_INVALID, "tools", "'tools' is too large a grammar.");
    return e == ERR_OK || fault_fail(s->m.why, e);
}

bool tool_grammar_add(nfa *a, const tool_grammar *g, fault *why)
{
    const json_rules j = json_rules_add(a);
    sections *s = calloc(1, sizeof *s);
    bool good;

    if (!s) return fault_fail(why, ERR_NOMEM);
    s->m = (tool_maker){.a = a,
                        .g = g,
                        .blank = j.space,
                        .object = j.object,
                        .value = j.value,
                        .nothing = nfa_add_rule(a),
                        .why = why};
    nfa_add_skip(a, nfa_start(a, s->m.nothing), nfa_end(a, s->m.nothing));
    good = add_rules(s) && add_answer(s);
    free(s);
    return good;
}
