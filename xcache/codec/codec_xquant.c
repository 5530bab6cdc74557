/* codec_xquant.c - xq<b>: layer inputs, min-max codes, the first layers at 4 bits or
 * more. Where every query head has keys of its own x is stored, per token: it is half of K
 * and V. With grouped heads x is wider than K and V together, so its latents are stored: x Uk
 * per channel, where all outliers sit in channel 0, and x Uv per token, both as wide as K
 * unless the tuning keeps a smaller rank.
 * Source: arXiv:2508.10395, sections 3.1 to 3.3. */
#include <stdlib.h>
#include <string.h>

#include "xcache/codec/field.h"
#include "xcache/codec/projection.h"
#include "xcache/codec/remat.h"
#include "xcache/codec/svd.h"

/* Components of a latent that are stored: N of E, in eights as codes are packed. */
static size_t latent(const codec_state *s)
{
    const size_t kept = (s->m->E * (size_t)s->tuning.rank_percent + 99) / 100;
    /* docs/ablations.md: a cut rank is a bad buy; 75 % costs twenty times the error of 4-bit
     * codes */
    const size_t whole = (kept + 7) / 8 * 8;

    return whole < s->m->E ? whole : s->m->E;
}

typedef struct weights {
    projection kv;  /* MHA */
    float *factors; /* GQA [L,2]: u_t [N,D], then m [E,N], of K, then V */
} weights;

static size_t factors_of_one(const codec_state *s)
{
    return latent(s) * (s->m->D + s->m->E);
}

static const float *factors(const codec_state *s, int layer, int which)
{
    const weights *own = s->own;

    return own->factors + ((size_t)layer * 2 + (size_t)which) * factors_of_one(s);
}

/* One matrix w [E,D] into u_t and m at `out`. spare: u_t, m at full rank. */
static err factor_one(const codec_state *s, const float *w, float *spare, float *out)
{
    const size_t E = s->m->E, D = s->m->D, N = latent(s);
    const float *left = spare + E * D;

    /* components fall by singular value, so a smaller rank is the first rows of u_t, and the
     * first columns of m */
    TRY(svd_factor(w, E, D, spare, spare + E * D));
    memcpy(out, spare, N * D * sizeof *out);
    for (size_t r = 0; r < E; r++) memcpy(out + N * D + r * N, left + r * E, N * sizeof *out);
    return ERR_OK;
}

/* Factor every Wk and Wv of `all` into `out`. */
static err factor_all(const codec_state *s, const float *all, float *out)
{
    const model *m = s->m;
    float *spare = malloc(m->E * (m->D + m->E) * sizeof *spare);
    err e = spare ? ERR_OK : ERR_NOMEM;

    for (size_t i = 0; i < 2 * m->L && e == ERR_OK; i++, out += factors_of_one(s))
        e = factor_one(s, all + i * m->E * m->D, spare, out);
    free(spare);
    return e;
}

static err open_factors(const codec_state *s, weights *own)
{
    /* the weights are of no use after this: x is only ever multiplied by their factors */
    float *all = remat_weights(s->m);
    err e = ERR_NOMEM;

    own->factors = malloc(s->bytes);
    if (all && own->factors) e = factor_all(s, all, own->factors);
    free(all);
    return e;
}

static err measure_xquant(codec_state *s)
{
    const model *m = s->m;

    if (model_is_mha(m)) {
        s->temp_floats = projection_temp_floats(m, s->block_tokens);
        s->bytes = projection_bytes(m);
        return ERR_OK;
    }
    s->bytes = 2 * m->L * factors_of_one(s) * sizeof(float);
    /* beyond that a latent would have more components than x, and x itself is smaller */
    return m->E > m->D ? ERR_MODEMODEL : ERR_OK;
}

static void close_xquant(codec_state *s)
{
    weights *own = s->own;

    projection_close(&own->kv);
    free(own->factors);
    free(own);
}

/* s->own is set before anything can fail, so that one close undoes all of it. */
static err open_xquant(codec_state *s)
{
    weights *own = calloc(1, sizeof *own);
    err e;

    if (!own) return ERR_NOMEM;
    s->own = own;
    e = model_is_mha(s->m) ? projection_open(&own->kv, s->m, s->kern) : open_factors(s, own);
    if (e != ERR_OK) close_xquant(s);
    return e;
}

/* What is stored for K (which = 0) and V (1); MHA: x, as the only one. */
static field stored(const codec_state *s, int layer, int which)
{
    const bool whole = model_is_mha(s->m);

    return (field){.rows = s->block_tokens,
                   .width = whole ? s->m->D : latent(s),
                   .bits = field_layer_bits(s, layer),
                   .axis = whole || which ? FIELD_PER_TOKEN : FIELD_PER_CHANNEL,
                   .group = s->tuning.group};
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
        field f = stored(s, layer, which);
        const codec_size size = field_size(&f);

        f.unread = in->sinks;
        /* scratch k and v are free: no tile is made while a block is encoded */
        remat_multiply(in->x, s->block_tokens, s->m->D, factors(s, layer, which), f.width,
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

        /* v is filled last: until then it is the room in which K's latent is turned */
        field_decode(&f, s->kern, codes, scales, to->x, to->v);
        remat_multiply(to->x, s->block_tokens, f.width,
                       factors(s, layer, which) + f.width * m->D, m->E, which ? to->v : to->k,
                       0);
        codes += size.codes;
        scales += size.scales;
    }
}

static void decode_xquant(const codec_state *s, int layer, const codec_place *place,
                          kv_tile *out)
{
    const model *m = s->m;
    const weights *own = s->own;
    const codec_scratch *to = place->scratch;
    const field f = stored(s, layer, 0);

    if (model_is_mha(m)) {
        field_decode(&f, s->kern, place->codes, place->scales, to->x, NULL);
        /* one x for both: this is where x as the thing stored is half of K and V */
        projection_run(&own->kv, (size_t)layer, to->x, s->block_tokens, to->temp, to->k, to->v);
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
