/* world.c - what may happen to a conversation, drawn at random. */
#include "tests/world.h"

#include <stdlib.h>
#include <string.h>

#include "tests/lab.h"
#include "tests/test.h"
#include "xcache/rebuild.h"

enum { LONGEST_PIECE = 40 };

static uint32_t draw(world *w, uint32_t n)
{
    w->state = w->state * 1664525u + 1013904223u;
    return (w->state >> 8) % n;
}

static cache *open_cache(const world *w, const char *mode, const plan *p, size_t blocks,
                         uint64_t workspace)
{
    cache_options o = {.mode = mode,
                       .plan = p,
                       .budget_bytes = 64 << 20,
                       .workspace_bytes = workspace,
                       .page_format = KV_INT8,
                       .max_running = WORLD_TALKS,
                       .team = w->team,
                       .ctx_tokens = WORLD_CTX,
                       .block_tokens = w->block};
    cache_stats stats;
    cache *c = NULL;

    CHECK(cache_open(&c, w->m, w->kern, &o) == ERR_OK);
    cache_read_stats(c, &stats);
    cache_close(c);
    o.budget_bytes = blocks * stats.block_bytes;
    CHECK(cache_open(&c, w->m, w->kern, &o) == ERR_OK);
    return c;
}

/* --- steps --- */

/* The next T tokens of each of n conversations, in one step. */
static void step(world *w, const size_t *who, const size_t *T, size_t n)
{
    forward_chunk pieces[WORLD_TALKS] = {0};

    for (size_t i = 0; i < n; i++) {
        const talk *t = &w->talks[who[i]];
        const size_t pos = cache_context_tokens(t->c);

        if (w->cuts++ % 2)
            while (!rebuild_layers(t->c, 1 + w->cuts % 5)) {}
        CHECK(rebuild_pages(t->c, SIZE_MAX) == 0);
        pieces[i] = (forward_chunk){.context = t->c,
                                    .ids = t->ids + pos,
                                    .T = T[i],
                                    .pos = pos,
                                    .wanted = 1,
                                    .logits = w->logits[who[i]]};
    }
    for (size_t i = 0; i < n; i++) cache_push(pieces[i].context, pieces[i].ids, T[i]);
    forward_step(w->forward, pieces, n);
    for (size_t i = 0; i < n; i++) cache_commit(pieces[i].context);
}

static size_t piece(world *w, const talk *t)
{
    const size_t pos = cache_context_tokens(t->c), room = w->block - pos % w->block;
    const size_t left = t->n - pos, most = left < room ? left : room;
    const size_t T = 1 + draw(w, LONGEST_PIECE);

    return T < most ? T : most;
}

/* Compute all ids of a conversation; the logits are then those after its last. */
static void catch_up(world *w, size_t who)
{
    while (cache_context_tokens(w->talks[who].c) < w->talks[who].n) {
        const size_t T = piece(w, &w->talks[who]);

        step(w, &who, &T, 1);
    }
}

/* The same ids in the calm cache, read in whole blocks. */
static void compute_expected(world *w, const talk *t)
{
    context *c = NULL;

    CHECK(cache_begin(w->calm, &(cache_request){.tokens = WORLD_CTX}, &c) == ERR_OK);
    for (size_t at = 0; at < t->n; at += w->block) {
        const size_t T = t->n - at < w->block ? t->n - at : w->block;
        const forward_chunk p = {.context = c,
                                 .ids = t->ids + at,
                                 .T = T,
                                 .pos = at,
                                 .wanted = 1,
                                 .logits = w->expected};

        cache_push(c, p.ids, T);
        forward_step(w->forward, &p, 1);
        cache_commit(c);
    }
    cache_end(c);
}

static int32_t best(const float *x, size_t V)
{
    size_t at = 0;

    for (size_t i = 1; i < V; i++)
        if (x[i] > x[at]) at = i;
    return (int32_t)at;
}

/* --- what may happen --- */

static void end_talk(talk *t)
{
    if (t->c) cache_end(t->c);
    t->c = NULL;
}

/* Run again: what is cached is held, the rest computed. */
static void attach(world *w, talk *t)
{
    const cache_request r = {.ids = t->ids, .n_ids = t->n, .tokens = WORLD_CTX};
    err e;

    if (w->cuts % 3) lab_forget_sinks(w->cache); /* its first tokens are computed once more */
    e = cache_begin(w->cache, &r, &t->c);

    for (size_t i = 0; e == ERR_BUSY && i < WORLD_TALKS; i++) { /* others must make room */
        end_talk(&w->talks[i]);
        e = cache_begin(w->cache, &r, &t->c);
    }
    CHECK(e == ERR_OK);
    if (w->cuts++ % 2)
        rebuild_layers(t->c, 1 + w->cuts % 20); /* the rest before its next step */
    else
        while (rebuild_pages(t->c, 1)) {}
}

/* More text; two conversations share what they begin with. */
static void read_more(world *w, talk *t)
{
    const size_t more = 1 + draw(w, 150), who = (size_t)(t - w->talks);

    for (size_t i = 0; i < more && t->n < WORLD_CTX - 32; i++, t->n++)
        t->ids[t->n] = (int32_t)(t->n == 0    ? who % 2
                                 : t->n < 200 ? 5 + t->n * 3 % 190
                                              : 5 + draw(w, 190));
}

