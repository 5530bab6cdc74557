/* test_degrade.c - blocks at twice the ratio: what they hold, who finds them, what stays exact.
 */
#include <stdlib.h>
#include <string.h>

#include "tests/drawn.h"
#include "tests/lab.h"
#include "tests/planned.h"
#include "tests/test.h"
#include "xcache/cache_state.h"

enum { B = CACHE_BLOCK_TOKENS, N = 3 * B, TAIL = 64, POOL = 20, LOGITS = 512 };

/* The tiny model with its plan, for klt8 and klt16. */
typedef struct scene {
    planned model;
    lab lab;
    plan *plan;
    const int32_t *ids; /* [N + TAIL] */
} scene;

static void open_cache(scene *s, size_t blocks, uint64_t pages)
{
    cache_options o = {.mode = "klt8",
                       .plan = s->plan,
                       .degraded_plan = s->plan,
                       .budget_bytes = 64 << 20,
                       .workspace_bytes = pages,
                       .page_format = KV_INT8,
                       .max_running = 2,
                       .team = s->lab.team,
                       .ctx_tokens = s->lab.m->ctx};
    cache_stats stats;

    cache_close(s->lab.cache);
    CHECK(cache_open(&s->lab.cache, s->lab.m, &s->lab.kern, &o) == ERR_OK);
    cache_read_stats(s->lab.cache, &stats);
    cache_close(s->lab.cache);
    o.budget_bytes = blocks * stats.block_bytes;
    CHECK(cache_open(&s->lab.cache, s->lab.m, &s->lab.kern, &o) == ERR_OK);
}

static void open_scene(scene *s, int threads, size_t blocks)
{
    const plan_predictor full = {PLAN_FULL, 0};

    planned_open(&s->model, threads);
    s->plan = planned_make(&s->model, full);
    s->ids = s->model.ids;
    CHECK(s->model.m->V <= LOGITS);
    s->lab = (lab){.m = s->model.m, .kern = s->model.kern, .team = s->model.team};
    CHECK(forward_open(&s->lab.forward, s->lab.m, &s->lab.kern, s->lab.team, B, B) == ERR_OK);
    open_cache(s, blocks, CACHE_AUTO_WORKSPACE);
}

static void close_scene(scene *s)
{
    CHECK(cache_is_sound(s->lab.cache));
    cache_close(s->lab.cache);
    forward_close(s->lab.forward);
    plan_close(s->plan);
    planned_close(&s->model);
}

static cache_stats stats_of(const scene *s)
{
    cache_stats out;

    cache_read_stats(s->lab.cache, &out);
    return out;
}

/* Compute the first n ids, what is cached of them included; they rest then. */
static void visit(scene *s, size_t n)
{
    cache_end(lab_read(&s->lab, s->ids, n, LAB_BLOCKS, NULL));
}

/* Whole rows that differ from the scene's, to fill the pool with. */
static void fill_pool(scene *s, size_t blocks)
{
    int32_t ids[B];

    for (size_t b = 0; b < blocks; b++) {
        for (size_t i = 0; i < B; i++) ids[i] = (int32_t)((b * 131 + i * 7) % 251);
        cache_end(lab_read(&s->lab, ids, B, LAB_BLOCKS, NULL));
    }
}

/* The sealed blocks of the ids; *degraded: how many of them are. */
static size_t lookup(const scene *s, uint32_t *blocks, size_t *degraded)
{
    const cache_request r = {.ids = s->ids, .n_ids = N};
    const size_t n = cache_lookup(s->lab.cache, &r, blocks);

    *degraded = 0;
    for (size_t i = 0; i < n; i++)
        *degraded += cache_block_is_degraded(s->lab.cache, blocks[i]);
    return n;
}

TEST(degrade_makes_room_before_anything_is_evicted)
{
    uint32_t blocks[N / B];
    size_t degraded;
    cache_stats at;
    scene s;

    open_scene(&s, 2, POOL);
    visit(&s, N);
    fill_pool(&s, POOL - N / B);
    CHECK(lookup(&s, blocks, &degraded) == N / B);
    fill_pool(&s, 2 * (POOL - N / B)); /* the first are there already */
    at = stats_of(&s);
    CHECK(at.evicted_blocks == 0 && at.degraded_blocks >= 2 * (size_t)(POOL - N / B));
    CHECK(lookup(&s, blocks, &degraded) == N / B && degraded == N / B);
    CHECK(at.idle_tokens == (N / B + 2 * (POOL - N / B)) * B);
    CHECK(at.degraded_tokens == at.degraded_blocks * B);
    CHECK(at.codes_bytes + at.scales_bytes + at.index_bytes + at.free_bytes ==
          at.capacity_bytes);
    close_scene(&s);
}

