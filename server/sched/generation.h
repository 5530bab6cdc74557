/* generation.h - one answer being made: from token ids to text, with its stop rules.
 *
 * The scheduler's thread feeds it one sampled token after the other; it keeps ids, text
 * and logprobs in arrays that are sized when the generation is made, so nothing is
 * allocated while decoding. What is published is never changed again: the loop thread may
 * read tokens below `published` and text below their `text_end` while more are added.
 *
 * Who owns it when:
 *
 *   loop          made, `in` filled, put into a group
 *   either        waits: the queue links groups, under the scheduler's lock
 *   scheduler     runs: writes `out`, calls nothing of the loop; `in` is read-only
 *   loop          `done` has been called: all of `out` is final, and the loop frees it
 *
 * While it runs the loop may read what is published, and hears of more by `progress`, any
 * number of times before `done`. The loop may set `cancel` at any time: the scheduler looks
 * between two steps. The group's memory lives as long as any member, so the scheduler may walk
 * it until it has handed the last one back. */
#ifndef SERVER_SCHED_GENERATION_H
#define SERVER_SCHED_GENERATION_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "engine/err.h"
#include "engine/grammar/program.h"
#include "engine/model/sample.h"
#include "engine/tokenizer/tokenizer.h"

enum { GENERATION_MAX_TOP = 20, GENERATION_ANYBODY = 0 };

typedef enum generation_finish {
    FINISH_NONE,   /* not yet, or it failed */
    FINISH_STOP,   /* an end token or a stop string */
    FINISH_LENGTH, /* max_tokens, or the context is full */
    FINISH_ABORT,  /* canceled */
    FINISH_COUNT
} generation_finish;

/* "stop", "length", "abort"; NULL for NONE. */
const char *generation_finish_name(generation_finish f);

typedef struct generation_in {
    int32_t *ids; /* [n_ids] the whole prompt, BOS included; malloc'd, owned */
    size_t n_ids;
    size_t *ends; /* [n_texts] where texts end in ids, which are to become vectors: no
                     answer is generated; malloc'd, owned; or NULL */
    size_t n_texts;
    size_t max_tokens; /* 0 allowed: prefill only */
    sample_params sample;
    sample_bias *bias; /* what sample.bias points to; malloc'd, owned; or NULL */
    char **stop;       /* [n_stop] not empty; malloc'd and owned, as each of them */
    size_t n_stop;
    bool ignore_eos;      /* go on after an end token; not with a program */
    program *program;     /* that holds the answer to a form, held; or NULL */
    bool may_be_cut;      /* by max_tokens, in the middle of its form */
    const int32_t *shown; /* [n_shown] control tokens that are text by their names; borrowed */
    size_t n_shown;
    int top;           /* logprobs of the `top` best tokens at each step; -1: no logprobs */
    bool scored;       /* logprobs of the sampled tokens, also without `top` */
    bool reads_prompt; /* logprobs of the prompt's tokens too: it is computed anew */
    int prompt_top;    /* of the so many best at each of its tokens, 0 or more */
    uint64_t scope[2]; /* cached blocks are shared between equal scopes only */
    uint64_t tenant;   /* whose turn it is, or GENERATION_ANYBODY: there is one tenant */
    int priority;      /* smaller goes first among the tenant's who wait */
} generation_in;

typedef struct generation_token {
    int32_t id;
    float logprob;   /* of id, before any sampling rule; 0 when in.top < 0 */
    size_t text_end; /* bytes of text that may be shown once this token is known */
} generation_token;

/* What the model thought of a token of the prompt, from those before it. */
typedef struct generation_read {
    float logprob;
    uint32_t rank; /* 1: the best; 0: it is the first token, which nothing is before */
} generation_read;

