/* test_sinks.c - the first tokens of a context are exact in every mode, by whatever way it came
 * to its state; who holds what of their table; and what it is worth. */
#include "xcache/sinks.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/kern/cpu.h"
#include "engine/model/model_load.h"
#include "server/threads.h"
#include "tests/lab.h"
#include "tests/planned.h"
#include "tests/test.h"
#include "tests/tiny.h"
#include "xcache/cache_state.h"

enum { B = 64, N = 3 * B, TAIL = 8, RUNNING = 3 };

/* The tiny model with a plan of klt8, and a cache of one mode. */
typedef struct scene {
    planned model;
    lab lab;
    plan *plan, *denser;
    int32_t ids[N + TAIL];
} scene;

static void open_cache(scene *s, const char *mode, uint64_t pages)
{
    const cache_options o = {.mode = mode,
                             .plan = s->plan,
                             .degraded_plan = strcmp(mode, "klt8") == 0 ? s->denser : NULL,
                             .budget_bytes = 16 << 20,
                             .workspace_bytes = pages,
                             .page_format = KV_FLOAT,
                             .max_running = RUNNING,
                             .team = s->lab.team,
                             .ctx_tokens = 2 * N,
                             .block_tokens = B};

    CHECK(cache_open(&s->lab.cache, s->lab.m, &s->lab.kern, &o) == ERR_OK);
}

static scene *open_scene(void)
{
    scene *s = calloc(1, sizeof *s);

    planned_open(&s->model, 2);
    s->plan = planned_make(&s->model, planned_full);
    s->denser = planned_make(&s->model, planned_full);
    s->lab = (lab){.m = s->model.m, .kern = s->model.kern, .team = s->model.team};
    CHECK(forward_open(&s->lab.forward, s->lab.m, &s->lab.kern, s->lab.team, B, B) == ERR_OK);
    memcpy(s->ids, s->model.ids, sizeof s->ids);
    return s;
}

static void close_cache(scene *s)
{
    CHECK(cache_is_sound(s->lab.cache));
    cache_close(s->lab.cache);
}

static void close_scene(scene *s)
{
    forward_close(s->lab.forward);
    plan_close(s->plan);
    plan_close(s->denser);
    planned_close(&s->model);
    free(s);
}

/* The modes that rebuild, and klt8 as the last. */
static const char *mode_at(size_t i)
{
    static const char *const modes[] = {"kivi8", "kivi4", "kivi2", "xq8", "xq4",
                                        "xq2",   "cl4",   "cl2",   "klt8"};

    return i < sizeof modes / sizeof modes[0] ? modes[i] : NULL;
}

static context *begin(scene *s, size_t n_ids)
{
    context *c = NULL;

    CHECK(cache_begin(s->lab.cache,
                      &(cache_request){.ids = s->ids, .n_ids = n_ids, .tokens = N + TAIL},
                      &c) == ERR_OK);
    while (rebuild_pages(c, SIZE_MAX)) {}
    return c;
}

/* The ids after those it has, up to `to`. */
static void read_on(scene *s, context *c, size_t to, float *logits)
{
    for (size_t at = cache_context_tokens(c), T; at < to; at += T) {
        T = to - at < B - at % B ? to - at : B - at % B;
        lab_step(&s->lab, c, s->ids + at, T, logits);
    }
}

static float number(const kv_tile *tile, const void *from, size_t at)
{
    return tile->format == KV_HALF ? kern_float(((const uint16_t *)from)[at])
                                   : ((const float *)from)[at];
}

/* Keys, then values, of row t in block 0 of every layer [L,2,E]. */
static void read_row(const scene *s, context *c, size_t t, float *out)
{
    const model *m = s->lab.m;

    for (size_t l = 0; l < m->L; l++, out += 2 * m->E) {
        kv_tile tile;

        c->ops->tile(c, (int)l, 0, 0, &tile);
        for (size_t i = 0; i < m->E; i++) {
            const size_t g = i / m->C, x = i % m->C;

            out[i] = number(&tile, tile.k,
                            (g * (B / 16) + t / 16) * m->C * 16 + x * 16 + t % 16);
            out[m->E + i] = number(&tile, tile.v, g * tile.v_head + t * tile.v_stride + x);
        }
        c->ops->release(c, 0);
    }
}

enum { READ = SINK_TOKENS + 1 };

/* [READ,L,2,E] the first rows, and one that is not exact. The caller frees. */
static float *read_rows(const scene *s, context *c)
{
    const size_t one = s->lab.m->L * 2 * s->lab.m->E;
    float *out = malloc(READ * one * sizeof *out);

    for (size_t t = 0; t < READ; t++) read_row(s, c, t, out + t * one);
    return out;
}