/* Degrade all that rests, so many layers at a time. */
static void degrade_all(scene *s, int layers)
{
    cache *c = s->lab.cache;

    c->degrader.wanted = POOL; /* as if more were wanted than there is */
    while (degrade_step(c, layers)) {}
}

/* Codes, scales and ids of the scene's degraded blocks, one after the other. The caller frees.
 */
static uint8_t *copy_blocks(const scene *s)
{
    const context_shared *shared = &s->lab.cache->shared;
    const size_t bytes = shared->half.bytes;
    uint8_t *out = malloc(N / B * bytes);
    uint32_t blocks[N / B];
    size_t degraded;

    CHECK(lookup(s, blocks, &degraded) == N / B && degraded == N / B);
    for (size_t i = 0; i < N / B; i++)
        memcpy(out + i * bytes, pool_bytes(shared->pool, blocks[i]), bytes);
    return out;
}

TEST(degrade_writes_the_same_bytes_however_it_is_cut_and_by_any_number_of_threads)
{
    static const struct {
        int threads, layers;
    } ways[] = {{1, 99}, {2, 99}, {1, 1}, {2, 3}};
    uint8_t *first = NULL;

    for (size_t i = 0; i < sizeof ways / sizeof ways[0]; i++) {
        uint8_t *bytes;
        size_t n;
        scene s;

        open_scene(&s, ways[i].threads, POOL);
        visit(&s, N);
        degrade_all(&s, ways[i].layers);
        bytes = copy_blocks(&s);
        n = N / B * s.lab.cache->shared.half.bytes;
        if (!first) {
            first = malloc(n);
            memcpy(first, bytes, n);
        }
        CHECK(memcmp(first, bytes, n) == 0);
        free(bytes);
        close_scene(&s);
    }
    free(first);
}

/* Room for the tail's logits, of a small vocabulary. */
static float *tail_logits(void)
{
    return calloc(TAIL * LOGITS, sizeof(float));
}

/* Logits [TAIL,V] of the tokens after the first N, which are taken from the cache. */
static void read_tail(scene *s, float *logits)
{
    const cache_request r = {.ids = s->ids, .n_ids = N + 1, .tokens = N + TAIL};
    context *c = NULL;

    CHECK(cache_begin(s->lab.cache, &r, &c) == ERR_OK);
    CHECK(cache_context_tokens(c) == N);
    while (rebuild_pages(c, 2)) {}
    for (size_t t = 0; t < TAIL; t++)
        lab_step(&s->lab, c, s->ids + N + t, 1, logits + t * s->lab.m->V);
    cache_end(c);
}

TEST(degrade_costs_little_and_is_the_same_on_both_paths)
{
    scene s;
    float *whole = tail_logits(), *half = tail_logits(), *streamed = tail_logits();
    double kl;

    open_scene(&s, 2, POOL);
    visit(&s, N);
    read_tail(&s, whole);
    degrade_all(&s, 99);
    read_tail(&s, half);
    kl = lab_kl(whole, half, TAIL, s.lab.m->V);
    CHECK(kl > 1e-6 && kl < 0.01);
    open_cache(&s, POOL, CACHE_STREAMING);
    visit(&s, N);
    degrade_all(&s, 99);
    read_tail(&s, streamed);
    CHECK(lab_kl(half, streamed, TAIL, s.lab.m->V) < kl);
    free(whole);
    free(half);
    free(streamed);
    close_scene(&s);
}

TEST(degraded_blocks_are_not_taken_by_who_computes_the_same_anew)
{
    uint32_t blocks[N / B];
    size_t degraded;
    scene s;

    open_scene(&s, 2, POOL);
    visit(&s, N);
    degrade_all(&s, 99);
    CHECK(lookup(&s, blocks, &degraded) == N / B && degraded == N / B);
    visit(&s, N); /* lab_read looks nothing up */
    CHECK(lookup(&s, blocks, &degraded) == N / B && degraded == 0);
    close_scene(&s);
}

