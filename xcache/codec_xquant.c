/* codec_xquant.c - xq<b>: layer inputs per token in groups of 128 channels, min-max codes;
 * the first three layers at 4 bits or more. For models whose query heads all have keys of
 * their own: there x is half of K and V. Source: arXiv:2508.10395, sections 3.1 and 4. */
#include <stdlib.h>

#include "xcache/codec.h"
#include "xcache/minmax.h"
#include "xcache/remat.h"

enum { FIRST_LAYERS = 3, FIRST_BITS = 4 };

static int layer_bits(const codec_state *s, int layer)
{
    return layer < FIRST_LAYERS && s->bits < FIRST_BITS ? FIRST_BITS : s->bits;
}

static err open_xquant(codec_state *s)
{
    remat *r;
    err e;

    if (!model_is_mha(s->m)) return ERR_MODEMODEL;
    r = malloc(sizeof *r);
    if (!r) return ERR_NOMEM;
    e = remat_open(r, s->m, s->kern, s->block_tokens);
    if (e != ERR_OK) {
        free(r);
        return e;
    }
    s->own = r;
    return ERR_OK;
}

static void close_xquant(codec_state *s)
{
    remat_close(s->own);
    free(s->own);
}

static codec_size size_xquant(const codec_state *s, int layer)
{
    return (codec_size){.codes = s->block_tokens * minmax_bytes(s->m->D, layer_bits(s, layer)),
                        .scales = s->block_tokens * minmax_groups(s->m->D) *
                                  sizeof(minmax_scale)};
}

static void encode_xquant(const codec_state *s, int layer, const codec_rows *in, uint8_t *codes,
                          uint8_t *scales)
{
    const int bits = layer_bits(s, layer);
    const size_t D = s->m->D, groups = minmax_groups(D);

    for (size_t t = 0; t < s->block_tokens; t++)
        minmax_encode(in->x + t * D, D, bits, codes + t * minmax_bytes(D, bits),
                      (minmax_scale *)(void *)scales + t * groups);
}

static void decode_xquant(const codec_state *s, int layer, const uint8_t *codes,
                          const uint8_t *scales, size_t first, const codec_scratch *scratch,
                          kv_tile *out)
{
    const int bits = layer_bits(s, layer);
    const size_t D = s->m->D, groups = minmax_groups(D);

    for (size_t t = 0; t < s->block_tokens; t++)
        minmax_decode(codes + t * minmax_bytes(D, bits),
                      (const minmax_scale *)(const void *)scales + t * groups, D, bits,
                      scratch->x + t * D);
    remat_block(s->own, layer, scratch->x, first, scratch->k, scratch->v);
    *out = (kv_tile){KV_FLOAT, scratch->k, scratch->v};
}

const codec codec_xquant = {.keeps_x = true,
                            .rebuilds = true,
                            .open = open_xquant,
                            .close = close_xquant,
                            .size = size_xquant,
                            .encode = encode_xquant,
                            .decode = decode_xquant};