static void check_rows(const scene *s, context *c, const float *exact)
{
    const size_t one = s->lab.m->L * 2 * s->lab.m->E;
    float *rows = read_rows(s, c);

    CHECK(memcmp(rows, exact, SINK_TOKENS * one * sizeof *rows) == 0);
    CHECK(memcmp(rows + SINK_TOKENS * one, exact + SINK_TOKENS * one, one * sizeof *rows) != 0);
    free(rows);
}

/* Its first block is half as large from now on, where the mode can do that. */
static void degrade_first(scene *s)
{
    const cache_request r = {.ids = s->ids, .n_ids = B};
    uint32_t block;

    s->lab.cache->degrader.wanted = SIZE_MAX; /* as if more were wanted than there is */
    while (degrade_step(s->lab.cache, 99)) {}
    CHECK(cache_lookup(s->lab.cache, &r, &block) == 1);
    CHECK(cache_block_is_degraded(s->lab.cache, block) ==
          (s->lab.cache->degrader.codec.codec != NULL));
}

/* Sealed here, rebuilt from codes, forked; found with an entry that is there, with one that is
 * computed, and in a degraded block. */
static void check_every_way(scene *s)
{
    float *logits = malloc(s->lab.m->V * sizeof *logits), *exact;
    context *c = begin(s, 0), *copy = NULL;

    read_on(s, c, B - 1, logits);
    cache_push(c, s->ids + B - 1, 1);
    exact = read_rows(s, c); /* of its open page */
    forward_step(s->lab.forward,
                 &(forward_chunk){.context = c, .ids = s->ids + B - 1, .T = 1, .pos = B - 1},
                 1);
    cache_commit(c);
    check_rows(s, c, exact);
    rebuild_drop_pages(s->lab.cache);
    CHECK(rebuild_pages(c, SIZE_MAX) == 0);
    check_rows(s, c, exact);
    CHECK(cache_fork(c, &copy) == ERR_OK);
    check_rows(s, copy, exact);
    cache_end(copy);
    cache_end(c);
    for (int way = 0; way < 3; way++) {
        /* nobody runs: nothing but blocks and the table may be of use */
        memset(s->lab.cache->scratch.memory, 0xff, s->lab.cache->scratch.bytes);
        rebuild_drop_pages(s->lab.cache);
        if (way > 0) lab_forget_sinks(s->lab.cache);
        if (way > 1) degrade_first(s);
        c = begin(s, B + 1);
        CHECK(cache_context_tokens(c) == B);
        check_rows(s, c, exact);
        cache_end(c);
    }
    free(exact);
    free(logits);
}

TEST(sinks_are_exact_in_every_mode_whichever_way_a_context_came)
{
    const char *mode;
    scene *s = open_scene();

    for (size_t i = 0; (mode = mode_at(i)); i++)
        for (int streams = 0; streams < 2; streams++) {
            open_cache(s, mode, streams ? CACHE_STREAMING : UINT64_C(64) << 20);
            check_every_way(s);
            close_cache(s);
        }
    close_scene(s);
}

TEST(sinks_that_are_computed_again_are_those_that_were_sealed_bit_for_bit)
{
    static const char *const modes[] = {"kivi4", "xq4"}; /* floats and halves */
    float *logits;
    scene *s = open_scene();

    logits = malloc(2 * s->lab.m->V * sizeof *logits);
    for (size_t i = 0; i < sizeof modes / sizeof modes[0]; i++) {
        const sink_table *t;
        char *sealed;
        context *c;

        open_cache(s, modes[i], CACHE_AUTO_WORKSPACE);
        t = &s->lab.cache->sinks.table;
        sealed = malloc(t->entry_bytes);
        c = begin(s, 0);
        read_on(s, c, N + TAIL, logits);
        memcpy(sealed, t->memory + context_of(c)->sink * t->entry_bytes, t->entry_bytes);
        cache_end(c);
        lab_forget_sinks(s->lab.cache);
        memset(t->memory, 0xff, t->n * t->entry_bytes);
        c = begin(s, N + 1);
        CHECK(cache_context_tokens(c) == N);
        CHECK(memcmp(sealed, t->memory + context_of(c)->sink * t->entry_bytes,
                     t->entry_bytes) == 0);
        read_on(s, c, N + TAIL, logits + s->lab.m->V);
        CHECK(memcmp(logits, logits + s->lab.m->V, s->lab.m->V * sizeof *logits) == 0);
        cache_end(c);
        free(sealed);
        close_cache(s);
    }
    free(logits);
    close_scene(s);
}

