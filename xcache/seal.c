/* seal.c - fills blocks of the pool from open pages.
 *
 *    open:     pushed, committed; the page has room
 *      | full: seal_begin
 *      |--> a block of these tokens is there, whole: it is held, the page is empty again
 *    sealing:  a block is taken, and a page of the workspace if there is one
 *      | seal_layers, round by round:  encode layers ..e   |  rebuild layers ..r, r <= e
 *      | all encoded and rebuilt: finish_seal
 *      |--> sealed meanwhile by another context: its block is held, ours is freed
 *      |--> there is one that lacks its windowed layers: they change places, then the same
 *      |--> the key is taken by other tokens: ours is private, and freed when the context ends
 *    sealed:   a prefix leads to the block; the page is empty again
 *
 * While a context is sealing it takes part in no step, so the work may be cut anywhere. The two
 * tasks of a round go in parallel: the encoder has layers e .., the other turns what was
 * encoded in the rounds before into keys and values. Neither touches what the other writes, so
 * how it is cut changes no bit. Where the codec can expand, the encoder leaves each layer's
 * decoded inputs in the rows of the exact ones, and nothing is decoded twice.
 *
 * One context alone would keep two workers busy at most, the second for a third of the time.
 * Where the codec can, all workers then encode each layer together, by parts of its tokens:
 *
 *    worker 0   layer before: rebuild, predict | quantize | write | hold |   next layer ...
 *    worker 1   predict, predict, predict      | quantize |       | hold | */
#include "xcache/seal.h"

#include <assert.h>
#include <string.h>

#include "engine/clock.h"
#include "xcache/cache_state.h"

/* A list on the stack; and layers of a round: more would leave the second task idle for longer
 * at the beginning, fewer would meet at the barrier more often. */
enum { SEALS_AT_ONCE = 64, LAYERS_AT_ONCE = 4 };

/* One context that is sealing, in one round: some layers are encoded; meanwhile those that were
 * before it are rebuilt. The two tasks share only what the round before has written. */
typedef struct seal {
    xcontext *x;
    int encode, rebuild; /* up to which layer */
    double encode_seconds, rebuild_seconds;
} seal;

static codec_place seal_place(const xcontext *x, int l, int slot)
{
    const context_shared *s = x->shared;
    codec_place place = context_place(s, l, x->sealing, x->n_blocks * s->codec.block_tokens);

    place.scratch = &s->slots[slot];
    return place;
}

/* The rows of the open page that hold the inputs of layer l. */
static float *page_inputs(const xcontext *x, int l)
{
    const codec_state *c = &x->shared->codec;

    return x->page->x ? x->page->x + (size_t)l * c->block_tokens * c->m->D : NULL;
}

/* What a layer of the full open page is encoded from. */
static codec_rows page_rows(const xcontext *x, int l)
{
    const codec_state *c = &x->shared->codec;
    const open_page *page = x->page;
    const size_t at = (size_t)l * c->block_tokens * c->m->E;

    return (codec_rows){.x = page_inputs(x, l),
                        .raw_k = page->raw_k ? page->raw_k + at : NULL,
                        .k = open_numbers(c, page->k, l),
                        .v = open_numbers(c, page->v, l),
                        .sinks = x->n_blocks ? 0 : SINK_TOKENS};
}

/* What decoding gives takes the place of the layer's inputs, where it can be expanded from. */
static void keep_decoded(const xcontext *x, int l, size_t first, size_t rows)
{
    const codec_state *c = &x->shared->codec;
    const size_t at = first * c->m->D;

    if (c->codec->expand)
        memcpy(page_inputs(x, l) + at, x->page->sealing + at, rows * c->m->D * sizeof(float));
}

static void encode_layer(const xcontext *x, int l, int slot)
{
    const codec_state *c = &x->shared->codec;
    const codec_rows in = page_rows(x, l);
    codec_place place = seal_place(x, l, slot);

    place.state = x->page->sealing;
    c->codec->encode(c, l, &in, &place);
    keep_decoded(x, l, 0, c->block_tokens);
}

/* What the codes of that layer say, into the block's page. */
static void rebuild_layer(const xcontext *x, int l, int slot)
{
    const context_shared *s = x->shared;
    const bool expands = s->codec.codec->expand != NULL;
    codec_place place = seal_place(x, l, slot);
    kv_tile tile;

    /* without expand both tasks carry a state of their own, and the codes are read again */
    place.state = expands ? page_inputs(x, l) : x->page->rebuilding;
    if (expands)
        context_expand(x, l, &place, &tile);
    else
        context_decode(x, l, x->sealing, &place, &tile);
    workspace_write(s->workspace, x->sealing, l, &tile);
}

/* It had one when sealing began, but all pages may be dropped at any time. */
static bool has_page(const xcontext *x)
{
    return x->shared->workspace && workspace_has(x->shared->workspace, x->sealing);
}

