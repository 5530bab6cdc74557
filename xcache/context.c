/* context.c - append to the open page, read tiles of it and of sealed blocks.
 *
 *    block      0 | 1 | ... | n_blocks-1 | n_blocks
 *               sealed: workspace page,    open page: exact,
 *               or rebuilt, or in place    n_tokens % B + pushed */
#include "xcache/context.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "xcache/codec/remat.h"

void context_free(xcontext *x)
{
    if (x) free(x->blocks);
    free(x);
}

xcontext *context_new(struct cache *c, const context_shared *s, size_t tokens)
{
    const size_t B = s->codec.block_tokens;
    xcontext *x = calloc(1, sizeof *x);

    if (!x) return NULL;
    *x = (xcontext){.base = {.ops = &xcontext_ops,
                             .block_tokens = B,
                             .every_tile = s->codec.codec->carries && !s->workspace},
                    .cache = c,
                    .shared = s,
                    .most_blocks = tokens / B,
                    .sealing = PREFIX_NONE,
                    .sink = SINK_NONE};
    /* all that it will ever need, here: nothing is allocated in a step */
    x->blocks = malloc((x->most_blocks + 1) * sizeof *x->blocks);
    if (x->blocks) return x;
    free(x);
    return NULL;
}

/* One head's value to its place in a layer of an open page. */
static void put_value(const codec_state *s, const float *v, void *layer, size_t at)
{
    if (s->codec->open_format == KV_HALF)
        s->kern->float_to_half(v, s->m->C, (uint16_t *)layer + at);
    else
        memcpy((float *)layer + at, v, s->m->C * sizeof *v);
}

static void append(context *c, int layer, size_t first, const float *in, float *k,
                   const float *v, size_t T)
{
    const xcontext *x = context_of_const(c);
    const codec_state *s = &x->shared->codec;
    const model *m = s->m;
    const size_t B = s->block_tokens, at = x->n_tokens % B + first;
    const remat_turned to = {m->layers[layer].rope, s->codec->open_format,
                             open_numbers(s, x->page->k, layer), B, at};
    void *values = open_numbers(s, x->page->v, layer);

    /* A chunk never crosses a block's border: the page would have to be sealed in the middle of
     * a step. */
    assert(at + T <= B && first + T <= x->pushed);
    for (size_t t = 0; t < T; t++)
        for (size_t g = 0; g < m->G; g++)
            put_value(s, v + t * m->E + g * m->C, values, (g * B + at + t) * m->C);
    /* copies for the encoder, before remat_turn turns k in place */
    if (x->page->raw_k)
        memcpy(x->page->raw_k + ((size_t)layer * B + at) * m->E, k, T * m->E * sizeof *k);
    if (x->page->x)
        memcpy(x->page->x + ((size_t)layer * B + at) * m->D, in, T * m->D * sizeof *in);
    remat_turn(m, s->kern, k, T, x->n_tokens + first, &to);
}

bool context_is_degraded(const context_shared *s, pool_block b)
{
    return s->half.codec && pool_is_small(s->pool, b);
}

bool context_is_narrow(const context_shared *s, pool_block b)
{
    return !s->half.codec && pool_is_small(s->pool, b);
}

bool context_has_layer(const context_shared *s, int layer, pool_block b)
{
    return !model_window(s->codec.m, (size_t)layer) || !context_is_narrow(s, b);
}

/* Whole and degraded blocks lie in one pool; each is read by the codec that wrote it. */
const block_format *context_format(const context_shared *s, pool_block b)
{
    return context_is_degraded(s, b) ? &s->half : &s->whole;
}

int32_t *context_ids(const context_shared *s, pool_block b)
{
    return format_ids(context_format(s, b), pool_bytes(s->pool, b));
}

codec_place context_place(const context_shared *s, int layer, pool_block b, size_t first)
{
    codec_place place = format_place(context_format(s, b), pool_bytes(s->pool, b), layer);

    place.first = first;
    return place;
}

/* Whatever rebuilds a tile ends here, so no path to it can miss the exact tokens. */
static void finish_tile(const xcontext *x, int layer, const codec_place *place)
{
    const context_shared *s = x->shared;

    if (place->first == 0) sink_patch(s->sinks, x->sink, layer, place->scratch);
    atomic_fetch_add(s->rebuilt, s->codec.block_tokens);
}

void context_decode(const xcontext *x, int layer, pool_block b, const codec_place *place,
                    kv_tile *out)
{
    const codec_state *c = context_format(x->shared, b)->codec;

    c->codec->decode(c, layer, place, out);
    if (c->codec->rebuilds) finish_tile(x, layer, place);
}

void context_expand(const xcontext *x, int layer, const codec_place *place, kv_tile *out)
{
    const codec_state *c = &x->shared->codec;

    c->codec->expand(c, layer, place, out);
    finish_tile(x, layer, place);
}

/* A sealed block's tile, rebuilt in the slot or read where it lies. */
static void read_block(const xcontext *x, int layer, size_t b, int slot, kv_tile *out)
{
    const context_shared *s = x->shared;
    const size_t B = s->codec.block_tokens;
    codec_place place = context_place(s, layer, x->blocks[b], b * B);

    place.scratch = &s->slots[slot];
    /* streaming: states of all sealed blocks, for each layer follows from the one before */
    if (x->page->state) place.state = x->page->state + b * B * s->codec.m->D;
    context_decode(x, layer, x->blocks[b], &place, out);
}

static size_t tile(context *c, int layer, size_t b, int slot, kv_tile *out)
{
    const xcontext *x = context_of_const(c);
    const context_shared *s = x->shared;
    const codec_state *o = &s->codec;
    const size_t B = o->block_tokens;

    /* the open block reads uncoded, its newest tokens, too: in prefill as in decode */
    if (b == x->n_blocks) {
        *out = kv_stored_tile(o->codec->open_format, open_numbers(o, x->page->k, layer),
                              open_numbers(o, x->page->v, layer), o->m->C, B);
        return x->n_tokens % B + x->pushed;
    }
    /* a query never looks behind its window, so never at what is gone */
    assert(b < x->n_blocks && context_has_layer(s, layer, x->blocks[b]));
    if (s->workspace)
        workspace_read(s->workspace, x->blocks[b], layer, out);
    else
        read_block(x, layer, b, slot, out);
    return B;
}

static void release(context *c, int slot)
{
#ifdef XQUANTD_DEBUG /* NaN everywhere: a tile that is read after its use shows at once */
    const context_shared *s = context_of_const(c)->shared;
    const model *m = s->codec.m;
    const codec_scratch *p = &s->slots[slot];
    const size_t B = s->codec.block_tokens;

    if (!s->codec.codec->rebuilds) return;
    memset(p->x, 0xff, B * m->D * sizeof *p->x);
    memset(p->k, 0xff, B * m->E * sizeof *p->k);
    memset(p->v, 0xff, B * m->E * sizeof *p->v);
    memset(p->kt, 0xff, B * m->E * sizeof *p->kt);
#else
    (void)c, (void)slot;
#endif
}

const context_ops xcontext_ops = {.append = append, .tile = tile, .release = release};
