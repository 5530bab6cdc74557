/* codec_kv.c - kv32 and kv16: keys (after rotary positions) and values themselves, in the order
 * that attention reads.
 *
 * Nothing is coded and nothing rebuilt: a tile is the block. So these modes need no workspace,
 * and kv32 is what every other mode's KL is measured against. */
#include <string.h>

#include "xcache/codec/codec.h"

static kv_tile stored(const codec_state *s, kv_format format, const codec_place *place)
{
    const size_t B = s->block_tokens;

    return kv_stored_tile(format, place->codes,
                          place->codes + B * s->m->E * kv_number_bytes(format), s->m->C, B);
}

/* Without scales: halves and floats stand for themselves. */
static codec_size size_of(const codec_state *s, size_t element)
{
    return (codec_size){.codes = 2 * s->block_tokens * s->m->E * element};
}

static codec_size size_kv32(const codec_state *s, int layer)
{
    (void)layer;
    return size_of(s, sizeof(float));
}

static codec_size size_kv16(const codec_state *s, int layer)
{
    (void)layer;
    return size_of(s, sizeof(uint16_t));
}

/* What an open page of that format holds is what is stored. */
static void copy(const codec_state *s, kv_format format, const codec_rows *in,
                 const codec_place *place)
{
    /* the open page is in the format of the block, so encoding is two copies */
    const size_t bytes = s->block_tokens * s->m->E * kv_number_bytes(format);

    memcpy(place->codes, in->k, bytes);
    memcpy(place->codes + bytes, in->v, bytes);
}

static void encode_kv32(const codec_state *s, int layer, const codec_rows *in,
                        const codec_place *place)
{
    (void)layer;
    copy(s, KV_FLOAT, in, place);
}

static void decode_kv32(const codec_state *s, int layer, const codec_place *place, kv_tile *out)
{
    (void)layer;
    *out = stored(s, KV_FLOAT, place);
}

static void encode_kv16(const codec_state *s, int layer, const codec_rows *in,
                        const codec_place *place)
{
    (void)layer;
    copy(s, KV_HALF, in, place);
}

static void decode_kv16(const codec_state *s, int layer, const codec_place *place, kv_tile *out)
{
    (void)layer;
    *out = stored(s, KV_HALF, place);
}

const codec codec_kv32 = {.size = size_kv32, .encode = encode_kv32, .decode = decode_kv32};
const codec codec_kv16 = {
    .open_format = KV_HALF, .size = size_kv16, .encode = encode_kv16, .decode = decode_kv16};
