/* trial.c - runs model files.
 *
 * Weights that are multiplied as floats where they are floats in the file make the reference; a
 * file of blocks is run as `serve` would, its activations in eight bits, so that its distance
 * is what is noticed. Keys and values are exact in both. */
#include "server/convert/trial.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "engine/kern/cpu.h"
#include "engine/model/model_load.h"
#include "engine/tokenizer/tokenizer.h"
#include "server/document.h"
#include "xcache/calibrate/divergence.h"

enum { ROW = 512, MOST_ROWS = 256, BLOCK = 128, STEP = 16 };

struct trial {
    gguf *file;
    tokenizer *tokens;
    model *m;
    kern kern;
    team *team;
};

static bool fail(err e, const char *path, fault *why)
{
    return fault_refuse(why, ERR_JSON, NULL, "%s: %s %s", path, err_text(e), why->field);
}

bool trial_open(trial **out, const char *path, team *t, bool exact, fault *why)
{
    trial *x = calloc(1, sizeof *x);
    err e = ERR_NOMEM;

    *out = x;
    if (!x) return fail(e, path, why);
    x->team = t;
    kern_init(&x->kern, cpu_flags());
    e = gguf_open(&x->file, path, why);
    if (e == ERR_OK) e = tokenizer_new(&x->tokens, x->file, why);
    if (e == ERR_OK)
        e = model_open_with(&x->m, x->file,
                            &(model_options){.ctx = ROW, .exact_products = exact}, why);
    if (e != ERR_OK) return fail(e, path, why);
    gguf_drop_pages(x->file);
    return true;
}

void trial_close(trial *t)
{
    if (!t) return;
    model_close(t->m);
    tokenizer_free(t->tokens);
    gguf_close(t->file);
    free(t);
}

static reader_model parts_of(const trial *t)
{
    return (reader_model){t->m, &t->kern, t->team, BLOCK};
}

/* --- texts --- */

/* Ids are in rows, each with BOS in the place of its first where the model wants one. */
static bool cut_rows(const trial *t, const char *path, int32_t *ids, size_t n, reader_text *out,
                     fault *why)
{
    const int32_t bos = tokenizer_bos(t->tokens);

    *out = (reader_text){ids, n / ROW < MOST_ROWS ? n / ROW : MOST_ROWS, ROW};
    if (out->rows == 0)
        return fault_refuse(why, ERR_JSON, NULL, "%s: %zu tokens are too few: a row is %d",
                            path, n, ROW);
    for (size_t r = 0; r < out->rows && tokenizer_adds_bos(t->tokens); r++) ids[r * ROW] = bos;
    return true;
}

/* The caller frees *ids, also after a failure. */
static bool read_rows(const trial *t, const char *path, int32_t **ids, reader_text *out,
                      fault *why)
{
    size_t bytes = 0, n = 0;
    char *text = NULL;
    err e;

    *ids = NULL;
    errno = ENOMEM;
    text = document_read(path, &bytes);
    if (!text) return fault_refuse(why, ERR_JSON, NULL, "%s: %s", path, strerror(errno));
    *ids = malloc((tokenizer_most_ids(t->tokens, bytes) + 1) * sizeof **ids);
    e = *ids ? tokenizer_encode(t->tokens, text, bytes, TOKENIZER_PLAIN, *ids, &n) : ERR_NOMEM;
    free(text);
    return e == ERR_OK ? cut_rows(t, path, *ids, n, out, why) : fail(e, path, why);
}

bool trial_weigh(const trial *t, const char *path, importance **out, fault *why)
{
    const reader_model parts = parts_of(t);
    const stage nobody = {0};
    reader_text text;
    int32_t *ids;
    bool read = read_rows(t, path, &ids, &text, why);
    err e;

    if (read && (e = importance_open(out, &parts, &text, &nobody)) != ERR_OK)
        read = fail(e, path, why);
    free(ids);
    return read;
}

/* --- two models --- */

/* One of the two at work. */
typedef struct side {
    reader_model parts;
    cache *cache;
    forward *forward;
    forward_chunk chunk;
    float *logits; /* [STEP,V] */
} side;

static err open_side(side *s, const trial *t)
{
    static const reader_mode exact = {"kv32", NULL};
    const reader_room room = {.contexts = 1, .tokens = ROW, .page_format = KV_FLOAT};

    s->parts = parts_of(t);
    s->logits = malloc(STEP * t->m->V * sizeof *s->logits);
    if (!s->logits) return ERR_NOMEM;
    TRY(reader_open_cache(&s->parts, &exact, &room, &s->cache));
    return forward_open(&s->forward, t->m, &t->kern, t->team, STEP, BLOCK);
}

static void close_side(side *s)
{
    forward_close(s->forward);
    cache_close(s->cache);
    free(s->logits);
}

/* Steps of a few tokens, or the logits of both would be as large as the weights. */
static void compare_row(side s[2], size_t V, const int32_t *ids, divergence *sum, double *nll)
{
    for (size_t at = 0; at < ROW; at += STEP) {
        for (int k = 0; k < 2; k++) {
            s[k].chunk.ids = ids + at;
            s[k].chunk.T = s[k].chunk.wanted = STEP;
            s[k].chunk.logits = s[k].logits;
            reader_step(s[k].forward, &s[k].chunk, 1);
        }
        for (size_t t = 0; t < STEP && at + t + 1 < ROW; t++) {
            const float *a = s[0].logits + t * V, *b = s[1].logits + t * V;

            *sum = divergence_sum(*sum, divergence_of(a, b, V, ids[at + t + 1]));
            *nll += divergence_of(a, a, V, ids[at + t + 1]).nll;
        }
    }
}

static err compare_rows(side s[2], size_t V, const reader_text *text, trial_distance *out)
{
    divergence sum = {0};
    double nll = 0;
    err e = ERR_OK;

    for (size_t r = 0; r < text->rows && e == ERR_OK; r++) {
        for (int k = 0; k < 2 && e == ERR_OK; k++)
            e = cache_begin(s[k].cache, &(cache_request){.tokens = ROW}, &s[k].chunk.context);
        if (e == ERR_OK) compare_row(s, V, text->ids + r * ROW, &sum, &nll);
        for (int k = 0; k < 2; k++) {
            if (s[k].chunk.context) cache_end(s[k].chunk.context);
            s[k].chunk.context = NULL;
        }
    }
    out->tokens = text->rows * (ROW - 1);
    sum = divergence_mean(sum, out->tokens);
    out->kl = sum.kl;
    out->top1 = sum.top1;
    out->ppl[0] = exp(nll / (double)out->tokens);
    out->ppl[1] = exp(sum.nll);
    return e;
}

bool trial_compare(const trial *first, const trial *second, const char *path,
                   trial_distance *out, fault *why)
{
    side s[2] = {0};
    reader_text text;
    int32_t *ids;
    bool read = read_rows(first, path, &ids, &text, why);
    err e = ERR_OK;

    if (read) e = open_side(&s[0], first);
    if (read && e == ERR_OK) e = open_side(&s[1], second);
    if (read && e == ERR_OK) e = compare_rows(s, first->m->V, &text, out);
    close_side(&s[0]);
    close_side(&s[1]);
    free(ids);
    return read && (e == ERR_OK || fail(e, path, why));
}
