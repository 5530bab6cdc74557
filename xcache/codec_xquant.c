/* codec_xquant.c - xq<b>: layer inputs, min-max codes, the first layers at 4 bits or
 * more. Where every query head has keys of its own x is stored, per token: it is half of K
 * and V. With grouped heads x is wider than K and V together, so its latents are stored: x Uk
 * per channel, where all outliers sit in channel 0, and x Uv per token, both as wide as K
 * unless the tuning keeps a smaller rank.
 * Source: arXiv:2508.10395, sections 3.1 to 3.3. */
#include <stdlib.h>
#include <string.h>

#include "xcache/field.h"
#include "xcache/remat.h"
#include "xcache/svd.h"

/* Components of a latent that are stored: N of E, in eights as codes are packed. */
static size_t latent(const codec_state *s)
{
    const size_t kept = (s->m->E * (size_t)s->tuning.rank_percent + 99) / 100;
    const size_t whole = (kept + 7) / 8 * 8;

    return whole < s->m->E ? whole : s->m->E;
}

/* Per layer and for K, then V: MHA  w [E,D];  GQA  u_t [N,D], then m [E,N]. */
static size_t weights_of_one(const codec_state *s)
{
    const model *m = s->m;

    return model_is_mha(m) ? m->E * m->D : latent(s) * (m->D + m->E);
}

static const float *weights(const codec_state *s, int layer, int which)
{
    return (const float *)s->own + ((size_t)layer * 2 + (size_t)which) * weights_of_one(s);
}

/* One matrix w [E,D] into u_t and m at `out`. spare: u_t, m at full rank. */
static err factor_one(const codec_state *s, const float *w, float *spare, float *out)
{
    const size_t E = s->m->E, D = s->m->D, N = latent(s);
    const float *left = spare + E * D;

    TRY(svd_factor(w, E, D, spare, spare + E * D));
    memcpy(out, spare, N * D * sizeof *out);
    for (size_t r = 0; r < E; r++) memcpy(out + N * D + r * N, left + r * E, N * sizeof *out);
    return ERR_OK;
}

/* Factor every Wk and Wv of `all` into s->own. */
static err factor(codec_state *s, const float *all)
{
    const model *m = s->m;
    float *spare = malloc(m->E * (m->D + m->E) * sizeof *spare), *out = s->own;
    err e = spare ? ERR_OK : ERR_NOMEM;

    for (size_t i = 0; i < 2 * m->L && e == ERR_OK; i++, out += weights_of_one(s))
        e = factor_one(s, all + i * m->E * m->D, spare, out);
    free(spare);
    return e;
}

static err measure_xquant(codec_state *s)
{
    s->bytes = 2 * s->m->L * weights_of_one(s) * sizeof(float);
    return !model_is_mha(s->m) && s->m->E > s->m->D ? ERR_MODEMODEL : ERR_OK;
}

static err open_xquant(codec_state *s)
{
    float *all = remat_weights(s->m);
    err e;

    if (!all) return ERR_NOMEM;
    if (model_is_mha(s->m)) {
        s->own = all;
        return ERR_OK;
    }
    s->own = malloc(s->bytes);
    e = s->own ? factor(s, all) : ERR_NOMEM;
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
    const int bits = field_layer_bits(s, layer);

    if (model_is_mha(s->m))
        return (field){s->block_tokens, s->m->D, bits, FIELD_PER_TOKEN, s->tuning.group};
    return (field){s->block_tokens, latent(s), bits,
                   which ? FIELD_PER_TOKEN : FIELD_PER_CHANNEL, s->tuning.group};
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

        remat_multiply(in->x, s->block_tokens, s->m->D, weights(s, layer, which), f.width,
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
        remat_multiply(to->x, s->block_tokens, f.width,
                       weights(s, layer, which) + f.width * m->D, m->E, which ? to->v : to->k,
                       0);
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
    codec_finish(s, layer, place, out);
}

const codec codec_xquant = {.keeps_x = true,
                            .open_format = KV_HALF,
                            .rebuilds = true,
                            .uses = CODEC_GROUP | CODEC_KEPT | CODEC_RANK,
                            .measure = measure_xquant,
                            .open = open_xquant,
                            .close = close_xquant,
                            .size = size_xquant,
                            .encode = encode_xquant,
                            .decode = decode_xquant};
