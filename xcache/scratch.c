/* scratch.c - one mapping, carved in order.
 *
 *    page 0 .. n-1    k | v | x | raw_k | ids        of all layers; page_bytes together
 *    state            one a page, streaming only: what a codec carries, of every sealed block
 *    sealing, rebuilding   one a page: of the block that is sealed from it
 *    slot 0 .. m-1    x | k v | kt | temp | state    one a worker
 *    share            what workers hand on that encode a block together
 *
 * What a codec does not ask for is not there, and its pointer is NULL. */
#include "xcache/scratch.h"

#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

/* In lines, so that no two workers write to one. Without memory it only counts. */
static void *carve(const scratch *s, size_t *at, size_t bytes)
{
    const size_t start = *at;

    *at += (bytes + 63) / 64 * 64;
    return s->memory ? s->memory + start : NULL;
}

static void lay_out_page(const scratch *s, size_t *at, const codec_state *c, open_page *p)
{
    const model *m = c->m;
    const size_t B = c->block_tokens, f4 = sizeof(float);
    const codec *kind = c->codec;

    p->k = carve(s, at, m->L * B * m->E * kv_number_bytes(kind->open_format));
    p->v = carve(s, at, m->L * B * m->E * kv_number_bytes(kind->open_format));
    p->x = kind->keeps_x ? carve(s, at, m->L * B * m->D * f4) : NULL;
    p->raw_k = kind->keeps_raw_k ? carve(s, at, m->L * B * m->E * f4) : NULL;
    p->ids = carve(s, at, B * sizeof *p->ids);
}

static void lay_out_slot(const scratch *s, size_t *at, const codec_state *c, codec_scratch *p)
{
    const model *m = c->m;
    const size_t B = c->block_tokens, f4 = sizeof(float);

    p->x = carve(s, at, B * m->D * f4);
    p->k = carve(s, at, 2 * B * m->E * f4);
    /* neighbours: a latent of both, 2E wide, may lie across them */
    p->v = p->k ? p->k + B * m->E : NULL;
    p->kt = carve(s, at, B * m->E * f4);
    p->temp = carve(s, at, c->temp_floats * f4);
    p->state = c->codec->carries ? carve(s, at, B * m->D * f4) : NULL;
}

/* Lay pages and slots out from s->memory, or only count when it is NULL. */
static size_t lay_out(scratch *s, const codec_state *c, size_t stream_blocks)
{
    const size_t B = c->block_tokens, D = c->m->D;
    size_t at = 0;

    for (int i = 0; i < s->n_pages; i++) {
        lay_out_page(s, &at, c, &s->pages[i]);
        /* what a fork copies; states are elsewhere, for they are never copied */
        if (i == 0) s->page_bytes = at;
    }
    for (int i = 0; i < s->n_pages && stream_blocks && c->codec->carries; i++)
        s->pages[i].state = carve(s, &at, stream_blocks * B * D * sizeof(float));
    for (int i = 0; i < s->n_pages && c->codec->carries; i++) {
        s->pages[i].sealing = carve(s, &at, B * D * sizeof(float));
        s->pages[i].rebuilding = carve(s, &at, B * D * sizeof(float));
    }
    for (int i = 0; i < s->n_slots && c->codec->rebuilds; i++)
        lay_out_slot(s, &at, c, &s->slots[i]);
    s->share = s->n_slots > 1 && c->share_bytes ? carve(s, &at, c->share_bytes) : NULL;
    return at;
}

/* The tables, and s->bytes. The caller closes *s, also after ERR_NOMEM. */
static err prepare(scratch *s, const codec_state *c, size_t stream_blocks)
{
    s->pages = calloc((size_t)s->n_pages, sizeof *s->pages);
    s->free = calloc((size_t)s->n_pages, sizeof(open_page *));
    s->slots = calloc((size_t)s->n_slots, sizeof *s->slots);
    if (!s->pages || !s->free || !s->slots) return ERR_NOMEM;
    s->bytes = lay_out(s, c, stream_blocks);
    return ERR_OK;
}

size_t scratch_measure(const codec_state *c, int pages, int slots, size_t stream_blocks)
{
    scratch s = {.n_pages = pages, .n_slots = slots};
    /* by the same code that lays out, so that what is announced is what is taken */
    const err e = prepare(&s, c, stream_blocks);
    const size_t bytes = s.bytes;

    scratch_close(&s);
    return e == ERR_OK ? bytes : 0;
}

err scratch_open(scratch *out, const codec_state *c, int pages, int slots, size_t stream_blocks)
{
    scratch s = {.n_pages = pages, .n_slots = slots};
    const err e = prepare(&s, c, stream_blocks);
    void *at;

    *out = s;
    TRY(e);
    at = mmap(NULL, s.bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (at == MAP_FAILED) return ERR_NOMEM;
    (void)madvise(at, s.bytes, MADV_HUGEPAGE); /* where allowed */
    s.memory = at;
    lay_out(&s, c, stream_blocks);
    for (int i = 0; i < pages; i++) s.free[s.n_free++] = &s.pages[i];
    *out = s;
    return ERR_OK;
}

void scratch_close(scratch *s)
{
    if (s->memory) munmap(s->memory, s->bytes);
    free(s->pages);
    free(s->free);
    free(s->slots);
    *s = (scratch){0};
}

open_page *scratch_take_page(scratch *s)
{
    return s->n_free ? s->free[--s->n_free] : NULL;
}

void scratch_give_page(scratch *s, open_page *p)
{
    s->free[s->n_free++] = p;
}

/* All but the carried state, which every step writes before it reads. */
void scratch_copy_page(const scratch *s, open_page *to, const open_page *from)
{
    memcpy(to->k, from->k, s->page_bytes);
}
