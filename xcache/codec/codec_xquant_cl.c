/* codec_xquant_cl.c - cl<b>: closed-loop differences over depth, per token. Layers 0 and 1
 * are stored plainly and layer 2 is the base, D wide at 4 bits; from then on the difference
 * to what the layer before decoded to, so that its error comes back in the next difference
 * instead of adding up. With grouped heads the difference is projected on the subspace that
 * Wk and Wv see. A tuning may choose another base layer, other bits of the first layers, what
 * is carried, and an open loop. Source: arXiv:2508.10395, section 3.2. */
#include <stdlib.h>
#include <string.h>

#include "xcache/codec/field.h"
#include "xcache/codec/minmax.h"
#include "xcache/codec/projection.h"
#include "xcache/codec/remat.h"
#include "xcache/codec/svd.h"

enum { ACCUMULATOR_BITS = 4 };

typedef struct loop {
    projection kv;
    float *u_t; /* [L,N,D] and... */
    float *u;   /* [L,D,N], its transpose; both NULL on MHA models */
} loop;

/* Width of a stored difference: 2E with grouped heads, at most D. */
static size_t latent(const model *m)
{
    return 2 * m->E < m->D ? 2 * m->E : m->D;
}

static void close_loop(codec_state *s)
{
    loop *own = s->own;

    projection_close(&own->kv);
    free(own->u_t);
    free(own->u);
    free(own);
}

/* From weights [L,2,E,D]: Wk and Wv of a layer lie one after the other, [2E,D]. */
static err factor_all(const codec_state *s, loop *own, const float *weights)
{
    const model *m = s->m;
    const size_t N = latent(m), one = N * m->D;

    own->u_t = malloc(m->L * one * sizeof *own->u_t);
    own->u = malloc(m->L * one * sizeof *own->u);
    if (!own->u_t || !own->u) return ERR_NOMEM;
    for (size_t l = 0; l < m->L; l++) {
        TRY(svd_factor(weights + 2 * l * m->E * m->D, 2 * m->E, m->D, own->u_t + l * one,
                       NULL));
        /* both ways are kept: the encoder projects, the decoder comes back, and each
         * wants its inputs side by side */
        s->kern->transpose(own->u_t + l * one, m->D, N, m->D, own->u + l * one, N);
    }
    return ERR_OK;
}

static err factor(const codec_state *s, loop *own)
{
    float *weights = remat_weights(s->m);
    const err e = weights ? factor_all(s, own, weights) : ERR_NOMEM;

    free(weights);
    return e;
}

static err measure_loop(codec_state *s)
{
    s->temp_floats = projection_temp_floats(s->m, s->block_tokens);
    s->bytes = projection_bytes(s->m);
    /* u and its transpose */
    if (!model_is_mha(s->m)) s->bytes += 2 * s->m->L * latent(s->m) * s->m->D * sizeof(float);
    return ERR_OK;
}

static err open_loop(codec_state *s)
{
    loop *own = calloc(1, sizeof *own);
    err e = ERR_OK;

    if (!own) return ERR_NOMEM;
    s->own = own;
    if (!model_is_mha(s->m)) e = factor(s, own);
    if (e == ERR_OK) e = projection_open(&own->kv, s->m, s->kern);
    if (e != ERR_OK) close_loop(s);
    return e;
}

static field stored(const codec_state *s, int layer)
{
    const bool whole = layer <= s->tuning.base_layer || model_is_mha(s->m);

    return (field){.rows = s->block_tokens,
                   .width = whole ? s->m->D : latent(s->m),
                   .bits = field_layer_bits(s, layer),
                   .axis = FIELD_PER_TOKEN,
                   .group = s->tuning.group};
}

static codec_size size_loop(const codec_state *s, int layer)
{
    const field f = stored(s, layer);

    return field_size(&f);
}

/* The layer's input as its codes tell it: state becomes x^ of this layer. */
static void advance(const codec_state *s, int layer, const codec_place *place)
{
    const field f = stored(s, layer);
    const size_t n = s->block_tokens * s->m->D;
    const loop *own = s->own;
    float *x = place->scratch->x;

    /* up to the base there is nothing to take a difference to; what earlier bases cost and save
     * is in docs/ablations.md */
    if (layer <= s->tuning.base_layer) {
        field_decode(&f, s->kern, place->codes, place->scales, place->state, NULL);
        return;
    }
    field_decode(&f, s->kern, place->codes, place->scales, x, NULL);
    if (own->u)
        remat_multiply(x, s->block_tokens, f.width, own->u + (size_t)layer * f.width * s->m->D,
                       s->m->D, place->state, 1);
    else
        for (size_t i = 0; i < n; i++) place->state[i] += x[i];
}

/* What the next layer finds of x^. */
static void carry(const codec_state *s, const codec_place *place)
{
    const minmax coarse = {s->kern, ACCUMULATOR_BITS, s->tuning.group};
    const size_t n = s->block_tokens * s->m->D;

    /* scratch, on which no byte of the pool depends: fp32 unless an ablation asks. fp16 is as
     * good, 4 bits cost up to a fifth of the KL */
    if (s->tuning.accumulator == CODEC_4BIT)
        minmax_round_rows(&coarse, place->state, s->block_tokens, s->m->D);
    if (s->tuning.accumulator == CODEC_FP16)
        for (size_t i = 0; i < n; i++) place->state[i] = kern_float(kern_half(place->state[i]));
}

/* [B,width] What is to be stored: x less what the decoder has, as Wk and Wv see it. */
static const float *differ(const codec_state *s, int layer, const float *in, size_t width,
                           const codec_place *place)
{
    const loop *own = s->own;
    const size_t D = s->m->D;
    float *x = place->scratch->x, *seen = place->scratch->k;

    for (size_t i = 0; i < s->block_tokens * D; i++) x[i] = in[i] - place->state[i];
    if (!own->u_t) return x;
    /* N <= 2E: k and v lie side by side */
    remat_multiply(x, s->block_tokens, D, own->u_t + (size_t)layer * width * D, width, seen, 0);
    return seen;
}

static void encode_loop(const codec_state *s, int layer, const codec_rows *in,
                        const codec_place *place)
{
    const field f = stored(s, layer);
    const size_t n = s->block_tokens * s->m->D;
    const float *what = layer <= s->tuning.base_layer ? in->x
                                                      : differ(s, layer, in->x, f.width, place);

    field_encode(&f, s->kern, what, place->codes, place->scales, NULL);
    /* open: what the decoder lacks is never seen again. Nine times the KL and more, so an
     * ablation only */
    if (s->tuning.open_loop) {
        memcpy(place->state, in->x, n * sizeof *in->x);
    } else {
        advance(s, layer, place);
        carry(s, place);
    }
}

static void decode_loop(const codec_state *s, int layer, const codec_place *place, kv_tile *out)
{
    const loop *own = s->own;
    const codec_scratch *to = place->scratch;

    advance(s, layer, place);
    /* K and V are of x^ before it is rounded for the next layer */
    projection_run(&own->kv, (size_t)layer, place->state, s->block_tokens, to->temp, to->k,
                   to->v);
    carry(s, place);
    codec_finish(s, layer, place, out);
}

const codec codec_xquant_cl = {.keeps_x = true,
                               .open_format = KV_HALF,
                               .rebuilds = true,
                               .carries = true,
                               .uses = CODEC_GROUP | CODEC_KEPT | CODEC_LOOP,
                               .measure = measure_loop,
                               .open = open_loop,
                               .close = close_loop,
                               .size = size_loop,
                               .encode = encode_loop,
                               .decode = decode_loop};
