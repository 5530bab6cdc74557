/* context.c - append to the open page, read tiles of it and of sealed blocks. */
#include "xcache/context.h"

#include <assert.h>
#include <string.h>

#include "xcache/remat.h"

static const xcontext *of(const context *c)
{
    return (const xcontext *)(const void *)c;
}

static size_t block_tokens(const xcontext *x)
{
    return x->base.block_tokens;
}

static void append(context *c, int layer, const float *in, const float *k, const float *v,
                   size_t T)
{
    const xcontext *x = of(c);
    const codec_state *s = &x->shared->codec;
    const model *m = s->m;
    const size_t B = block_tokens(x), at = x->n_tokens % B;
    const remat_turned to = {x->page->k + (size_t)layer * B * m->E + at, B};
    float *turned = x->shared->turned;

    assert(at + T <= B && T == x->pushed);
    memcpy(turned, k, T * m->E * sizeof *k);
    remat_turn(m, s->kern, turned, T, x->n_tokens, &to);
    memcpy(x->page->v + ((size_t)layer * B + at) * m->E, v, T * m->E * sizeof *v);
    if (x->page->raw_k)
        memcpy(x->page->raw_k + ((size_t)layer * B + at) * m->E, k, T * m->E * sizeof *k);
    if (x->page->x)
        memcpy(x->page->x + ((size_t)layer * B + at) * m->D, in, T * m->D * sizeof *in);
}

/* Where layer `layer` of the context's block b lies. */
static codec_place place_of(const xcontext *x, int layer, size_t b, uint8_t *block)
{
    const context_shared *s = x->shared;

    return (codec_place){.codes = block + s->codes_at[layer],
                         .scales = block + s->scales_at[layer],
                         .ids = (const int32_t *)(const void *)(block + s->ids_at),
                         .first = b * block_tokens(x)};
}

static size_t tile(context *c, int layer, size_t b, int slot, kv_tile *out)
{
    const xcontext *x = of(c);
    const context_shared *s = x->shared;
    const model *m = s->codec.m;
    const size_t B = block_tokens(x), at = (size_t)layer * B * m->E;
    codec_place place;

    if (b == x->n_blocks) {
        *out = (kv_tile){.format = KV_FLOAT, .k = x->page->k + at, .v = x->page->v + at};
        return x->n_tokens % B + x->pushed;
    }
    assert(b < x->n_blocks);
    place = place_of(x, layer, b, pool_bytes(s->pool, x->blocks[b]));
    place.scratch = &s->scratch[slot];
    if (x->page->state) place.state = x->page->state + b * B * m->D;
    s->codec.codec->decode(&s->codec, layer, &place, out);
    if (s->codec.codec->rebuilds) atomic_fetch_add(s->rebuilt, B);
    return B;
}

static void release(context *c, int slot)
{
#ifdef XQUANTD_DEBUG /* NaN everywhere: a tile that is read after its use shows at once */
    const xcontext *x = of(c);
    const codec_scratch *s = &x->shared->scratch[slot];
    const model *m = x->shared->codec.m;

    if (!x->shared->codec.codec->rebuilds) return;
    memset(s->x, 0xff, block_tokens(x) * m->D * sizeof *s->x);
    memset(s->k, 0xff, block_tokens(x) * m->E * sizeof *s->k);
    memset(s->v, 0xff, block_tokens(x) * m->E * sizeof *s->v);
    memset(s->kt, 0xff, block_tokens(x) * m->E * sizeof *s->kt);
#else
    (void)c, (void)slot;
#endif
}

const context_ops xcontext_ops = {.append = append, .tile = tile, .release = release};

void xcontext_seal(const xcontext *x, pool_block b)
{
    const context_shared *s = x->shared;
    const model *m = s->codec.m;
    const open_page *page = x->page;
    const size_t B = block_tokens(x);
    uint8_t *block = pool_bytes(s->pool, b);

    memcpy(block + s->ids_at, page->ids, B * sizeof *page->ids);
    for (size_t l = 0; l < m->L; l++) {
        const codec_rows rows = {.x = page->x ? page->x + l * B * m->D : NULL,
                                 .raw_k = page->raw_k ? page->raw_k + l * B * m->E : NULL,
                                 .k = page->k + l * B * m->E,
                                 .v = page->v + l * B * m->E};
        codec_place place = place_of(x, (int)l, x->n_blocks, block);

        place.state = s->seal_state;
        place.scratch = &s->scratch[0]; /* no step runs */
        s->codec.codec->encode(&s->codec, (int)l, &rows, &place);
    }
}