TEST(degraded_and_evicted_blocks_come_back_whole)
{
    float *before = tail_logits(), *after = tail_logits();
    uint32_t blocks[N / B];
    size_t degraded;
    scene s;

    open_scene(&s, 2, POOL);
    visit(&s, N);
    read_tail(&s, before);
    degrade_all(&s, 99);
    CHECK(cache_evict(s.lab.cache, SIZE_MAX) == N / B);
    CHECK(lookup(&s, blocks, &degraded) == 0);
    visit(&s, N);
    CHECK(lookup(&s, blocks, &degraded) == N / B && degraded == 0);
    read_tail(&s, after);
    CHECK(memcmp(before, after, TAIL * s.lab.m->V * sizeof *before) == 0);
    free(before);
    free(after);
    close_scene(&s);
}

/* What follows a degraded block is computed from it: who never met one must not find it. */
TEST(degraded_contexts_seal_under_keys_of_their_own)
{
    float *logits = tail_logits();
    uint32_t blocks[N / B];
    size_t degraded;
    context *c = NULL;
    scene s;

    open_scene(&s, 2, POOL);
    visit(&s, B);
    degrade_all(&s, 99);
    CHECK(cache_begin(s.lab.cache, &(cache_request){.ids = s.ids, .n_ids = B + 1, .tokens = N},
                      &c) == ERR_OK);
    while (rebuild_pages(c, 2)) {}
    for (size_t at = B; at < N; at += B) lab_step(&s.lab, c, s.ids + at, B, logits);
    cache_end(c);
    CHECK(lookup(&s, blocks, &degraded) == N / B && degraded == 1);
    visit(&s, B); /* whole again, beside the degraded one */
    CHECK(lookup(&s, blocks, &degraded) == 1 && degraded == 0);
    free(logits);
    close_scene(&s);
}

TEST(degrade_spares_what_is_held_or_pinned)
{
    uint32_t blocks[N / B];
    size_t degraded;
    context *c = NULL;
    scene s;

    open_scene(&s, 1, POOL);
    visit(&s, N);
    CHECK(lookup(&s, blocks, &degraded) == N / B);
    CHECK(cache_pin(s.lab.cache, blocks, 1) == ERR_OK);
    CHECK(cache_begin(s.lab.cache,
                      &(cache_request){.ids = s.ids, .n_ids = 2 * B + 1, .tokens = 2 * B + 1},
                      &c) == ERR_OK);
    s.lab.cache->degrader.wanted = POOL;
    CHECK(degrade_step(s.lab.cache, 1) == 1); /* one has begun ... */
    CHECK(stats_of(&s).degraded_blocks == 0);
    cache_forget(s.lab.cache, blocks[2]); /* ... and is gone */
    degrade_all(&s, 99);
    CHECK(stats_of(&s).degraded_blocks == 0);
    cache_end(c);
    degrade_all(&s, 99);
    CHECK(lookup(&s, blocks, &degraded) == 2 && degraded == 1);
    CHECK(!cache_block_is_degraded(s.lab.cache, blocks[0]));
    cache_unpin(s.lab.cache, blocks, 1);
    degrade_all(&s, 99);
    CHECK(lookup(&s, blocks, &degraded) == 2 && degraded == 2);
    close_scene(&s);
}

TEST(degrade_is_refused_where_there_is_no_denser_mode)
{
    cache *c = NULL;
    plan *other;
    scene s;
    cache_options o = {
        .mode = "xq4", .budget_bytes = 64 << 20, .max_running = 1, .ctx_tokens = 512};

    open_scene(&s, 1, POOL);
    o.team = s.lab.team;
    o.degraded_plan = s.plan;
    CHECK(cache_open(&c, s.lab.m, &s.lab.kern, &o) == ERR_DEGRADE && !c);
    o.mode = "klt33"; /* twice that is no ratio of a plan */
    o.plan = s.plan;
    CHECK(cache_open(&c, s.lab.m, &s.lab.kern, &o) == ERR_DEGRADE && !c);
    o.mode = "klt8";
    o.degraded_plan = other = drawn_plan(s.model.file, 2, (plan_predictor){PLAN_FULL, 0}, NULL,
                                         0);
    CHECK(cache_open(&c, s.lab.m, &s.lab.kern, &o) == ERR_PLANMODEL && !c);
    plan_close(other);
    close_scene(&s);
}