static unsigned holders(const scene *s, const context *c)
{
    const uint32_t entry = context_of_const(c)->sink;

    return entry == SINK_NONE ? 0 : s->lab.cache->sinks.table.list[entry].holders;
}

TEST(sinks_are_held_by_contexts_that_have_a_sealed_block)
{
    context *a, *b, *copy = NULL;
    float *logits;
    scene *s = open_scene();

    logits = malloc(s->lab.m->V * sizeof *logits);
    open_cache(s, "xq4", CACHE_AUTO_WORKSPACE);
    a = begin(s, 0);
    read_on(s, a, B - 1, logits);
    CHECK(holders(s, a) == 0);
    read_on(s, a, B, logits);
    CHECK(holders(s, a) == 1);
    b = begin(s, B + 1);
    CHECK(holders(s, b) == 2 && context_of(a)->sink == context_of(b)->sink);
    CHECK(cache_fork(a, &copy) == ERR_OK && holders(s, copy) == 3);
    CHECK(cache_truncate(b, B - 1) == ERR_OK);
    CHECK(holders(s, b) == 0 && holders(s, a) == 2);
    read_on(s, b, 2 * B, logits); /* what it seals is there already */
    CHECK(holders(s, b) == 3);
    cache_end(copy);
    cache_end(a);
    CHECK(holders(s, b) == 1);
    CHECK(cache_truncate(b, 0) == ERR_OK);
    s->ids[SINK_TOKENS - 1] ^= 1; /* it begins otherwise: an entry of its own */
    a = begin(s, 0);
    read_on(s, a, B, logits);
    read_on(s, b, B, logits);
    CHECK(holders(s, a) == 2 && context_of(a)->sink == context_of(b)->sink);
    cache_end(b);
    cache_end(a);
    close_cache(s);
    free(logits);
    close_scene(s);
}

static void set_ids(int32_t *ids, size_t number)
{
    for (size_t i = 0; i < SINK_TOKENS; i++) ids[i] = (int32_t)(i + number);
}

/* As if the page of a context that begins with these ids were full. */
static uint32_t keep(const scene *s, size_t number)
{
    sink_table *t = &s->lab.cache->sinks.table;
    int32_t ids[SINK_TOKENS];
    uint32_t entry;

    set_ids(ids, number);
    entry = sink_hold(t, ids);
    if (!sink_is_stored(t, entry)) sink_store(t, entry, &s->lab.cache->scratch.pages[0]);
    return entry;
}

static bool is_stored(const scene *s, size_t number)
{
    sink_table *t = &s->lab.cache->sinks.table;
    int32_t ids[SINK_TOKENS];
    uint32_t entry;
    bool stored;

    set_ids(ids, number);
    entry = sink_hold(t, ids);
    stored = sink_is_stored(t, entry);
    sink_drop(t, entry);
    return stored;
}

TEST(sinks_of_running_contexts_stay_and_others_go_oldest_first)
{
    enum { ENTRIES = RUNNING + 8 };
    uint32_t held[RUNNING];
    scene *s = open_scene();
    sink_table *t;

    open_cache(s, "cl4", CACHE_AUTO_WORKSPACE);
    t = &s->lab.cache->sinks.table;
    CHECK(t->n == ENTRIES && sink_table_rests(t));
    for (size_t i = 0; i < RUNNING; i++) held[i] = keep(s, i);
    CHECK(!sink_table_rests(t) && t->resting.count == ENTRIES - RUNNING);
    for (size_t i = RUNNING; i < ENTRIES + 2; i++) sink_drop(t, keep(s, i));
    for (size_t i = 0; i < RUNNING; i++) CHECK(is_stored(s, i));
    sink_drop(t, keep(s, RUNNING + 2)); /* the newest again */
    for (size_t i = RUNNING + 2; i < ENTRIES + 2; i++) CHECK(is_stored(s, i));
    CHECK(!is_stored(s, RUNNING) && !is_stored(s, RUNNING + 1));
    for (size_t i = 0; i < RUNNING; i++) sink_drop(t, held[i]);
    CHECK(sink_table_rests(t));
    close_cache(s);
    close_scene(s);
}

TEST(sinks_take_nothing_where_keys_and_values_are_read_in_place)
{
    cache_stats st;
    scene *s = open_scene();

    open_cache(s, "kv16", CACHE_AUTO_WORKSPACE);
    cache_read_stats(s->lab.cache, &st);
    CHECK(sinks_bytes(s->lab.cache) == 0 && !s->lab.cache->sinks.step);
    close_cache(s);
    open_cache(s, "xq4", CACHE_AUTO_WORKSPACE);
    CHECK(sinks_bytes(s->lab.cache) > 0 && cache_fill(s->lab.cache) == ERR_OK);
    close_cache(s);
    close_scene(s);
}

