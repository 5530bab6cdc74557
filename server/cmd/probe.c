/* probe.c - rebuilds the same few blocks again and again.
 *
 * What a rebuild takes depends on shapes alone, not on what the codes say. So the blocks are
 * sealed from pages that were never written, and of a model without a plan a few layers stand
 * for all: the answer is there in a quarter of a second for a model of any size. A plan has its
 * own layers and is probed whole. */
#include "server/cmd/probe.h"

#include <stdlib.h>

#include "engine/clock.h"
#include "xcache/calibrate/reader.h"
#include "xcache/rebuild.h"

static err seal_blocks(cache *c, size_t blocks, size_t B, context **out)
{
    const cache_request wanted = {.tokens = blocks * B};
    int32_t *ids = calloc(B, sizeof *ids);
    err e = ids ? cache_begin(c, &wanted, out) : ERR_NOMEM;

    for (size_t i = 0; i < blocks && e == ERR_OK; i++) {
        cache_push(*out, ids, B);
        cache_commit(*out);
    }
    free(ids);
    return e;
}

/* The fastest of the runs that begin within PROBE_SECONDS, after one that does not count. */
static double time_rebuilds(cache *c, context *x)
{
    const double until = clock_seconds() + PROBE_SECONDS;
    double best = 0;
    int runs = 0;

    do {
        double seconds;

        rebuild_drop_pages(c);
        seconds = -clock_seconds();
        while (rebuild_pages(x, SIZE_MAX)) {}
        seconds += clock_seconds();
        if (runs == 1 || (runs > 1 && seconds < best)) best = seconds;
        runs++;
    } while (runs < 2 || clock_seconds() < until);
    return best;
}

err probe_attach(const runtime *r, const char *mode, const struct plan *p, double *seconds)
{
    model few = *r->weights;
    const reader_model parts = {&few, &r->kern, r->team, r->block_tokens};
    /* as many as the model has positions for */
    const size_t most = few.ctx / r->block_tokens;
    const size_t blocks = most < PROBE_BLOCKS ? most : PROBE_BLOCKS;
    const reader_room room = {.contexts = 1,
                              .tokens = blocks * r->block_tokens,
                              .page_format = cache_choose_page_format(r->weights)};
    cache_stats s;
    cache *c = NULL;
    context *x = NULL;
    double took = 0;
    err e;

    *seconds = 0; /* nothing is ever sealed of a context shorter than a block */
    if (!blocks) return ERR_OK;
    if (!p && few.L > PROBE_LAYERS) few.L = PROBE_LAYERS;
    TRY(reader_open_cache(&parts, &(reader_mode){mode, p}, &room, &c));
    cache_read_stats(c, &s);
    e = s.workspace_bytes ? seal_blocks(c, blocks, r->block_tokens, &x) : ERR_OK;
    if (x) took = time_rebuilds(c, x);
    if (x) cache_end(x);
    cache_close(c);
    TRY(e);
    *seconds = took / (double)(blocks * r->block_tokens) * (double)r->weights->L /
               (double)few.L;
    return ERR_OK;
}
