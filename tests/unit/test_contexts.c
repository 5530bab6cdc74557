/* test_contexts.c - ten thousand random operations on contexts; after each the pool, the
 * index, the workspace and every figure are counted again from the ground. No network runs:
 * what is sealed is whatever the open pages hold. */
#include <stdlib.h>
#include <string.h>

#include "tests/recount.h"
#include "tests/test.h"

enum { FAMILIES = 3 };

static uint32_t draw(scene *s, uint32_t n)
{
    s->state = s->state * 1664525u + 1013904223u;
    return (s->state >> 8) % n;
}

/* Block bytes of a mode on this model. */
static size_t block_bytes(const scene *s, cache_options o)
{
    cache_stats stats;
    cache *c = NULL;

    o.budget_bytes = 64 << 20;
    CHECK(cache_open(&c, s->model.m, &s->model.kern, &o) == ERR_OK);
    cache_read_stats(c, &stats);
    cache_close(c);
    return stats.block_bytes;
}

/* `random`: arguments of a random model; NULL: the tiny one. */
static void open_scene(scene *s, const char *mode, uint64_t pages, unsigned key_bits,
                       const char *random)
{
    cache_options o = {.mode = mode,
                       .workspace_bytes = pages,
                       .page_format = KV_INT8,
                       .max_running = LIVE,
                       .ctx_tokens = CTX,
                       .block_tokens = B,
                       .seed = 1,
                       .key_bits = key_bits};

    *s = (scene){.state = 77};
    if (random)
        planned_open_random(&s->model, random, 2);
    else
        planned_open(&s->model, 2);
    o.team = s->model.team;
    if (codec_ratio(mode) > 0 && !random) {
        s->plan = planned_make(&s->model, (plan_predictor){PLAN_FULL, 0});
        o.plan = o.degraded_plan = s->plan;
    }
    o.budget_bytes = POOL * block_bytes(s, o);
    CHECK(cache_open(&s->cache, s->model.m, &s->model.kern, &o) == ERR_OK);
}

static void close_scene(scene *s)
{
    for (size_t i = 0; i < LIVE; i++)
        if (s->live[i].c) cache_end(s->live[i].c);
    for (size_t i = 0; i < PINS; i++) cache_unpin(s->cache, s->pins[i].blocks, s->pins[i].n);
    CHECK(cache_is_sound(s->cache));
    cache_close(s->cache);
    plan_close(s->plan);
    planned_close(&s->model);
}

/* --- operations --- */

/* The text of a family, with few branches, so that prefixes are met again. */
static int32_t family_id(uint32_t family, size_t at)
{
    return (int32_t)(3 + (family * 31 + at / B * 7 + at) % 200);
}

static void begin(scene *s, living *l)
{
    const uint32_t family = draw(s, FAMILIES);
    const size_t turn = draw(s, CTX);
    const char scope = (char)draw(s, 2);
    cache_request r = {.ids = l->ids, .n_ids = 1 + draw(s, CTX), .scope = &scope};
    err e;

    r.scope_bytes = draw(s, 2);
    for (size_t i = 0; i < CTX; i++)
        l->ids[i] = family_id(i < turn ? family : family + FAMILIES, i);
    r.tokens = r.n_ids + draw(s, (uint32_t)(CTX + 1 - r.n_ids));
    e = cache_begin(s->cache, &r, &l->c);
    CHECK(e == ERR_OK || e == ERR_BUSY);
    if (e != ERR_OK) return;
    l->n = cache_context_tokens(l->c);
    CHECK(l->n < r.n_ids && l->n % B == 0);
    if (draw(s, 2))
        rebuild_layers(l->c, 1 + (int)draw(s, 3)); /* the rest when it is needed */
    else
        while (rebuild_pages(l->c, 1 + draw(s, 3))) {}
}