/* --- a model with a sink --- */

enum {
    SINK_ID = 2,
    OTHERS = 3,
    WIDTH = 64,
    LATE = 2 * SINK_TOKENS,
    READS = 3 * CACHE_BLOCK_TOKENS
};

static float *weights_of(tiny *t, const char *name)
{
    return (float *)(void *)(t->data + tiny_find(t, name)->offset);
}

/* Channel 0 of the residual stream is large for one token and nothing for others, channel 1 the
 * same for all. Each head has a key that is large where channel 0 is, and a query that asks for
 * it always, in a pair of channels that hardly turns. So every token looks at that one. */
static unsigned char *make_sink(size_t *n)
{
    enum { C = 32, SLOW = C - 2 };
    static const char *const layers[][2] = {{"blk.0.attn_q.weight", "blk.0.attn_k.weight"},
                                            {"blk.1.attn_q.weight", "blk.1.attn_k.weight"}};
    tiny *t = tiny_new();
    float *rows = weights_of(t, "token_embd.weight");
    unsigned char *file;

    for (size_t id = 0; id < tiny_find(t, "token_embd.weight")->dim[1]; id++) {
        rows[id * WIDTH] = id == SINK_ID ? 8 : 0;
        rows[id * WIDTH + 1] = 1;
    }
    for (size_t l = 0; l < 2; l++)
        for (size_t head = 0; head < WIDTH / C; head++) {
            const size_t row = (head * C + SLOW) * WIDTH;

            weights_of(t, layers[l][0])[row + 1] = .2f;
            weights_of(t, layers[l][1])[row] = 3;
        }
    file = tiny_write(t, n, NULL, NULL);
    tiny_free(t);
    return file;
}

/* Logits [READS,V] of a text whose sink is at position `at`. The caller frees. */
static float *read_sink(lab *l, const char *mode, size_t at)
{
    const cache_options o = {.mode = mode,
                             .budget_bytes = 16 << 20,
                             .workspace_bytes = CACHE_STREAMING,
                             .max_running = 1,
                             .team = l->team,
                             .ctx_tokens = READS};
    float *logits = malloc(READS * l->m->V * sizeof *logits);
    int32_t ids[READS];
    uint32_t state = 7;

    for (size_t i = 0; i < READS; i++) {
        state = state * 1664525u + 1013904223u;
        ids[i] = (int32_t)(OTHERS + (state >> 8) % 256);
    }
    ids[at] = SINK_ID;
    CHECK(cache_open(&l->cache, l->m, &l->kern, &o) == ERR_OK);
    cache_end(lab_read(l, ids, READS, LAB_BLOCKS, logits));
    cache_close(l->cache);
    return logits;
}

/* Behind the block that has the sink. */
static double sink_kl(lab *l, const char *mode, size_t at)
{
    const size_t from = CACHE_BLOCK_TOKENS * l->m->V;
    float *exact = read_sink(l, "kv32", at), *coded = read_sink(l, mode, at);
    const double kl = lab_kl(exact + from, coded + from, READS - CACHE_BLOCK_TOKENS, l->m->V);

    free(exact);
    free(coded);
    return kl;
}

TEST(sinks_that_are_exact_bring_a_model_with_a_sink_nearer_to_exact)
{
    static const char *const modes[] = {"kivi4", "xq4", "cl4"};
    unsigned char *file;
    size_t n;
    lab l = {0};

    file = make_sink(&n);
    kern_init(&l.kern, cpu_flags());
    CHECK(gguf_open_memory(&l.file, file, n, NULL) == ERR_OK);
    CHECK(model_open(&l.m, l.file, 0, NULL) == ERR_OK);
    CHECK(threads_open(&l.team, 1) == ERR_OK);
    CHECK(forward_open(&l.forward, l.m, &l.kern, l.team, CACHE_BLOCK_TOKENS,
                       CACHE_BLOCK_TOKENS) == ERR_OK);
    for (size_t i = 0; i < sizeof modes / sizeof modes[0]; i++) {
        /* the same text; a sink that is no first token is coded as all others */
        const double first = sink_kl(&l, modes[i], 0), late = sink_kl(&l, modes[i], LATE);

        printf("%s: KL %.3g with an exact sink, %.3g with one that is coded\n", modes[i], first,
               late);
        CHECK(first < late / 2);
    }
    forward_close(l.forward);
    threads_close(l.team);
    model_close(l.m);
    gguf_close(l.file);
    free(file);
}