static void seal_task(void *arg, int i, int slot)
{
    seal *job = (seal *)arg + i / 2;
    xcontext *x = job->x;
    const double start = clock_seconds();

    /* even tasks encode, odd ones rebuild: an index of its own each, so that two workers take
     * them */
    if (i % 2 == 0) {
        while (x->sealed_layers < job->encode) encode_layer(x, x->sealed_layers++, slot);
        job->encode_seconds += clock_seconds() - start;
    } else if (x->rebuilt_layers < job->rebuild) {
        while (x->rebuilt_layers < job->rebuild) rebuild_layer(x, x->rebuilt_layers++, slot);
        job->rebuild_seconds += clock_seconds() - start;
    }
}

/* The block that this context's next one would be, if there is one already. False: none can be
 * found, for no prefix leads to its parent. */
static bool find_next(const xcontext *x, pool_block *found, chain *after)
{
    const cache *c = x->cache;

    *found = PREFIX_NONE;
    *after = (chain){x->root, x->n_blocks ? x->blocks[x->n_blocks - 1] : PREFIX_NONE};
    if (x->n_blocks && !prefix_has(c->prefixes, after->last)) return false;
    *found = chain_find(c, *after, x->page->ids, false);
    return true;
}

static void append(xcontext *x, pool_block b)
{
    windows *w = &x->cache->windows;

    x->blocks[x->n_blocks++] = b;
    windows_reach(w, x->blocks, x->n_blocks);
    windows_leave(w, x->blocks, x->n_blocks - 1);
    rebuild_pages(&x->base, 1); /* if it has no page */
}

void seal_begin(xcontext *x)
{
    cache *c = x->cache;
    const context_shared *s = x->shared;
    pool_block found;
    chain after;

    assert(x->n_blocks < x->most_blocks);
    sinks_keep(x); /* before anything rebuilds its first block */
    /* a degraded block is not taken: its tokens are here, exact; nor one without its windowed
     * layers: those are here, too */
    if (find_next(x, &found, &after) && found != PREFIX_NONE && !context_is_narrow(s, found)) {
        ledger_unreserve(c->ledger, 1);
        ledger_hold(c->ledger, found); /* the same tokens, the same block */
        append(x, found);
        return;
    }
    degrade_make_room(c);
    x->sealing = ledger_take(c->ledger);
    windows_write(&c->windows, x->sealing);
    x->sealed_layers = x->rebuilt_layers = 0;
    /* before any layer: klt encodes layer 0 from them, and a hit compares them */
    memcpy(context_ids(s, x->sealing), x->page->ids,
           s->codec.block_tokens * sizeof *x->page->ids);
    if (s->workspace) workspace_add(s->workspace, x->sealing);
}

/* Block `found` says the same as b, which is sealed just now, but for the windowed layers: it
 * has lost them. Others may hold it and blocks follow it, so it keeps its number, and gets what
 * b has. */
static void restore(xcontext *x, pool_block found, pool_block b)
{
    const context_shared *s = x->shared;
    workspace *w = s->workspace;
    bool handed_on, lacks;

    /* a page that is begun is no page, and must not be taken from who reads this one */
    rebuild_stop(x->cache, x->cache->rebuilding.x);
    handed_on = w && workspace_has(w, b);
    lacks = w && !handed_on && workspace_has(w, found);
    pool_swap(s->pool, found, b);
    if (handed_on) workspace_hand_on(w, b, found, ledger_refcount(x->cache->ledger, found) > 0);
    windows_restored(&x->cache->windows, found);
    windows_written(&x->cache->windows, b);
    ledger_drop(x->cache->ledger, b);
    ledger_hold(x->cache->ledger, found);
    append(x, found);
    if (lacks) rebuild_again(x, x->n_blocks - 1);
}

/* All layers are done: a prefix leads to the block, unless one leads elsewhere under the same
 * key. Another context may have sealed the same meanwhile: then there is one block too many. */
static void finish_seal(xcontext *x)
{
    cache *c = x->cache;
    const pool_block b = x->sealing;
    pool_block found;
    chain after;

    c->sealed++;
    x->sealing = PREFIX_NONE;
    if (!find_next(x, &found, &after)) {
        append(x, b);
        windows_written(&c->windows, b);
    } else if (found == PREFIX_NONE) {
        prefix_add(c->prefixes, chain_next_key(c, after, x->page->ids), after.last, b);
        append(x, b);
        windows_written(&c->windows, b);
    } else if (context_is_narrow(x->shared, found)) {
        restore(x, found, b);
    } else {
        windows_written(&c->windows, b);
        ledger_drop(c->ledger, b);
        ledger_hold(c->ledger, found);
        append(x, found);
    }
}

static bool is_sealed(const xcontext *x)
{
    const int L = (int)x->shared->codec.m->L;

    return x->sealed_layers == L && (x->rebuilt_layers == L || !has_page(x));
}

/* One round of up to `layers` layers. True: all are sealed. */
static bool seal_round(cache *c, seal *list, size_t n, int layers)
{
    const int L = (int)c->shared.codec.m->L;
    bool all = true;

    for (size_t i = 0; i < n; i++) {
        const int done = list[i].x->sealed_layers;

        list[i].encode = layers < L - done ? done + layers : L;
        /* up to what was encoded when the round began */
        list[i].rebuild = has_page(list[i].x) ? done : 0;
    }
    c->team->run(c->team, seal_task, list, 2 * (int)n);
    for (size_t i = 0; i < n; i++) all &= is_sealed(list[i].x);
    return all;
}