/* As if a step had computed the next T tokens. */
static void append(scene *s, living *l)
{
    const xcontext *x = (const xcontext *)(const void *)l->c;
    const size_t most = (x->most_blocks + 1) * B - 1; /* no more blocks than were reserved */
    const size_t room = B - l->n % B, left = (most < CTX ? most : CTX) - l->n;
    const size_t T = left < room ? left : 1 + draw(s, (uint32_t)room);

    if (!T || rebuild_pages(l->c, SIZE_MAX)) return;
    cache_push(l->c, l->ids + l->n, T);
    if (draw(s, 2))
        cache_commit(l->c);
    else
        cache_commit_later(l->c);
    l->n += T;
}

/* All that are sealing at once, some layers of each. */
static void seal(scene *s)
{
    context *list[LIVE];
    size_t n = 0;

    for (size_t i = 0; i < LIVE; i++)
        if (s->live[i].c && cache_is_sealing(s->live[i].c)) list[n++] = s->live[i].c;
    s->cut += n;
    if (n) CHECK(seal_layers(s->cache, list, n, 1 + (int)draw(s, 2)) >= 1);
}

static void cut(scene *s, living *l)
{
    const size_t to = draw(s, (uint32_t)l->n + 1);
    const err e = cache_truncate(l->c, to);

    CHECK(e == ERR_OK || e == ERR_BUSY);
    if (e != ERR_OK) return;
    CHECK(cache_context_tokens(l->c) <= l->n);
    if (cache_context_tokens(l->c) != to && cache_context_tokens(l->c) != to / B * B)
        CHECK(s->cache->windows.on && cache_context_tokens(l->c) % B == 0); /* none is usable */
    l->n = cache_context_tokens(l->c);
}

static void fork_one(scene *s, const living *from, living *to)
{
    context *c = NULL;
    err e;

    if (to->c) return;
    e = cache_fork(from->c, &c);
    CHECK(e == ERR_OK || e == ERR_BUSY);
    if (e != ERR_OK) return;
    *to = *from;
    to->c = c;
    if (to->n < CTX) to->ids[to->n] = (int32_t)draw(s, 100); /* they part here */
}

/* What is cached of a row of tokens must be what its blocks say. */
static size_t lookup(scene *s, uint32_t blocks[CTX / B])
{
    const uint32_t family = draw(s, FAMILIES);
    const char scope = (char)draw(s, 2);
    int32_t ids[CTX];
    cache_request r = {.ids = ids, .n_ids = draw(s, CTX + 1), .scope = &scope};
    size_t n;

    r.scope_bytes = draw(s, 2);
    for (size_t i = 0; i < CTX; i++) ids[i] = family_id(family, i);
    n = cache_lookup(s->cache, &r, blocks);
    CHECK(n <= r.n_ids / B);
    for (size_t i = 0; i < n; i++)
        CHECK(memcmp(context_ids(&s->cache->shared, blocks[i]), ids + i * B, B * sizeof *ids) ==
              0);
    return n;
}

static void pin_or_unpin(scene *s, pin_set *p)
{
    if (p->n) {
        cache_unpin(s->cache, p->blocks, p->n);
        p->n = 0;
        return;
    }
    p->n = lookup(s, p->blocks);
    if (!p->n) return;
    s->pinnings++;
    if (cache_pin(s->cache, p->blocks, p->n) == ERR_OK) return;
    s->refused++;
    p->n = 0;
}

static void forget(scene *s)
{
    uint32_t blocks[CTX / B];
    const size_t n = lookup(s, blocks);

    if (n) cache_forget(s->cache, blocks[n - 1]);
}