static void answer(world *w, size_t who)
{
    talk *t = &w->talks[who];

    for (size_t i = draw(w, 20); i && t->n < WORLD_CTX; i--) {
        t->ids[t->n++] = best(w->logits[who], w->m->V);
        catch_up(w, who);
    }
}

static void cut(world *w, talk *t)
{
    const size_t to = 1 + draw(w, (uint32_t)t->n);

    if (cache_truncate(t->c, to) != ERR_OK) return;
    t->n = to;
    if (cache_context_tokens(t->c) == to) CHECK(cache_truncate(t->c, to - 1) == ERR_OK);
}

static void fork_talk(world *w, const talk *from, talk *to)
{
    context *c = NULL;

    if (from == to) return;
    end_talk(to);
    if (cache_fork(from->c, &c) != ERR_OK) return;
    memcpy(to->ids, from->ids, sizeof to->ids);
    to->n = from->n;
    to->c = c;
    read_more(w, to);
}

/* A step of all who run and have something to compute. */
static void step_together(world *w)
{
    size_t who[WORLD_TALKS], T[WORLD_TALKS], n = 0;

    for (size_t i = 0; i < WORLD_TALKS; i++) {
        const talk *t = &w->talks[i];

        if (!t->c || cache_context_tokens(t->c) >= t->n) continue;
        who[n] = i;
        T[n++] = piece(w, t);
    }
    if (n) step(w, who, T, n);
}

static void disturb(world *w, size_t who)
{
    talk *t = &w->talks[who];

    if (w->cuts % 3 == 0) /* as where memory is short; of what runs, too */
        cache_drop_windows(w->cache, 1 + (size_t)w->cuts % 5);
    switch (draw(w, 7)) {
    case 0:
        rebuild_drop_pages(w->cache);
        return;
    case 1:
        cache_evict(w->cache, 1 + draw(w, 3));
        return;
    case 2:
        cut(w, t);
        return;
    case 3:
        fork_talk(w, t, &w->talks[draw(w, WORLD_TALKS)]);
        return;
    case 4:
        end_talk(t);
        cache_evict(w->cache, draw(w, 3));
        return;
    default:
        read_more(w, t);
        step_together(w);
    }
}

static void turn(world *w)
{
    const size_t who = draw(w, WORLD_TALKS);
    talk *t = &w->talks[who];

    if (!t->n) read_more(w, t);
    if (!t->c) attach(w, t);
    disturb(w, who);
    if (!t->c) attach(w, t);
    if (cache_context_tokens(t->c) == t->n) /* its last row, once more */
        CHECK(cache_truncate(t->c, t->n - 1) == ERR_OK);
    catch_up(w, who);
    answer(w, who);
    compute_expected(w, t);
    CHECK(memcmp(w->logits[who], w->expected, w->m->V * sizeof(float)) == 0);
    w->checked++;
    if (t->n > WORLD_CTX - 64) { /* begin anew */
        end_talk(t);
        t->n = 0;
    }
}

/* --- worlds --- */

static void live(world *w, const char *mode, const plan *p, uint64_t workspace, int turns)
{
    const size_t blocks = WORLD_CTX / w->block;
    cache_stats stats;

    w->state = 11;
    w->cache = open_cache(w, mode, p, 2 * blocks + 3, workspace);
    w->calm = open_cache(w, mode, p, blocks, workspace ? UINT64_C(1) << 30 : 0);
    CHECK(forward_open(&w->forward, w->m, w->kern, w->team, 3 * w->block, w->block) == ERR_OK);
    for (size_t i = 0; i < WORLD_TALKS; i++) w->logits[i] = malloc(w->m->V * sizeof(float));
    w->expected = malloc(w->m->V * sizeof(float));
    for (int i = 0; i < turns; i++) turn(w);
    for (size_t i = 0; i < WORLD_TALKS; i++) end_talk(&w->talks[i]);
    cache_read_stats(w->cache, &stats);
    /* it was disturbed; what windows had left of a prefix was found, too */
    CHECK(stats.hit_tokens + stats.rewound_tokens > 0 && stats.evicted_blocks > 0);
    w->dropped += stats.dropped_windows;
    w->rewound += stats.rewound_tokens;
    for (size_t i = 0; i < WORLD_TALKS; i++) free(w->logits[i]);
    free(w->expected);
    forward_close(w->forward);
    cache_close(w->cache);
    cache_close(w->calm);
    memset(w->talks, 0, sizeof w->talks);
}

void world_live(world *w, const char *mode, const plan *p, int turns)
{
    live(w, mode, p, UINT64_C(1) << 30, turns);
    live(w, mode, p, 0, turns);
}

void world_live_in(const char *path, const char *mode, int turns)
{
    world *w = calloc(1, sizeof *w);
    lab l;

    lab_open(&l, path, mode, 2);
    *w = (world){.m = l.m, .kern = &l.kern, .team = l.team, .block = 128};
    world_live(w, mode, l.plan, turns);
    lab_close(&l);
    free(w);
}
