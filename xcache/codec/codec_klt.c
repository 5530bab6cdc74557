/* codec_klt.c - klt<R>: predictive coding of layer inputs over depth, in the calibrated basis
 * of a plan. Layer 0 stores nothing: its input follows from the token ids. Layers 1 .. L-1
 * store codes by component and a half a token. Formulas: klt.h. */
#include <assert.h>
#include <stdlib.h>

#include "xcache/codec/codec.h"
#include "xcache/codec/klt.h"
#include "xcache/codec/projection.h"

typedef struct transform {
    projection kv;
    bool borrowed; /* it is that of the codec beside */
    klt_books books;
    klt_layer layers[]; /* [L], 0 empty */
} transform;

static void close_klt(codec_state *s)
{
    transform *own = s->own;

    for (size_t l = 1; own && l < s->m->L; l++) klt_close(&own->layers[l]);
    if (own && !own->borrowed) projection_close(&own->kv);
    free(own);
    s->own = NULL;
}

/* Is the projection that of the codec beside it? */
static bool borrows(const codec_state *s)
{
    return s->beside && s->beside->codec == s->codec;
}

static err open_projection(const codec_state *s, transform *own)
{
    own->borrowed = borrows(s);
    if (!own->borrowed) return projection_open(&own->kv, s->m, s->kern);
    /* a second plan of the same model: with float weights it would be one more copy of Wk and
     * Wv */
    own->kv = ((const transform *)s->beside->own)->kv;
    return ERR_OK;
}

static err open_layers(codec_state *s, transform *own)
{
    TRY(open_projection(s, own));
    /* a few microseconds; and books of all widths, for every layer chooses bits by component */
    klt_make_books(&own->books);
    for (size_t l = 1; l < s->m->L; l++) {
        const plan_layer from = plan_read_layer(s->plan, l);

        TRY(klt_open(&own->layers[l], s->kern, s->m->D, &from));
    }
    return ERR_OK;
}

static err check_plan(const codec_state *s)
{
    const model *m = s->m;
    plan_about a;

    if (!s->plan) return ERR_NOPLAN;
    a = plan_read_about(s->plan);
    /* sizes alone here: plan_open has compared the weights' hash where a file was opened for a
     * model */
    return a.D == m->D && a.L == m->L && a.E == m->E && a.ratio == s->ratio ? ERR_OK
                                                                            : ERR_PLANMODEL;
}

static err measure_klt(codec_state *s)
{
    TRY(check_plan(s));
    /* turned components and levels side by side, see klt.c */
    s->temp_floats = 2 * s->block_tokens * s->m->D; /* a projection wants less */
    assert(projection_temp_floats(s->m, s->block_tokens) <= s->temp_floats);
    s->bytes = borrows(s) ? 0 : projection_bytes(s->m);
    for (size_t l = 1; l < s->m->L; l++) {
        const plan_layer from = plan_read_layer(s->plan, l);

        s->bytes += klt_bytes(s->m->D, &from);
    }
    return ERR_OK;
}

static err open_klt(codec_state *s)
{
    /* zeroed, so that closing after a failure finds layers that were never opened empty */
    transform *own = calloc(1, sizeof *own + s->m->L * sizeof own->layers[0]);
    err e;

    if (!own) return ERR_NOMEM;
    s->own = own;
    e = open_layers(s, own);
    if (e != ERR_OK) close_klt(s);
    return e;
}

static codec_size size_klt(const codec_state *s, int layer)
{
    size_t bits = 0;
    plan_layer l;

    if (layer == 0) return (codec_size){0, 0};
    l = plan_read_layer(s->plan, (size_t)layer);
    /* tokens are a multiple of 8, so each component's codes end at a byte whatever its bits */
    for (size_t i = 0; i < l.n; i++) bits += l.bits[i];
    return (codec_size){s->block_tokens * bits / 8, s->block_tokens * sizeof(uint16_t)};
}

/* Layer 0: x = rmsnorm(embedding) * gain, to the bit what forward computes. */
static void embed(const codec_state *s, const codec_place *place)
{
    const model *m = s->m;
    float *row = place->scratch->x;

    for (size_t t = 0; t < s->block_tokens; t++) {
        model_embed(m, place->ids[t], row);
        /* computed again, not stored: exact, no bytes, and every prediction starts from it */
        s->kern->rms_norm(row, m->layers[0].attn_norm, m->D, m->eps, place->state + t * m->D);
    }
}

static klt_block block_of(const codec_state *s, const codec_place *place)
{
    const transform *own = s->own;

    return (klt_block){.kern = s->kern,
                       .books = &own->books,
                       .rows = s->block_tokens,
                       .state = place->state,
                       .temp = place->scratch->temp,
                       .codes = place->codes,
                       .scale = (uint16_t *)(void *)place->scales};
}

static void encode_klt(const codec_state *s, int layer, const codec_rows *in,
                       const codec_place *place)
{
    const transform *own = s->own;
    const klt_block b = block_of(s, place);

    if (layer == 0)
        embed(s, place);
    else
        klt_encode(&own->layers[layer], &b, in->x);
}

static void expand_klt(const codec_state *s, int layer, const codec_place *place, kv_tile *out)
{
    const transform *own = s->own;
    const codec_scratch *to = place->scratch;

    projection_run(&own->kv, (size_t)layer, place->state, s->block_tokens, to->temp, to->k,
                   to->v);
    codec_finish(s, layer, place, out);
}

/* The first half of decode: the layer's input in place.state. */
static void decode_inputs(const codec_state *s, int layer, const codec_place *place)
{
    const transform *own = s->own;
    const klt_block b = block_of(s, place);

    if (layer == 0)
        embed(s, place);
    else
        klt_decode(&own->layers[layer], &b);
}

static void decode_klt(const codec_state *s, int layer, const codec_place *place, kv_tile *out)
{
    decode_inputs(s, layer, place);
    expand_klt(s, layer, place, out);
}

/* Both states are carried on, each by its own plan: `from` holds what the block says, `to` what
 * the smaller one will. The exact inputs are long gone, and not needed. */
static void transcode_klt(const codec_state *s, const codec_state *other, int layer,
                          const codec_place *from, const codec_place *to)
{
    const codec_rows in = {.x = from->state};

    decode_inputs(s, layer, from);
    encode_klt(other, layer, &in, to);
}

const codec codec_klt = {.keeps_x = true,
                         .open_format = KV_HALF,
                         .rebuilds = true,
                         .carries = true,
                         .measure = measure_klt,
                         .open = open_klt,
                         .close = close_klt,
                         .size = size_klt,
                         .encode = encode_klt,
                         .decode = decode_klt,
                         .expand = expand_klt,
                         .transcode = transcode_klt};
