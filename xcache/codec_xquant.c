/* codec_xquant.c - xq<b>: layer inputs, min-max codes, the first three layers at 4 bits or
 * more. Where every query head has keys of its own x is stored, per token: it is half of K
 * and V. With grouped heads x is wider than K and V together, so its latents are stored: x Uk
 * per channel, where all outliers sit in channel 0, and x Uv per token, both as wide as K.
 * Source: arXiv:2508.10395, sections 3.1 to 3.3. */
#include <stdlib.h>

#include "xcache/field.h"
#include "xcache/remat.h"
#include "xcache/svd.h"

/* Per layer and for K, then V: MHA  w [E,D];  GQA  u_t [E,D], then m [E,E]. */
static size_t weights_of_one(const model *m)
{
    return model_is_mha(m) ? m->E * m->D : m->E * (m->D + m->E);
}

static const float *weights(const codec_state *s, int layer, int which)
{
    return (const float *)s->own + ((size_t)layer * 2 + (size_t)which) * weights_of_one(s->m);
}

/* Factor every Wk and Wv of `all` into s->own. */
static err factor(codec_state *s, const float *all)
{
    const model *m = s->m;
    const size_t one = weights_of_one(m);
    float *out = s->own;

    for (size_t i = 0; i < 2 * m->L; i++)
        TRY(svd_factor(all + i * m->E * m->D, m->E, m->D, out + i * one,
                       out + i * one + m->E * m->D));
    return ERR_OK;
}

static err open_xquant(codec_state *s)
{
    float *all = remat_weights(s->m);
    err e;

    if (!all) return ERR_NOMEM;
    s->bytes = 2 * s->m->L * weights_of_one(s->m) * sizeof *all;
    if (model_is_mha(s->m)) {
        s->own = all;
        return ERR_OK;
    }
    s->own = malloc(s->bytes);
    e = s->m->E > s->m->D ? ERR_MODEMODEL : s->own ? factor(s, all) : ERR_NOMEM;
    free(all);
    if (e != ERR_OK) free(s->own);
    return e;
}

static void close_xquant(codec_state *s)
{
    free(s->own);
}

/* What is stored for K (which = 0) and V (1); MHA: x, as the only one. */
static field stored(const codec_state *s, int layer, int which)
{
    const int bits = field_layer_bits(s->bits, layer);

    if (model_is_mha(s->m))
        return (field){s->block_tokens, s->m->D, bits, FIELD_PER_TOKEN, s->group};
    return (field){s->block_tokens, s->m->E, bits, which ? FIELD_PER_TOKEN : FIELD_PER_CHANNEL,
                   s->group};
}

static codec_size size_xquant(const codec_state *s, int layer)
{
    const field k = stored(s, layer, 0), v = stored(s, layer, 1);
    const codec_size a = field_size(&k), b = field_size(&v);

    if (model_is_mha(s->m)) return a;
    return (codec_size){a.codes + b.codes, a.scales + b.scales};
}

static void encode_latents(const codec_state *s, int layer, const codec_rows *in,
                           const codec_place *place)
{
    const codec_scratch *to = place->scratch;
    uint8_t *codes = place->codes, *scales = place->scales;

    for (int which = 0; which < 2; which++) {
        const field f = stored(s, layer, which);
        const codec_size size = field_size(&f);

        remat_multiply(in->x, s->block_tokens, s->m->D, weights(s, layer, which), s->m->E,
                       to->k, 0);
        field_encode(&f, s->kern, to->k, codes, scales, to->v);
        codes += size.codes;
        scales += size.scales;
    }
}

static void encode_xquant(const codec_state *s, int layer, const codec_rows *in,
                          const codec_place *place)
{
    const field f = stored(s, layer, 0);

    if (model_is_mha(s->m))
        field_encode(&f, s->kern, in->x, place->codes, place->scales, NULL);
    else
        encode_latents(s, layer, in, place);
}

static void decode_latents(const codec_state *s, int layer, const codec_place *place)
{
    const model *m = s->m;
    const codec_scratch *to = place->scratch;
    const uint8_t *codes = place->codes, *scales = place->scales;

    for (int which = 0; which < 2; which++) {
        const field f = stored(s, layer, which);
        const codec_size size = field_size(&f);

        field_decode(&f, s->kern, codes, scales, to->x, to->v);
        remat_multiply(to->x, s->block_tokens, m->E, weights(s, layer, which) + m->E * m->D,
                       m->E, which ? to->v : to->k, 0);
        codes += size.codes;
        scales += size.scales;
    }
}

static void decode_xquant(const codec_state *s, int layer, const codec_place *place,
                          kv_tile *out)
{
    const model *m = s->m;
    const codec_scratch *to = place->scratch;
    const field f = stored(s, layer, 0);

    if (model_is_mha(m)) {
        field_decode(&f, s->kern, place->codes, place->scales, to->x, NULL);
        remat_multiply(to->x, s->block_tokens, m->D, weights(s, layer, 0), m->E, to->k, 0);
        remat_multiply(to->x, s->block_tokens, m->D, weights(s, layer, 1), m->E, to->v, 0);
    } else {
        decode_latents(s, layer, place);
    }
    codec_turn(s, place, out);
}

const codec codec_xquant = {.keeps_x = true,
                            .rebuilds = true,
                            .open = open_xquant,
                            .close = close_xquant,
                            .size = size_xquant,
                            .encode = encode_xquant,
                            .decode = decode_xquant};
