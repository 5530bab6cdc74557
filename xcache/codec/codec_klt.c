/* codec_klt.c - klt<R>: predictive coding of layer inputs over depth, in the calibrated basis
 * of a plan.
 *
 *   codes of a block    u32 end [L] | layer 1 | layer 2 | ... | layer L-1 | unused
 *
 * Layer 0 stores nothing: its input follows from the token ids. Layers 1 .. L-1 fill as many
 * bytes as they need, and end[l] says where each ends, counted from the front; all of them
 * together have a fixed size, so that the ratio in the mode's name is exact. rate.h steers the
 * step from layer to layer; what does not fit is coded more coarsely, in the end not at all
 * (klt.h), so that a block never fails. Formulas: klt.h. */
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "xcache/codec/codec.h"
#include "xcache/codec/klt.h"
#include "xcache/codec/klt_share.h"
#include "xcache/codec/projection.h"
#include "xcache/codec/rate.h"

typedef struct transform {
    projection kv;
    bool borrowed; /* it is that of the codec beside */
    klt_coder coder;
    rate rate;
    klt_layer layers[]; /* [L], 0 empty */
} transform;

static void close_klt(codec_state *s)
{
    transform *own = s->own;

    for (size_t l = 1; own && l < s->m->L; l++) klt_close(&own->layers[l]);
    if (own && !own->borrowed) projection_close(&own->kv);
    if (own) klt_close_coder(&own->coder);
    if (own) rate_close(&own->rate);
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
    TRY(rate_open(&own->rate, s->plan, s->block_tokens, s->ratio));
    TRY(klt_open_coder(&own->coder, s->kern, s->plan, own->rate.step));
    for (size_t l = 1; l < s->m->L; l++) {
        const plan_layer from = plan_read_layer(s->plan, l);

        TRY(klt_open(&own->layers[l], s->kern, s->m, l, &from, own->rate.step));
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
    return a.D == m->D && a.L == m->L && a.E == m->E && a.C == m->C ? ERR_OK : ERR_PLANMODEL;
}

static err measure_klt(codec_state *s)
{
    const size_t least = s->m->L * (sizeof(uint32_t) + 1);
    double step;

    TRY(check_plan(s));
    if (plan_code_bytes(s->m->E, s->m->L, s->block_tokens, s->ratio) < least)
        return ERR_PLANMODEL;
    step = rate_step(s->plan, s->block_tokens, s->ratio);
    s->temp_floats = klt_temp_floats(s->block_tokens, s->m->D); /* a projection wants less */
    s->share_bytes = klt_share_bytes(s->block_tokens, s->m->D);
    assert(projection_temp_floats(s->m, s->block_tokens) <= s->temp_floats);
    s->bytes = (borrows(s) ? 0 : projection_bytes(s->m)) + klt_coder_bytes();
    for (size_t l = 1; l < s->m->L; l++) {
        const plan_layer from = plan_read_layer(s->plan, l);

        s->bytes += klt_bytes(s->m->D, &from, step);
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

/* All layers share the codes, which begin where the block does: the last layer's, because those
 * before it have none. */
static codec_size size_klt(const codec_state *s, int layer)
{
    const model *m = s->m;

    if ((size_t)layer + 1 < m->L) return (codec_size){0, 0};
    return (codec_size){plan_code_bytes(m->E, m->L, s->block_tokens, s->ratio), 0};
}

/* Layer 0: x = norm of the embedding, to the bit what forward computes. */
static void embed(const codec_state *s, const codec_place *place)
{
    const model *m = s->m;
    float *row = place->scratch->x;

    for (size_t t = 0; t < s->block_tokens; t++) {
        model_embed(m, place->ids[t], row);
        /* computed again, not stored: exact, no bytes, and every prediction starts from it */
        model_norm_row(m, s->kern, &m->layers[0].attn_norm, row, place->state + t * m->D);
    }
}

/* --- where layers end --- */

static size_t read_end(const codec_place *place, int layer)
{
    uint32_t end;

    memcpy(&end, place->codes + (size_t)layer * sizeof end, sizeof end);
    return end;
}

static void write_end(const codec_place *place, int layer, size_t at)
{
    const uint32_t end = (uint32_t)at;

    memcpy(place->codes + (size_t)layer * sizeof end, &end, sizeof end);
}

static klt_block block_of(const codec_state *s, const codec_place *place, size_t from,
                          size_t to)
{
    const transform *own = s->own;

    return (klt_block){.coder = &own->coder,
                       .rows = s->block_tokens,
                       .state = place->state,
                       .temp = place->scratch->temp,
                       .code = place->codes + from,
                       .room = to - from};
}

/* --- the codec --- */

/* What the layers below took: it is all in the block, so nothing has to be kept beside. */
static rate_block read_spent(const codec_state *s, int layer, const codec_place *place)
{
    const transform *own = s->own;
    rate_block spent = {0};

    for (int l = 1; l < layer; l++) {
        const size_t from = read_end(place, l - 1), bytes = read_end(place, l) - from;
        int multiplier;

        if (klt_read_multiplier(place->codes + from, &multiplier))
            rate_note(&own->rate, &spent, (size_t)l, multiplier, bytes);
    }
    return spent;
}

/* The multiplier that a layer begins with. */
static int steer(const codec_state *s, int layer, const codec_place *place)
{
    const transform *own = s->own;
    const rate_block spent = read_spent(s, layer, place);

    return rate_steer(&own->rate, &spent, (size_t)layer,
                      own->rate.code_bytes - read_end(place, layer - 1));
}

/* What a layer is encoded into: all that is left, but for a byte for each layer that follows,
 * so that all of them can at least say nothing. */
static klt_block room_of(const codec_state *s, int layer, const codec_place *place,
                         size_t sinks)
{
    const transform *own = s->own;
    const size_t reserved = s->m->L - 1 - (size_t)layer;
    klt_block b = block_of(s, place, read_end(place, layer - 1),
                           own->rate.code_bytes - reserved);

    b.sinks = sinks;
    return b;
}

static void encode_layer(const codec_state *s, int layer, const float *x,
                         const codec_place *place, size_t sinks)
{
    const transform *own = s->own;
    klt_block b = room_of(s, layer, place, sinks);
    const size_t bytes = klt_encode(&own->layers[layer], &b, x, steer(s, layer, place));

    write_end(place, layer, read_end(place, layer - 1) + bytes);
}

static void encode_first(const codec_state *s, const codec_place *place)
{
    embed(s, place);
    write_end(place, 0, s->m->L * sizeof(uint32_t));
}

static void encode_klt(const codec_state *s, int layer, const codec_rows *in,
                       const codec_place *place)
{
    if (layer == 0)
        encode_first(s, place);
    else
        encode_layer(s, layer, in->x, place, in->sinks);
}

static void encode_part_klt(const codec_state *s, int layer, const codec_rows *in,
                            const codec_place *place, const codec_share *share)
{
    const transform *own = s->own;
    const klt_layer *l = &own->layers[layer];
    klt_share *w = share->memory;

    if (layer == 0) {
        if (share->stage == CODEC_WRITE) encode_first(s, place);
        return;
    }
    switch (share->stage) {
    case CODEC_PREDICT: {
        const klt_block b = room_of(s, layer, place, in->sinks);

        klt_share_predict(w, l, &b, in->x, share->part, share->parts);
        return;
    }
    case CODEC_QUANTIZE:
        klt_share_quantize(w, l, share->part, steer(s, layer, place));
        return;
    case CODEC_WRITE: {
        const size_t bytes = klt_share_write(w, l, steer(s, layer, place));

        write_end(place, layer, read_end(place, layer - 1) + bytes);
        return;
    }
    case CODEC_HOLD:
        klt_share_hold(w, l, share->part);
        return;
    case CODEC_STAGES:
        return;
    }
}

static void expand_klt(const codec_state *s, int layer, const codec_place *place, kv_tile *out)
{
    const transform *own = s->own;
    const codec_scratch *to = place->scratch;

    projection_run(&own->kv, (size_t)layer, place->state, s->block_tokens, to->temp, to->k,
                   to->v);
    codec_finish(s, layer, place, out);
}

/* Bytes are trusted to be ours, not to be right: no end lies outside the block. */
static void decode_layer(const codec_state *s, int layer, const codec_place *place)
{
    const transform *own = s->own;
    const size_t all = own->rate.code_bytes;
    size_t from = read_end(place, layer - 1), to = read_end(place, layer);
    klt_block b;

    to = to > all ? all : to;
    from = from > to ? to : from;
    b = block_of(s, place, from, to);
    klt_decode(&own->layers[layer], &b);
}

/* The first half of decode: the layer's input in place.state. */
static void decode_inputs(const codec_state *s, int layer, const codec_place *place)
{
    if (layer == 0)
        embed(s, place);
    else
        decode_layer(s, layer, place);
}

static void decode_klt(const codec_state *s, int layer, const codec_place *place, kv_tile *out)
{
    decode_inputs(s, layer, place);
    expand_klt(s, layer, place, out);
}

/* Both states are carried on, each at its own step: `from` holds what the block says, `to` what
 * the smaller one will. The exact inputs are long gone, and not needed. Where the block lies in
 * its context is not known here, so its first tokens are coded like all others. */
static void transcode_klt(const codec_state *s, const codec_state *other, int layer,
                          const codec_place *from, const codec_place *to)
{
    decode_inputs(s, layer, from);
    if (layer == 0)
        encode_first(other, to);
    else
        encode_layer(other, layer, from->state, to, 0);
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
                         .encode_part = encode_part_klt,
                         .decode = decode_klt,
                         .expand = expand_klt,
                         .transcode = transcode_klt};
