/* reader.h - a text through the network, one way for all who read one: what calibration learns
 * from, what perplexity compares and what bench times.
 *
 *   text   |<------ row ------>|<------ row ------>|   a context of its own each
 *   row    |  block  |  block  | ..|                   a step ends where a block does
 *   step   tokens pushed -> forward -> committed       one context, or several together */
#ifndef XCACHE_CALIBRATE_READER_H
#define XCACHE_CALIBRATE_READER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "engine/model/forward.h"
#include "xcache/cache.h"
#include "xcache/stage.h"

/* What is needed to run a model; all borrowed. */
typedef struct reader_model {
    const model *m;
    const kern *kern;
    team *team;
    size_t block_tokens;
} reader_model;

/* Rows of token ids, one after the other; each starts a context of its own. */
typedef struct reader_text {
    const int32_t *ids; /* [rows,row_tokens] */
    size_t rows, row_tokens;
} reader_text;

typedef struct reader_mode {
    const char *name;
    const struct plan *plan; /* of a mode that needs one, else NULL; borrowed */
} reader_mode;

/* How a cache is opened to read with. */
typedef struct reader_room {
    size_t contexts, tokens;           /* so many at once, so long */
    kv_format page_format;             /* of the workspace; KV_FLOAT rounds nothing */
    bool streaming;                    /* rebuild at every read, no workspace */
    const struct codec_tuning *tuning; /* NULL: the usual one */
} reader_room;

/* Open a cache that holds them all in any mode. Errors of cache_open. The caller closes. */
err reader_open_cache(const reader_model *r, const reader_mode *mode, const reader_room *room,
                      cache **out);

/* Step n contexts together. A chunk names its context, its T tokens, which fit into the open
 * block, how many logits are wanted and where they go; its pos is filled in. */
void reader_step(forward *f, forward_chunk *chunks, size_t n);

/* Read `tokens` tokens on with n contexts that hold equally many, in steps of at most `most`. A
 * chunk names its context, its ids from there on, and where logits [V] go: of the last token,
 * and of every token that is a step of its own, as in decoding. NULL: none are computed. */
void reader_run(forward *f, forward_chunk *chunks, size_t n, size_t tokens, size_t most);

/* Tell of the exact layer inputs x [T,D] of every token, the first of these the token `at` of
 * the text; by any worker, others at once with other tokens. ERR_NOMEM, ERR_SYSTEM. */
typedef void reader_listener(void *arg, int layer, size_t at, const float *x, size_t T);
err reader_listen(const reader_model *r, const reader_text *text, const stage *p,
                  reader_listener *listener, void *arg);

/* The same, kept as floats: x [L,rows*row_tokens,D]. */
err reader_record(const reader_model *r, const reader_text *text, const stage *p, float *x);

#endif
