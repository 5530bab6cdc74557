/* fuzz_guide.c - any text as a schema, a grammar or a regular expression, and a run of what it
 * is.
 *
 * The first byte chooses the kind. What is refused must say why; what compiles must be able to
 * end: drawn token by token within a budget, each answer must be complete when that is used up.
 * Seeds: tests/fuzz/guide/. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "engine/utf8.h"
#include "tests/accepts.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void must(bool holds)
{
    if (!holds) abort();
}

/* Tokens in turn from a place that the input chooses, as long as some are allowed. */
static void run(program *p, uint32_t seed)
{
    const token_tree *t = accepts_tree();
    size_t left = program_shortest(p) + seed % 32;
    matcher *m;

    if (left > 300) return; /* a walk for each would take seconds */
    must(matcher_new(&m, p, false) == ERR_OK);
    for (; left && !matcher_is_complete(m); left--) {
        const uint64_t *mask = matcher_mask(m, left - 1);
        size_t id = (seed = seed * 1664525u + 1013904223u) % t->V;

        must(mask != NULL);
        while (!matcher_allows(mask, (int32_t)id)) id = (id + 1) % t->V;
        if (t->use[id] == TOKEN_TREE_END) break;
        must(matcher_accept(m, (int32_t)id));
    }
    must(matcher_may_end(m));
    matcher_free(m);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char *text;
    fault why;
    program *p;

    if (size < 2 || size > 4096 || memchr(data, 0, size)) return 0;
    if (!utf8_valid((const char *)data, size)) return 0;
    text = malloc(size);
    if (!text) return 0;
    memcpy(text, data + 1, size - 1);
    text[size - 1] = '\0';
    p = accepts_open((accepts_kind)(data[0] % 3), text, &why);
    if (p)
        run(p, data[size - 1]);
    else
        must(why.e != ERR_OK &&
             (why.field[0] || why.sentence[0] || why.e == ERR_TOOMANY || why.e == ERR_NOMEM));
    program_free(p);
    free(text);
    return 0;
}
