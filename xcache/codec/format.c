/* format.c - offsets of layers in a block.
 *
 *    codes 0 | scales 0 | codes 1 | scales 1 | ... | ids [B]
 *
 * Codes and scales of a layer are neighbours: they are read together, layer after layer. */
#include "xcache/codec/format.h"

#include <stdlib.h>

err format_open(block_format *out, const codec_state *c)
{
    const size_t L = c->m->L;
    /* one allocation: scales_at is its second half */
    block_format f = {.codec = c, .codes_at = malloc(2 * L * sizeof *f.codes_at)};
    size_t at = 0;

    if (!f.codes_at) return ERR_NOMEM;
    f.scales_at = f.codes_at + L;
    /* layers differ in size: kept ones have more bits, klt chooses bits by layer */
    for (size_t l = 0; l < L; l++) {
        const codec_size size = c->codec->size(c, (int)l);

        f.codes_at[l] = at;
        f.scales_at[l] = at + size.codes;
        at += size.codes + size.scales;
        f.codes_bytes += size.codes;
        f.scales_bytes += size.scales;
    }
    f.ids_at = at;
    f.bytes = at + c->block_tokens * sizeof(int32_t);
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
