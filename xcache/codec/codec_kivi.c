/* codec_kivi.c - kivi<b>: keys before rotary positions per channel over a block's tokens,
 * values per token; the first layers at 4 bits or more. Source: arXiv:2402.02750, made
 * stronger as arXiv:2508.10395 (section 4) does for its baseline. */
#include <string.h>

#include "xcache/codec/codec.h"
#include "xcache/codec/field.h"

/* Keys have outliers in a few channels, of every token alike: groups along tokens keep them
 * from widening the range of others. Rotary positions would spread each over two channels,
 * hence raw_k. */
static field keys(const codec_state *s, int layer)
{
    return (field){.rows = s->block_tokens,
                   .width = s->m->E,
                   .bits = field_layer_bits(s, layer),
                   .axis = FIELD_PER_CHANNEL,
                   .group = s->tuning.group};
}

static field values(const codec_state *s, int layer)
{
    return (field){.rows = s->block_tokens,
                   .width = s->m->E,
                   .bits = field_layer_bits(s, layer),
                   .axis = FIELD_PER_TOKEN,
                   .group = s->tuning.group};
}

static codec_size size_kivi(const codec_state *s, int layer)
{
    const field fk = keys(s, layer), fv = values(s, layer);
    const codec_size k = field_size(&fk), v = field_size(&fv);

    return (codec_size){k.codes + v.codes, k.scales + v.scales};
}

/* v [G,B,C] to [B,G,C]. */
static void gather_values(const codec_state *s, const float *v, float *out)
{
    const size_t B = s->block_tokens, G = s->m->G, C = s->m->C;

    for (size_t t = 0; t < B; t++)
        for (size_t g = 0; g < G; g++)
            memcpy(out + (t * G + g) * C, v + (g * B + t) * C, C * sizeof *v);
}

static void encode_kivi(const codec_state *s, int layer, const codec_rows *in,
                        const codec_place *place)
{
    const field fv = values(s, layer);
    field fk = keys(s, layer);
    const codec_size k = field_size(&fk);

    fk.unread = in->sinks;
    /* room for keys turned to rows, then for values in the order of tokens */
    field_encode(&fk, s->kern, in->raw_k, place->codes, place->scales, place->scratch->k);
    gather_values(s, in->v, place->scratch->v);
    field_encode(&fv, s->kern, place->scratch->v, place->codes + k.codes,
                 place->scales + k.scales, NULL);
}

static void decode_kivi(const codec_state *s, int layer, const codec_place *place, kv_tile *out)
{
    const field fk = keys(s, layer), fv = values(s, layer);
    const codec_size k = field_size(&fk);
    const codec_scratch *to = place->scratch;

    field_decode(&fk, s->kern, place->codes, place->scales, to->k, to->v);
    field_decode(&fv, s->kern, place->codes + k.codes, place->scales + k.scales, to->v, NULL);
    codec_turn(s, layer, place, out);
}

const codec codec_kivi = {.keeps_raw_k = true,
                          .rebuilds = true,
                          .uses = CODEC_GROUP | CODEC_KEPT,
                          .size = size_kivi,
                          .encode = encode_kivi,
                          .decode = decode_kivi};