static void operate(scene *s)
{
    living *l = &s->live[draw(s, LIVE)];

    switch (draw(s, 16)) {
    case 2:
        pin_or_unpin(s, &s->pins[draw(s, PINS)]);
        return;
    case 3:
        if (draw(s, 8) == 0)
            forget(s);
        else if (s->plan)
            degrade_step(s->cache, 1 + (int)draw(s, 3));
        return;
    case 0: /* rarely where it would be done before there is pressure */
        if (!s->plan || draw(s, 32) == 0) cache_evict(s->cache, draw(s, 4));
        cache_drop_windows(s->cache, draw(s, 3));
        return;
    case 1:
        rebuild_drop_pages(s->cache);
        return;
    default:
        break;
    }
    if (!l->c) {
        begin(s, l);
        return;
    }
    if (cache_is_sealing(l->c) && draw(s, 32)) {
        seal(s);
        return;
    }
    switch (cache_is_sealing(l->c) ? 0 : draw(s, 24)) {
    case 0:
        cache_end(l->c);
        l->c = NULL;
        return;
    case 1:
        cut(s, l);
        return;
    case 2:
        fork_one(s, l, &s->live[draw(s, LIVE)]);
        return;
    default:
        append(s, l);
    }
}

/* What came of it: nothing that was to be tested may have stayed away. */
static void check_variety(const scene *s, unsigned key_bits)
{
    cache_stats st;

    cache_read_stats(s->cache, &st);
    CHECK(key_bits < 128 || st.evicted_blocks > 50);
    CHECK(st.sealed_blocks > 200 && st.hit_tokens > (key_bits < 128 ? 0 : 20 * B));
    CHECK(st.workspace_used_bytes <= st.workspace_bytes);
    CHECK(s->cut > 100);
    if (s->cache->windows.on && key_bits >= 128)
        CHECK(st.dropped_windows > 50 && st.rewound_tokens > 2 * B && s->restored > 5);
    CHECK(!s->plan || st.degraded_blocks > (key_bits < 128 ? 0 : 100));
    CHECK(key_bits < 128 || (s->pinnings > 50 && s->pinnings - s->refused > 25));
}

static void run_model(const char *random, const char *mode, uint64_t pages, unsigned key_bits,
                      int times)
{
    scene *s = malloc(sizeof *s);

    open_scene(s, mode, pages, key_bits, random);
    for (int i = 0; i < times; i++) {
        operate(s);
        recount(s);
    }
    check_variety(s, key_bits);
    close_scene(s);
    free(s);
}

static void run_scene(const char *mode, uint64_t pages, unsigned key_bits, int times)
{
    run_model(NULL, mode, pages, key_bits, times);
}

TEST(contexts_survive_ten_thousand_operations_with_a_workspace)
{
    run_scene("xq2", 64 << 20, 128, 10000);
}

TEST(contexts_survive_ten_thousand_operations_with_few_pages)
{
    run_scene("kivi2", CACHE_AUTO_WORKSPACE, 128, 10000);
}

TEST(contexts_survive_ten_thousand_operations_streaming)
{
    run_scene("cl2", CACHE_STREAMING, 128, 10000);
}

TEST(contexts_survive_ten_thousand_operations_that_degrade)
{
    run_scene("klt8", 64 << 20, 128, 10000);
    run_scene("klt8", CACHE_STREAMING, 128, 10000);
}

/* Windows of more than two blocks and of less than two; in five layers of six, and in two of
 * four. */
TEST(contexts_survive_ten_thousand_operations_with_windows)
{
    static const char wide[] =
        "--arch gemma3 --layers 6 --kv-heads 1 --head-dim 32 --window 150",
                      narrow[] = "--arch gemma2 --layers 4 --window 90";

    run_model(wide, "kivi4", 64 << 20, 128, 10000);
    run_model(wide, "kivi2", CACHE_STREAMING, 128, 10000);
    run_model(wide, "xq4", CACHE_AUTO_WORKSPACE, 128, 10000);
    run_model(narrow, "kv16", 0, 128, 10000);
}

TEST(contexts_survive_keys_that_collide)
{
    run_scene("xq2", 64 << 20, 4, 10000); /* ids decide, not keys */
    run_scene("kv16", 0, 1, 3000);
    run_scene("klt8", 64 << 20, 4, 10000);
    run_model("--arch gemma2 --layers 4 --window 90", "kivi4", 64 << 20, 4, 10000);
}
