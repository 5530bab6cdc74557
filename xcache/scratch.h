/* scratch.h - memory that does not depend on how many contexts there are: open pages, and one
 * place a worker to rebuild a tile in. One mapping, made when the cache opens. */
#ifndef XCACHE_SCRATCH_H
#define XCACHE_SCRATCH_H

#include <stddef.h>
#include <stdint.h>

#include "engine/err.h"
#include "xcache/codec/codec.h"

/* Room for the newest block_tokens tokens of one context. */
typedef struct open_page {
    void *k;      /* [L,G,B/16,C,16] with rotary positions applied, in codec.open_format */
    void *v;      /* [L,G,B,C], the same */
    float *x;     /* [L,B,D]; NULL where the codec keeps none */
    float *raw_k; /* [L,B,E] before rotary positions; NULL where the codec keeps none */
    float
        *state; /* [blocks,B,D] streaming: what a codec that carries hands from layer to layer,
                   for every sealed block of the context; NULL where nothing is carried */
    float *sealing, *rebuilding; /* [B,D] the same of the block that is sealed from this page,
                                    for its encoder and for its decoder */
    int32_t *ids;                /* [B] */
} open_page;

/* One layer of an open page's k or v. */
static inline void *open_numbers(const codec_state *s, void *all, int layer)
{
    return (char *)all +
           (size_t)layer * s->block_tokens * s->m->E * kv_number_bytes(s->codec->open_format);
}

typedef struct scratch {
    char *memory;
    size_t bytes, page_bytes;
    open_page *pages; /* [n_pages] */
    int n_pages;
    open_page **free; /* [n_pages] stack of free pages, n_free of them */
    int n_free;
    codec_scratch *slots; /* [n_slots]; NULL members where nothing is rebuilt */
    int n_slots;
    void *share; /* [codec_state.share_bytes] of one block that all slots encode; NULL: none */
} scratch;

/* Bytes of all of it; arguments as below. 0: out of memory. */
size_t scratch_measure(const codec_state *s, int pages, int slots, size_t stream_blocks);

/* Map room for so many pages and slots of s. stream_blocks: the longest context's, where
 * tiles are rebuilt inside a step; else 0. ERR_NOMEM. The caller closes. */
err scratch_open(scratch *out, const codec_state *s, int pages, int slots,
                 size_t stream_blocks);
void scratch_close(scratch *s);

/* Take a free page, NULL if there is none; give it back; copy all that it holds. */
open_page *scratch_take_page(scratch *s);
void scratch_give_page(scratch *s, open_page *p);
void scratch_copy_page(const scratch *s, open_page *to, const open_page *from);

#endif
