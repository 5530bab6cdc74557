/* evaluate.h - how far cache modes are from exact keys and values, on a text.
 *
 * Rows of text are read by a fresh context each, teacher forced: a query sees its
 * own block exactly and earlier ones through their codes, by way of workspace pages or not.
 * The reference, mode kv32, reads the same rows at the same time. */
#ifndef SERVER_CMD_EVALUATE_H
#define SERVER_CMD_EVALUATE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "engine/err.h"
#include "server/runtime.h"
#include "xcache/calibrate/reader.h"

enum {
    EVALUATE_PROMPT_TOKENS = 256, /* of the greedy comparison */
    EVALUATE_ANSWER_TOKENS = 128,
    EVALUATE_GREEDY_CTX = EVALUATE_PROMPT_TOKENS + EVALUATE_ANSWER_TOKENS,
    EVALUATE_NEAREST =
        512, /* positions that the first depth ends before; each next: twice that */
    EVALUATE_DEPTHS = 16, /* the last ends before 16 Mi */
};

typedef struct evaluate_in {
    reader_text text;         /* of rows of 2 tokens or more */
    const reader_mode *modes; /* [n_modes] */
    size_t n_modes;
    const struct codec_tuning *tuning; /* of the modes; NULL: the usual one */
    bool streaming;                    /* rebuild at every read, no workspace */
    kv_format page_format;             /* of the workspace; KV_FLOAT rounds nothing */
    const int32_t *prompts; /* [n_prompts,EVALUATE_PROMPT_TOKENS] of the greedy comparison */
    size_t n_prompts;       /* 0: none */
    void (*progress)(void *arg, double done); /* share of the work, 0 .. 1; may be NULL */
    void *arg;
} evaluate_in;

/* One mode against kv32. The last token of a row has no next one and does not count. */
typedef struct evaluate_result {
    char mode[16];                 /* "auto" resolved */
    double ppl;                    /* exp of the mean -log p(next token) */
    double kl;                     /* mean KL(kv32 || mode) over the whole vocabulary, nats */
    double kl_p99, kl_max;         /* of single positions: divergence_tail */
    double kl_at[EVALUATE_DEPTHS]; /* mean of positions 0..511, 512..1023, 1024..2047, ... */
    size_t n_at;                   /* depths that a row reaches */
    double top1;                   /* share of positions with the same best token */
    double bits_per_element;       /* of K and V, everything in a block counted */
    double bytes_per_token;        /* blocks in use / tokens sealed in them, after the last row;
                                      not a number where a row is shorter than a block */
    double ratio;                  /* fp16 K and V over these */
    double rebuild_us;   /* time of one thread to rebuild a token of all layers into the
                            workspace; 0 where nothing is */
    double greedy_equal; /* share of the answer's tokens equal to kv32's, place by place */
    double greedy_first; /* mean place of the first that differs; the length if none does */
} evaluate_result;

/* Measure kv32 and the modes with the model of r; ids, threads and the order of modes change
 * nothing but what they say. Ends of text do not end an answer.
 *
 *   results [1 + n_modes]  out  kv32 first
 *
 * Errors: those of cache_open, *at then the mode at fault (borrowed from in); NOMEM. r has
 * positions for a row, and EVALUATE_GREEDY_CTX if there are prompts. One thread. */
err evaluate_modes(const runtime *r, const evaluate_in *in, evaluate_result *results,
                   const char **at);

/* What the path of `serve` does to a KL whatever the cache: activations of quantized weights
 * are rounded to eight bits, and a key that differs in its last bit flips some of them. *kl =
 * that of kv16, which loses next to nothing by itself, with served products, over the first row
 * of in; of in no more is looked at than the text and the progress. The weights are packed once
 * more where r has them exact. ERR_NOMEM, errors of model_open. */
err evaluate_floor(const runtime *r, const evaluate_in *in, double *kl);

#endif
