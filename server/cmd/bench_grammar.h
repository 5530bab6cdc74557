/* bench_grammar.h - what it costs to hold an answer to a form, a token at a time. */
#ifndef SERVER_CMD_BENCH_GRAMMAR_H
#define SERVER_CMD_BENCH_GRAMMAR_H

#include <stddef.h>

#include "engine/err.h"
#include "engine/tokenizer/tokenizer.h"

enum { BENCH_GRAMMARS = 4 };

/* Of one token: its mask, the logits that it bans, and taking it. */
typedef struct bench_grammar {
    const char *name;
    size_t tokens;     /* that were timed */
    size_t walks;      /* of these, tokens whose mask was not there yet */
    double compile_ms; /* from text to program, once */
    double median_us, p95_us, worst_us;
} bench_grammar;

/* Answers of tokens drawn at random from those allowed, over the vocabulary of t. ERR_NOMEM. */
err bench_grammar_run(const tokenizer *t, bench_grammar out[BENCH_GRAMMARS]);

#endif
