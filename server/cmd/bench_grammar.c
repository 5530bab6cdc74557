/* bench_grammar.c - random answers in four forms, timed token by token.
 *
 * Whatever a model would choose, the work is the same: the mask of a state that is known, or a
 * walk over the vocabulary. Random tokens meet more states than a model does. */
#include "server/cmd/bench_grammar.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "engine/clock.h"
#include "engine/grammar/matcher.h"
#include "server/json.h"
#include "server/schema/guide.h"

enum { TOKENS = 2000, LONGEST = 400 };

static const struct {
    const char *name;
    guide_kind kind;
    const char *text; /* of JSON */
} forms[BENCH_GRAMMARS] = {
    {"object", GUIDE_OBJECT, "null"},
    {"schema", GUIDE_SCHEMA,
     "{\"type\":\"object\",\"properties\":{\"name\":{\"type\":\"string\"},\"age\":{\"type\":"
     "\"integer\",\"minimum\":0,\"maximum\":150},\"mail\":{\"type\":\"string\",\"format\":"
     "\"email\"},\"kids\":{\"type\":\"array\",\"items\":{\"$ref\":\"#\"}},\"kind\":{\"enum\":"
     "[\"a\",\"b\",\"c\"]},\"note\":{\"anyOf\":[{\"type\":\"string\"},{\"type\":\"null\"}]}},"
     "\"required\":[\"name\",\"age\",\"kids\",\"note\"],\"additionalProperties\":false}"},
    {"counted", GUIDE_SCHEMA,
     "{\"type\":\"array\",\"items\":{\"type\":\"string\",\"minLength\":20,\"maxLength\":500}}"},
    {"regex", GUIDE_REGEX, "\"([A-Z][a-z]+ )+[0-9]{4}-[0-9]{2}\\\\.\""}};

static int compare_doubles(const void *a, const void *b)
{
    const double x = *(const double *)a, y = *(const double *)b;

    return (x > y) - (x < y);
}

static uint64_t draw(uint64_t *state)
{
    uint64_t z = *state += 0x9e3779b97f4a7c15u;

    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    return z ^ (z >> 29);
}

/* One that is allowed, from a random place on. */
static int32_t choose(const uint64_t *mask, size_t V, uint64_t *state)
{
    size_t id = draw(state) % V;

    while (!matcher_allows(mask, (int32_t)id)) id = (id + 1) % V;
    return (int32_t)id;
}

/* A mask that was not known takes a walk: it shows in the count of masks that states keep. */
static void run(program *p, float *logits, double *seconds, bench_grammar *out)
{
    const size_t V = p->tree->V;
    uint64_t state = 1;
    matcher *m = NULL;
    size_t left = 0;

    for (out->tokens = 0; out->tokens < TOKENS;) {
        const uint64_t *mask;
        double start;
        uint32_t worst;

        if (!m && matcher_new(&m, p, false) != ERR_OK) break;
        if (!left) left = LONGEST;
        out->walks += !states_mask(p->states, matcher_state(m), &worst);
        memset(logits, 0, V * sizeof *logits);
        start = clock_seconds();
        mask = matcher_mask(m, --left);
        if (mask) matcher_apply(mask, logits, V);
        if (mask) matcher_accept(m, choose(mask, V, &state));
        seconds[out->tokens++] = clock_seconds() - start;
        if (mask && left && !matcher_is_complete(m)) continue;
        matcher_free(m);
        m = NULL;
        left = 0;
    }
    matcher_free(m);
}

static err compile(const token_tree *v, size_t i, program **out)
{
    guide g = {.kind = forms[i].kind, .param = "form"};
    fault why = {0};
    cJSON *value;
    grammar *made;
    bool good;

    if (!json_parse(&value, forms[i].text, strlen(forms[i].text), &why)) return why.e;
    g.value = value;
    good = guide_compile(&made, &g, v->single, &why);
    cJSON_Delete(value);
    return good ? program_new(out, made, v) : why.e;
}

static err measure(const token_tree *v, size_t i, bench_grammar *out)
{
    const double start = clock_seconds();
    float *logits = malloc(v->V * sizeof *logits);
    double *seconds = malloc(TOKENS * sizeof *seconds);
    program *p = NULL;
    err e = logits && seconds ? compile(v, i, &p) : ERR_NOMEM;

    if (e == ERR_OK) {
        *out = (bench_grammar){.name = forms[i].name,
                               .compile_ms = (clock_seconds() - start) * 1e3};
        run(p, logits, seconds, out);
        qsort(seconds, out->tokens, sizeof *seconds, compare_doubles);
        out->median_us = seconds[out->tokens / 2] * 1e6;
        out->p95_us = seconds[out->tokens * 95 / 100] * 1e6;
        out->worst_us = seconds[out->tokens - 1] * 1e6;
    }
    program_free(p);
    free(logits);
    free(seconds);
    return e;
}

err bench_grammar_run(const tokenizer *t, bench_grammar out[BENCH_GRAMMARS])
{
    token_tree *v = NULL;
    err e = token_tree_open(&v, t);

    for (size_t i = 0; i < BENCH_GRAMMARS && e == ERR_OK; i++) e = measure(v, i, &out[i]);
    token_tree_free(v);
    return e;
}
