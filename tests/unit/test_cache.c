/* test_cache.c - contexts over the pool: reservation, eviction of the oldest, accounting. */
#include "xcache/cache.h"

#include <stdlib.h>
#include <string.h>

#include "tests/lab.h"
#include "tests/test.h"
#include "xcache/codec.h"

enum { B = CACHE_BLOCK_TOKENS };

/* n more tokens for c. */
static void feed(lab *l, context *c, size_t n)
{
    float *logits = malloc(l->m->V * sizeof *logits);
    int32_t ids[B];

    for (size_t i = 0; i < B; i++) ids[i] = (int32_t)(i % 200);
    for (size_t T; n; n -= T) {
        T = B - cache_context_tokens(c) % B;
        if (T > n) T = n;
        lab_step(l, c, ids, T, logits);
    }
    free(logits);
}

static size_t used_bytes(const lab *l)
{
    cache_stats s;

    cache_read_stats(l->cache, &s);
    CHECK(s.codes_bytes + s.scales_bytes + s.index_bytes + s.free_bytes == s.capacity_bytes);
    return s.codes_bytes + s.scales_bytes + s.index_bytes;
}

/* A lab whose pool has room for so many blocks. */
static void open_small(lab *l, const char *mode, size_t blocks)
{
    cache_options o = {.mode = mode, .max_running = 2, .slots = 1};
    cache_stats stats;

    lab_open(l, LAB_EMBEDDED, mode, 1);
    cache_read_stats(l->cache, &stats);
    cache_close(l->cache);
    o.budget_bytes = blocks * stats.block_bytes;
    CHECK(cache_open(&l->cache, l->m, &l->kern, &o) == ERR_OK);
}

TEST(cache_block_sizes_follow_the_rule)
{
    /* bits a layer and token over 128 tokens and 16 layers, and 4 bytes of id a token */
    static const struct {
        const char *mode;
        double bits[2]; /* of layers 0..2, of the others; times D */
    } rows[] = {{"kv32", {64, 64}},    {"kv16", {32, 32}},    {"xq8", {8.25, 8.25}},
                {"xq4", {4.25, 4.25}}, {"xq3", {4.25, 3.25}}, {"xq2", {4.25, 2.25}}};

    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        const double bits = 384 * (3 * rows[i].bits[0] + 13 * rows[i].bits[1]);
        cache_stats s;
        lab l;

        open_small(&l, rows[i].mode, 1);
        cache_read_stats(l.cache, &s);
        CHECK(strcmp(s.mode, rows[i].mode) == 0);
        CHECK(s.block_bytes == (size_t)(bits / 8 * B) + 4 * B);
        CHECK(s.capacity_tokens == B);
        lab_close(&l);
    }
}

TEST(cache_seals_a_block_when_its_last_token_arrives)
{
    context *c = NULL;
    cache_stats s;
    lab l;

    open_small(&l, "xq4", 4);
    cache_read_stats(l.cache, &s);
    CHECK(cache_begin(l.cache, 4 * B, &c) == ERR_OK);
    feed(&l, c, B - 1);
    CHECK(used_bytes(&l) == 0);
    feed(&l, c, 1);
    CHECK(used_bytes(&l) == s.block_bytes && cache_context_bytes(c) == s.block_bytes);
    feed(&l, c, 2 * B + 5);
    CHECK(used_bytes(&l) == 3 * s.block_bytes);
    cache_end(c);
    CHECK(used_bytes(&l) == 3 * s.block_bytes); /* an ended context keeps its blocks */
    cache_read_stats(l.cache, &s);
    CHECK(s.active_tokens == 0 && s.ended_tokens == 3 * B);
    lab_close(&l);
}

TEST(cache_frees_the_oldest_ended_context_whole_when_room_is_wanted)
{
    context *c[3] = {0};
    cache_stats s;
    lab l;

    open_small(&l, "xq2", 5);
    for (int i = 0; i < 2; i++) {
        CHECK(cache_begin(l.cache, 2 * B, &c[i]) == ERR_OK);
        feed(&l, c[i], 2 * B);
        cache_end(c[i]);
    }
    cache_read_stats(l.cache, &s);
    CHECK(s.ended_tokens == 4 * B && s.evicted_blocks == 0);
    CHECK(cache_begin(l.cache, 2 * B, &c[2]) == ERR_OK); /* wants 2, 1 is free */
    cache_read_stats(l.cache, &s);
    CHECK(s.ended_tokens == 2 * B && s.evicted_blocks == 2);
    feed(&l, c[2], 2 * B);
    cache_end(c[2]);
    used_bytes(&l);
    lab_close(&l);
}

TEST(cache_refuses_what_can_never_fit_and_delays_what_cannot_now)
{
    context *a = NULL, *b = NULL;
    lab l;

    open_small(&l, "xq4", 3);
    CHECK(cache_check(l.cache, 4 * B) == ERR_NOROOM);
    CHECK(cache_begin(l.cache, 4 * B, &a) == ERR_NOROOM);
    CHECK(cache_check(l.cache, 4 * B - 1) == ERR_OK);
    CHECK(cache_begin(l.cache, 2 * B, &a) == ERR_OK);
    CHECK(cache_begin(l.cache, 2 * B, &b) == ERR_BUSY); /* 1 block is not spoken for */
    CHECK(cache_begin(l.cache, B, &b) == ERR_OK);
    feed(&l, a, 2 * B);
    feed(&l, b, B);
    cache_end(a);
    cache_end(b);
    lab_close(&l);
}

TEST(cache_has_as_many_open_pages_as_it_was_given)
{
    context *c[3] = {0};
    lab l;

    open_small(&l, "kv16", 2);
    CHECK(cache_begin(l.cache, 10, &c[0]) == ERR_OK);
    CHECK(cache_begin(l.cache, 10, &c[1]) == ERR_OK);
    CHECK(cache_begin(l.cache, 10, &c[2]) == ERR_BUSY);
    cache_end(c[0]);
    CHECK(cache_begin(l.cache, 10, &c[2]) == ERR_OK);
    cache_end(c[1]);
    cache_end(c[2]);
    lab_close(&l);
}

TEST(cache_names_the_modes_it_cannot_do)
{
    const char *gqa = test_shared("models/seedling-38m-gqa-f16.gguf");
    codec_state s;
    lab l;

    lab_open(&l, LAB_EMBEDDED, "auto", 1);
    CHECK(codec_open(&s, "xq5", l.m, &l.kern, B, NULL) == ERR_MODE);
    CHECK(codec_open(&s, "", l.m, &l.kern, B, NULL) == ERR_MODE);
    CHECK(codec_open(&s, "kv16x", l.m, &l.kern, B, NULL) == ERR_MODE);
    CHECK(codec_open(&s, "auto", l.m, &l.kern, B, NULL) == ERR_OK &&
          strcmp(s.mode, "xq4") == 0);
    codec_close(&s);
    lab_close(&l);
    if (!gqa) SKIP("the GQA model is not here");
    lab_open(&l, gqa, "auto", 1);
    CHECK(codec_open(&s, "auto", l.m, &l.kern, B, NULL) == ERR_OK &&
          strcmp(s.mode, "kv16") == 0);
    codec_close(&s);
    lab_close(&l);
}
