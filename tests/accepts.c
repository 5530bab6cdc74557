/* accepts.c - grammars of tests. */
#include "tests/accepts.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/grammar/gbnf.h"
#include "engine/grammar/regex.h"
#include "engine/grammar/trigger.h"
#include "server/json.h"
#include "server/schema/schema.h"

static const char *const longer[] = {
    "\"",  "\":", "{\"", "\"}",      "\",\"", "true", "false", "null", "ab", "abc",
    "123", " a",  "}}",  "\xc3\xa4", "aaaa",  "a\"}", "<call", ">[",   "[1", "ab"};
enum { LONGER = sizeof longer / sizeof *longer, FIRST_BYTE = 2, FIRST_LONGER = 258 };

const token_tree *accepts_tree(void)
{
    static token_tree *v;
    static char bytes[256];
    gguf_text pieces[FIRST_LONGER + LONGER] = {{"</s>", 4}, {"<call>", 6}};
    uint8_t use[FIRST_LONGER + LONGER] = {TOKEN_TREE_END, TOKEN_TREE_CONTROL};

    if (v) return v;
    for (int b = 0; b < 256; b++) {
        bytes[b] = (char)b;
        pieces[FIRST_BYTE + b] = (gguf_text){&bytes[b], 1};
    }
    for (size_t i = 0; i < LONGER; i++)
        pieces[FIRST_LONGER + i] = (gguf_text){longer[i], strlen(longer[i])};
    if (token_tree_new(&v, pieces, use, FIRST_LONGER + LONGER) != ERR_OK) abort();
    return v;
}

static bool add_schema(nfa *a, const char *source, fault *why)
{
    cJSON *root;
    bool good;

    if (!json_parse(&root, source, strlen(source), why)) return false;
    good = schema_add(a, root, "schema", why);
    cJSON_Delete(root);
    return good;
}

static err add(nfa *a, accepts_kind kind, const char *source, fault *why)
{
    static const pattern_use whole = {.form = CHARSET_PLAIN, .max = PATTERN_UNBOUNDED};
    const size_t n = strlen(source);

    if (kind == ACCEPTS_GBNF) return gbnf_add(a, source, n, why);
    if (kind == ACCEPTS_REGEX)
        return regex_add(a, source, n, &whole, nfa_start(a, 0), nfa_end(a, 0), why);
    return add_schema(a, source, why) ? ERR_OK : why->e;
}

static program *open_all(accepts_kind kind, const char *source, const char *trigger, fault *why)
{
    const token_tree *v = accepts_tree();
    program *p = NULL;
    grammar *g;
    nfa *a;
    err e;

    *why = (fault){0};
    if (nfa_new(&a) != ERR_OK) abort();
    e = add(a, kind, source, why);
    if (e == ERR_OK && trigger) e = trigger_add(a, &trigger, 1);
    if (e != ERR_OK) nfa_free(a);
    if (e == ERR_OK) e = grammar_new(&g, a, v->single, why);
    if (e == ERR_OK) e = program_new(&p, g, v);
    why->e = e;
    return p;
}

program *accepts_open(accepts_kind kind, const char *source, fault *why)
{
    return open_all(kind, source, NULL, why);
}

program *accepts_open_behind(accepts_kind kind, const char *source, const char *trigger)
{
    fault why;

    return open_all(kind, source, trigger, &why);
}

/* Token after token of one byte each; *prefix: it may go on. */
static bool run(program *p, const char *text, bool *prefix)
{
    matcher *m;
    bool good = true, end;

    if (matcher_new(&m, p, false) != ERR_OK) abort();
    for (; *text && good; text++) good = matcher_accept(m, FIRST_BYTE + (uint8_t)*text);
    *prefix = good;
    end = good && matcher_may_end(m);
    matcher_free(m);
    return end;
}

bool accepts_text(program *p, const char *text)
{
    bool prefix;

    return run(p, text, &prefix);
}

bool accepts_prefix(program *p, const char *text)
{
    bool prefix;

    run(p, text, &prefix);
    return prefix;
}

bool accepts(accepts_kind kind, const char *source, const char *text)
{
    fault why;
    program *p = accepts_open(kind, source, &why);
    bool good;

    if (!p) {
        fprintf(stderr, "%s: %s %s\n", source, why.field, why.sentence);
        abort();
    }
    good = accepts_text(p, text);
    program_free(p);
    return good;
}
