/* format.c - offsets of layers in a block.
 *
 *    codes 0 | scales 0 | codes 1 | scales 1 | ... | ids [B]
 *
 * Codes and scales of a layer are neighbours: they are read together, layer after layer. With
 * windows in layers 0, 1, 3, 4:
 *
 *    codes 2 | scales 2 | codes 5 | scales 5 | ids [B] | codes 0 | scales 0 | codes 1 | ...
 *    '------------- wide_bytes -----------------------' */
#include "xcache/codec/format.h"

#include <stdlib.h>

/* Can windowed layers be done without? Not where a layer is decoded from the one before. */
static bool splits(const codec_state *c)
{
    bool some = false;

    for (size_t l = 0; l < c->m->L; l++) some |= model_window(c->m, l) > 0;
    return some && !c->codec->carries;
}

/* Layers differ in size: kept ones have more bits, klt chooses bits by layer. */
static void lay_out(block_format *f, size_t l, size_t *at)
{
    const codec_size size = f->codec->codec->size(f->codec, (int)l);

    f->codes_at[l] = *at;
    f->scales_at[l] = *at + size.codes;
    *at += size.codes + size.scales;
    f->codes_bytes += size.codes;
    f->scales_bytes += size.scales;
}

err format_open(block_format *out, const codec_state *c)
{
    const size_t L = c->m->L;
    const bool split = splits(c);
    /* one allocation: scales_at is its second half */
    block_format f = {.codec = c, .codes_at = malloc(2 * L * sizeof *f.codes_at)};
    size_t at = 0;

    if (!f.codes_at) return ERR_NOMEM;
    f.scales_at = f.codes_at + L;
    for (size_t l = 0; l < L; l++)
        if (!split || !model_window(c->m, l)) lay_out(&f, l, &at);
    f.ids_at = at;
    at += c->block_tokens * sizeof(int32_t);
    if (split) {
        f.wide_codes = f.codes_bytes;
        f.wide_scales = f.scales_bytes;
        f.wide_bytes = at;
        for (size_t l = 0; l < L; l++)
            if (model_window(c->m, l)) lay_out(&f, l, &at);
    }
    f.bytes = at;
    *out = f;
    return ERR_OK;
}

void format_close(block_format *f)
{
    free(f->codes_at);
    *f = (block_format){0};
}

codec_place format_place(const block_format *f, uint8_t *block, int layer)
{
    return (codec_place){.codes = block + f->codes_at[layer],
                         .scales = block + f->scales_at[layer],
                         .ids = format_ids(f, block)};
}

int32_t *format_ids(const block_format *f, uint8_t *block)
{
    return (int32_t *)(void *)(block + f->ids_at);
}