/* --- one context, all workers --- */

enum { MOST_PARTS = 8 };

/* A stage of a layer; the layer before is rebuilt beside the first, in a task before others,
 * for it is the longest. */
typedef struct seal_stage {
    xcontext *x;
    codec_share share; /* but for the part */
    bool rebuilds;
    double encode_seconds[MOST_PARTS], rebuild_seconds;
} seal_stage;

static void encode_part(seal_stage *job, size_t part, int slot)
{
    const xcontext *x = job->x;
    const codec_state *c = &x->shared->codec;
    const int l = x->sealed_layers;
    const codec_rows in = page_rows(x, l);
    const size_t rows = c->block_tokens / job->share.parts;
    codec_share share = job->share;
    codec_place place = seal_place(x, l, slot);

    share.part = part;
    place.state = x->page->sealing;
    c->codec->encode_part(c, l, &in, &place, &share);
    if (share.stage == CODEC_HOLD) keep_decoded(x, l, part * rows, rows);
}

static void stage_task(void *arg, int i, int slot)
{
    seal_stage *job = arg;
    xcontext *x = job->x;
    const double start = clock_seconds();

    if (job->rebuilds && i == 0) {
        while (x->rebuilt_layers < x->sealed_layers)
            rebuild_layer(x, x->rebuilt_layers++, slot);
        job->rebuild_seconds += clock_seconds() - start;
    } else {
        const size_t part = (size_t)(i - job->rebuilds);

        encode_part(job, part, slot);
        job->encode_seconds[part] += clock_seconds() - start;
    }
}

static void seal_layer(cache *c, seal_stage *job)
{
    for (int stage = 0; stage < CODEC_STAGES; stage++) {
        const int parts = stage == CODEC_WRITE ? 1 : (int)job->share.parts;

        job->share.stage = (codec_stage)stage;
        job->rebuilds = stage == CODEC_PREDICT && has_page(job->x) &&
                        job->x->rebuilt_layers < job->x->sealed_layers;
        c->team->run(c->team, stage_task, job, parts + job->rebuilds);
    }
    job->x->sealed_layers++;
}

/* More parts than workers, so that one which was held up is helped; the fewest rows that a
 * part may have are a vector's lanes. */
static size_t count_parts(const cache *c)
{
    const size_t most = c->shared.codec.block_tokens / CODEC_PART_TOKENS;
    const size_t parts = c->team->slots > 2 ? MOST_PARTS : MOST_PARTS / 2;

    return parts < most ? parts : most;
}

/* Returns how many layers it went on. */
static int seal_together(cache *c, xcontext *x, int layers)
{
    const int L = (int)c->shared.codec.m->L, from = x->sealed_layers;
    int done;
    seal_stage job = {.x = x, .share = {.parts = count_parts(c), .memory = c->scratch.share}};

    while (x->sealed_layers < L && x->sealed_layers - from < layers) seal_layer(c, &job);
    for (size_t i = 0; i < MOST_PARTS; i++) c->seal_seconds += job.encode_seconds[i];
    if (x->sealed_layers == L && has_page(x)) {
        const double start = clock_seconds();

        /* the last layer has none beside whose bytes it could be rebuilt */
        while (x->rebuilt_layers < L) rebuild_layer(x, x->rebuilt_layers++, 0);
        job.rebuild_seconds += clock_seconds() - start;
    }
    c->rebuild_seconds += job.rebuild_seconds;
    done = x->sealed_layers - from;
    if (is_sealed(x)) finish_seal(x);
    return done > 1 ? done : 1;
}

/* Up to SEALS_AT_ONCE contexts. Returns how many layers it went on. */
static int seal_some(cache *c, context *const *of, size_t n, int layers)
{
    seal list[SEALS_AT_ONCE];
    int done = 0;

    if (n == 1 && c->scratch.share) return seal_together(c, context_of(of[0]), layers);

    for (size_t i = 0; i < n; i++) list[i] = (seal){.x = context_of(of[i])};
    for (bool all = false; done < layers && !all;) {
        const int more = layers - done < LAYERS_AT_ONCE ? layers - done : LAYERS_AT_ONCE;

        all = seal_round(c, list, n, more);
        done += more;
    }
    for (size_t i = 0; i < n; i++) {
        c->seal_seconds += list[i].encode_seconds;
        c->rebuild_seconds += list[i].rebuild_seconds;
        if (is_sealed(list[i].x)) finish_seal(list[i].x);
    }
    return done;
}

int seal_layers(cache *c, context *const *list, size_t n, int layers)
{
    int longest = 0;

    for (size_t at = 0; at < n; at += SEALS_AT_ONCE) {
        const size_t most = n - at < SEALS_AT_ONCE ? n - at : SEALS_AT_ONCE;
        const int done = seal_some(c, list + at, most, layers);

        if (done > longest) longest = done;
    }
    return longest;
}
