/* reader.c - opens caches to read with, steps contexts, and listens to layer inputs. */
#include "xcache/calibrate/reader.h"

#include <stdlib.h>
#include <string.h>

#include "xcache/workspace.h"

static size_t smaller(size_t a, size_t b)
{
    return a < b ? a : b;
}

/* A pool is filled lazily, so a generous bound costs nothing: no codec stores more than exact K
 * and V and 16 bits for each layer input. The workspace holds what runs, and no more. */
err reader_open_cache(const reader_model *r, const reader_mode *mode, const reader_room *room,
                      cache **out)
{
    const model *m = r->m;
    const size_t token_bytes = m->L * (2 * m->E * sizeof(float) + 2 * m->D) + 8;
    const size_t B = r->block_tokens, blocks = room->contexts * (room->tokens / B + 1);
    const size_t page = workspace_page_bytes(m, B, room->page_format);
    const cache_options o = {.mode = mode->name,
                             .plan = mode->plan,
                             .tuning = room->tuning,
                             .budget_bytes = blocks * B * token_bytes,
                             .workspace_bytes = room->streaming ? CACHE_STREAMING
                                                                : blocks * page,
                             .page_format = room->page_format,
                             .max_running = (int)room->contexts,
                             .team = r->team,
                             .ctx_tokens = room->tokens,
                             .block_tokens = B};

    return cache_open(out, m, r->kern, &o);
}

void reader_step(forward *f, forward_chunk *chunks, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        chunks[i].pos = cache_context_tokens(chunks[i].context);
        cache_push(chunks[i].context, chunks[i].ids, chunks[i].T);
    }
    forward_step(f, chunks, n);
    for (size_t i = 0; i < n; i++) cache_commit(chunks[i].context);
}

void reader_run(forward *f, forward_chunk *chunks, size_t n, size_t tokens, size_t most)
{
    const size_t B = chunks->context->block_tokens;
    const size_t from = cache_context_tokens(chunks->context), to = from + tokens;

    for (size_t at = from, T; at < to; at += T) {
        /* a step ends where a block does: what follows reads it through its codes */
        T = smaller(smaller(B - at % B, most), to - at);
        for (size_t i = 0; i < n; i++) {
            chunks[i].T = T;
            chunks[i].wanted = chunks[i].logits && (T == 1 || at + T == to);
        }
        reader_step(f, chunks, n);
        for (size_t i = 0; i < n; i++) chunks[i].ids += T;
    }
}

/* --- layer inputs --- */

/* The cache has no say in it: forward knows contexts by their operations, so one may stand in
 * front of another. */
/* A context that passes everything on and tells a listener what it is told. */
typedef struct recorder {
    context base;
    context *inner;
    reader_listener *listener;
    void *arg;
    size_t at; /* token of the text that this step begins with */
} recorder;

static recorder *of(context *c)
{
    return (recorder *)(void *)c;
}

static void append(context *c, int layer, size_t first, const float *x, float *k,
                   const float *v, size_t T)
{
    const recorder *r = of(c);

    /* any worker, each with other tokens */
    r->listener(r->arg, layer, r->at + first, x, T);
    r->inner->ops->append(r->inner, layer, first, x, k, v, T);
}

static size_t tile(context *c, int layer, size_t b, int slot, kv_tile *out)
{
    context *inner = of(c)->inner;

    return inner->ops->tile(inner, layer, b, slot, out);
}

static void release(context *c, int slot)
{
    context *inner = of(c)->inner;

    inner->ops->release(inner, slot);
}

static const context_ops recorder_ops = {.append = append, .tile = tile, .release = release};

/* Not reader_step: forward has to see the recorder, and the cache the context behind it, which
 * is its own. */
static void record_step(forward *f, recorder *r, const int32_t *ids, size_t pos, size_t T)
{
    const forward_chunk p = {.context = &r->base, .ids = ids, .T = T, .pos = pos};

    cache_push(r->inner, ids, T);
    forward_step(f, &p, 1);
    cache_commit(r->inner);
}

static err record_row(cache *c, forward *f, recorder *r, const reader_text *text, size_t row)
{
    const size_t n = text->row_tokens, B = r->base.block_tokens;
    const int32_t *ids = text->ids + row * n;

    TRY(cache_begin(c, &(cache_request){.tokens = n}, &r->inner));
    for (size_t pos = 0; pos < n; pos += B) {
        r->at = row * n + pos;
        record_step(f, r, ids + pos, pos, smaller(B, n - pos));
    }
    cache_end(r->inner);
    return ERR_OK;
}

err reader_listen(const reader_model *r, const reader_text *text, const stage *p,
                  reader_listener *listener, void *arg)
{
    /* kv32: the inputs of layer l depend on keys and values of those before it, which have to
     * be exact */
    static const reader_mode exact = {"kv32", NULL};
    const reader_room room = {
        .contexts = 1, .tokens = text->row_tokens, .page_format = KV_FLOAT};
    recorder to = {.base = {.ops = &recorder_ops, .block_tokens = r->block_tokens},
                   .listener = listener,
                   .arg = arg};
    cache *c = NULL;
    forward *f = NULL;
    err e = reader_open_cache(r, &exact, &room, &c);

    if (e == ERR_OK)
        e = forward_open(&f, r->m, r->kern, r->team, r->block_tokens, r->block_tokens);
    for (size_t row = 0; e == ERR_OK && row < text->rows; row++) {
        e = record_row(c, f, &to, text, row);
        stage_tell(p, (double)(row + 1) / (double)text->rows);
    }
    forward_close(f);
    cache_close(c);
    return e;
}

/* [L,tokens,D] of floats. */
typedef struct record {
    float *x;
    size_t tokens, D;
} record;

static void keep(void *arg, int layer, size_t at, const float *x, size_t T)
{
    const record *to = arg;

    memcpy(to->x + ((size_t)layer * to->tokens + at) * to->D, x, T * to->D * sizeof *x);
}

err reader_record(const reader_model *r, const reader_text *text, const stage *p, float *x)
{
    record to = {x, text->rows * text->row_tokens, r->m->D};

    return reader_listen(r, text, p, keep, &to);
}