typedef struct generation_out {
    generation_token *tokens; /* [max_tokens] */
    sample_top *top;          /* [max_tokens][in.top], best first; NULL if top <= 0 */
    float *vectors;           /* [in.n_texts,width] made by who makes the generation; owned */
    char *text;               /* the answer; valid UTF-8 up to any text_end */
    generation_read *prompt;  /* [n_ids]; NULL where the prompt is not read */
    sample_top *prompt_best;  /* [n_ids][in.prompt_top], best first; the first row is empty */
    atomic_size_t published;  /* tokens the loop may read */
    /* Final when done is called: */
    size_t n_tokens, text_bytes; /* text_bytes >= the last text_end, or cut at a stop string */
    generation_finish finish;
    const char *stop;      /* the one of in.stop that ended it, or NULL */
    size_t cached_tokens;  /* of the prompt, taken from the cache */
    size_t rewound_tokens; /* of the prompt, computed again: see cache_context_rewound */
    size_t cache_bytes;    /* the context's blocks at the end */
    uint64_t queued_ns, started_ns, first_ns, ended_ns; /* by clock_ns; 0: never */
} generation_out;

typedef struct generation {
    struct generation_group *group; /* whose member it is; NULL: nobody's */
    struct generation *ready;       /* the outbox's, while it is listed */
    bool listed;                    /* in the outbox; guarded by its lock */
    generation_in in;
    generation_out out;
    atomic_bool cancel;
    void (*progress)(
        struct generation *g); /* loop thread: it runs; more tokens are published */
    void (*done)(struct generation *g, err e); /* loop thread, once; frees g */
    void *user;                                /* the caller's */
    struct generation_state *state;            /* generation.c's: detokenizer, stop strings */
    const tokenizer *tokenizer;
    err result;
    bool ended; /* the scheduler is through with it; guarded by the outbox's lock */
} generation;

/* Answers to one prompt, of the same length at most. They wait in one place, begin together,
 * and share the prompt's blocks: the first member reads the prompt, the others fork from it. A
 * single answer is a group of one. The group is what waits; once it runs, each member goes its
 * own way and is handed back by itself. */
typedef struct generation_group {
    struct generation_group *next, *prev; /* the queue's, while it waits */
    uint64_t turn;                        /* the queue's */
    size_t left;                          /* members that are not freed; the loop's */
    size_t n;
    generation *members[]; /* [n] */
} generation_group;

/* Free what `in` owns. */
void generation_in_free(generation_in *in);

/* Make one around `in`, whose allocations it takes (also on failure). V = tokenizer size.
 * ERR_NOMEM. The caller frees it, also when it is done. */
err generation_new(generation **out, const tokenizer *t, generation_in *in);
void generation_free(generation *g); /* and its group, with the last member */

/* Group n >= 1 generations that are in none. ERR_NOMEM: they still are. */
err generation_group_new(generation_group **out, generation *const *members, size_t n);

/* Scheduler thread: add the sampled id (with the logits it came from, before any rule;
 * NULL when in.top < 0). Returns true when the answer is complete; out.finish says why. */
bool generation_add(generation *g, int32_t id, const float *logits);

/* The same of the last token of an answer that is complete: it ends with STOP. */
void generation_add_last(generation *g, int32_t id, const float *logits);

/* Any thread of a step: the logits [V] behind token i - 1 of the prompt, which say what was
 * thought of token i. Where there is no such token nothing happens. Another token's may come at
 * once. */
void generation_read_prompt(generation *g, size_t i, const float *logits);

/* The same of all tokens, from another answer to the same prompt. */
void generation_share_prompt(generation *g, const generation *from);

/* The bytes that token i, which has been added, is in the answer's text: its piece, less a
 * space that the vocabulary puts before text. None for a control token that is not shown. */
gguf_text generation_piece(const generation *g, size_t i);

/* Does the answer's text begin with token i, so that a space which the vocabulary puts before
 * text is left out of it? Token i need not have been added. */
bool generation_begins_text(const generation *g, size_t i);

/* Scheduler thread: tokens so far. */
size_t generation_tokens(const generation *g);

/* Scheduler thread: no more tokens will come; flushes held bytes. Idempotent. */
void generation_end(generation *g, generation_finish f);

#endif
