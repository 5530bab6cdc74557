/* test_cache.c - contexts over the pool: reservation, sharing, eviction, accounting. */
#include "xcache/cache.h"

#include <stdlib.h>
#include <string.h>

#include "engine/model/model_load.h"
#include "tests/lab.h"
#include "tests/test.h"
#include "xcache/codec/codec.h"

enum { B = CACHE_BLOCK_TOKENS, PAGES = 4 };

/* n more tokens for c: `text` says which. */
static void feed(lab *l, context *c, size_t n, int text)
{
    float *logits = malloc(l->m->V * sizeof *logits);
    int32_t ids[B];

    for (size_t T; n; n -= T) {
        const size_t at = cache_context_tokens(c);

        T = B - at % B;
        if (T > n) T = n;
        for (size_t i = 0; i < T; i++) ids[i] = (int32_t)((at + i) % 200 + (size_t)text);
        lab_step(l, c, ids, T, logits);
    }
    free(logits);
}

static err begin(lab *l, size_t tokens, context **out)
{
    return cache_begin(l->cache, &(cache_request){.tokens = tokens}, out);
}

/* A context that knows its prompt: n ids of a text, and one token more. */
static err begin_with(lab *l, size_t n, int text, const char *scope, context **out)
{
    int32_t *ids = malloc(n * sizeof *ids);
    const cache_request r = {
        .ids = ids, .n_ids = n, .tokens = n + 1, .scope = scope, .scope_bytes = strlen(scope)};
    err e;

    for (size_t i = 0; i < n; i++) ids[i] = (int32_t)(i % 200 + (size_t)text);
    e = cache_begin(l->cache, &r, out);
    free(ids);
    return e;
}

/* What `o` would take, of a model of which only the sizes are there. */
static cache_sizes measure(const lab *l, const cache_options *o)
{
    cache_sizes sizes;
    model sketch;

    CHECK(model_measure(&sketch, l->file, &(model_options){0}, NULL) == ERR_OK);
    CHECK(!sketch.layers && sketch.weight_bytes == l->m->weight_bytes);
    CHECK(cache_measure(&sketch, o, &sizes) == ERR_OK);
    return sizes;
}

/* As opened, so measured. */
static void check_sizes(const lab *l, const char *mode, uint64_t workspace)
{
    const cache_options o = {.mode = mode,
                             .plan = l->plan,
                             .budget_bytes = 40 << 20,
                             .workspace_bytes = workspace,
                             .page_format = KV_INT8,
                             .max_running = PAGES,
                             .team = l->team,
                             .ctx_tokens = 1000};
    const cache_sizes sizes = measure(l, &o);
    cache_stats s;
    cache *c;

    CHECK(cache_open(&c, l->m, &l->kern, &o) == ERR_OK);
    cache_read_stats(c, &s);
    CHECK(strcmp(sizes.mode, s.mode) == 0 && sizes.block_tokens == s.block_tokens);
    CHECK(sizes.block_bytes == s.block_bytes && sizes.weight_bytes == s.weight_bytes);
    CHECK(sizes.blocks * s.block_tokens == s.capacity_tokens);
    CHECK(sizes.scratch_bytes == s.scratch_bytes);
    CHECK(sizes.workspace_bytes == s.workspace_bytes);
    cache_close(c);
}

TEST(cache_is_measured_before_it_is_opened)
{
    static const char *const models[] = {LAB_EMBEDDED, "models/seedling-38m-gqa-f16.gguf"};

    for (size_t i = 0; i < sizeof models / sizeof models[0]; i++) {
        const char *path = i ? test_shared(models[i]) : models[i];
        char mode[16];
        lab l;

        if (!path) continue;
        lab_open(&l, path, i ? "kv16" : "klt16", 2);
        for (size_t n = 0; codec_mode(n, mode); n++) {
            check_sizes(&l, mode, CACHE_AUTO_WORKSPACE);
            check_sizes(&l, mode, CACHE_STREAMING);
        }
        check_sizes(&l, "auto", CACHE_AUTO_WORKSPACE);
        if (l.plan) check_sizes(&l, "klt16", CACHE_STREAMING);
        lab_close(&l);
    }
}

static size_t used_bytes(const lab *l)
{
    cache_stats s;

    cache_read_stats(l->cache, &s);
    CHECK(s.codes_bytes + s.scales_bytes + s.index_bytes + s.free_bytes == s.capacity_bytes);
    return s.codes_bytes + s.scales_bytes + s.index_bytes;
}

/* A lab whose pool has room for so many blocks, and PAGES open pages. */
static void open_small(lab *l, const char *mode, size_t blocks)
{
    cache_options o = {.mode = mode, .max_running = PAGES};
    cache_stats stats;

    lab_open(l, LAB_EMBEDDED, mode, 1);
    o.team = l->team;
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
    CHECK(begin(&l, 4 * B, &c) == ERR_OK);
    feed(&l, c, B - 1, 0);
    CHECK(used_bytes(&l) == 0);
    feed(&l, c, 1, 0);
    CHECK(used_bytes(&l) == s.block_bytes && cache_context_bytes(c) == s.block_bytes);
    feed(&l, c, 2 * B + 5, 0);
    CHECK(used_bytes(&l) == 3 * s.block_bytes);
    cache_end(c);
    CHECK(used_bytes(&l) == 3 * s.block_bytes); /* an ended context keeps its blocks */
    cache_read_stats(l.cache, &s);
    CHECK(s.active_tokens == 0 && s.idle_tokens == 3 * B);
    lab_close(&l);
}

/* Read n tokens of a text and end. */
static void visit(lab *l, size_t n, int text)
{
    context *c = NULL;

    CHECK(begin(l, n, &c) == ERR_OK);
    feed(l, c, n, text);
    cache_end(c);
}

TEST(cache_evicts_one_by_one_the_least_recent_and_ends_of_chains_first)
{
    context *c = NULL;
    cache_stats s;
    lab l;

    open_small(&l, "xq2", 5);
    visit(&l, 2 * B, 1);
    visit(&l, 2 * B, 2);
    CHECK(begin(&l, 2 * B, &c) == ERR_OK); /* reserves 2, of which 1 is free */
    cache_read_stats(l.cache, &s);
    CHECK(s.idle_tokens == 4 * B && s.evicted_blocks == 0); /* nothing goes before it must */
    feed(&l, c, 2 * B, 3);
    cache_read_stats(l.cache, &s);
    CHECK(s.idle_tokens == 3 * B && s.evicted_blocks == 1);
    cache_end(c);
    CHECK(begin_with(&l, 2 * B + 1, 1, "", &c) == ERR_OK);
    CHECK(cache_context_tokens(c) == B); /* its second block went, its first did not */
    cache_end(c);
    CHECK(begin_with(&l, 2 * B + 1, 2, "", &c) == ERR_OK);
    CHECK(cache_context_tokens(c) == 2 * B);
    cache_end(c);
    used_bytes(&l);
    lab_close(&l);
}

TEST(cache_finds_a_prompt_again_and_leaves_its_last_token)
{
    context *c = NULL;
    size_t used;
    lab l;

    open_small(&l, "xq4", 6);
    visit(&l, 3 * B + 5, 0);
    used = used_bytes(&l);
    for (size_t n = B - 1; n <= 3 * B + 2; n++) {
        CHECK(begin_with(&l, n, 0, "", &c) == ERR_OK);
        CHECK(cache_context_tokens(c) == (n - 1) / B * B);
        cache_end(c);
    }
    CHECK(begin_with(&l, 3 * B, 0, "another tenant", &c) == ERR_OK);
    CHECK(cache_context_tokens(c) == 0);
    cache_end(c);
    CHECK(begin_with(&l, 3 * B, 7, "", &c) == ERR_OK);
    CHECK(cache_context_tokens(c) == 0);
    cache_end(c);
    CHECK(used_bytes(&l) == used);
    lab_close(&l);
}

TEST(cache_shares_what_two_contexts_seal_alike)
{
    context *a = NULL, *b = NULL;
    cache_stats s;
    lab l;

    open_small(&l, "xq4", 6);
    CHECK(begin(&l, 3 * B, &a) == ERR_OK && begin(&l, 3 * B, &b) == ERR_OK);
    feed(&l, a, 2 * B, 0);
    feed(&l, b, 2 * B, 0); /* nobody told it that they are there */
    cache_read_stats(l.cache, &s);
    CHECK(s.active_tokens == 2 * B && s.sealed_blocks == 2);
    feed(&l, a, B, 1);
    feed(&l, b, B, 2);
    cache_read_stats(l.cache, &s);
    CHECK(s.active_tokens == 4 * B);
    cache_end(a);
    cache_read_stats(l.cache, &s);
    CHECK(s.active_tokens == 3 * B && s.idle_tokens == B);
    cache_end(b);
    lab_close(&l);
}

TEST(cache_cuts_inside_the_open_block_to_the_token_and_else_to_a_block)
{
    context *c = NULL;
    lab l;

    open_small(&l, "kivi4", 4);
    CHECK(begin(&l, 3 * B, &c) == ERR_OK);
    feed(&l, c, 2 * B + 40, 0);
    CHECK(cache_truncate(c, 3 * B) == ERR_OK && cache_context_tokens(c) == 2 * B + 40);
    CHECK(cache_truncate(c, 2 * B + 7) == ERR_OK && cache_context_tokens(c) == 2 * B + 7);
    CHECK(cache_truncate(c, B + 100) == ERR_OK && cache_context_tokens(c) == B);
    feed(&l, c, 2 * B, 3);
    CHECK(cache_context_tokens(c) == 3 * B);
    CHECK(cache_truncate(c, 0) == ERR_OK && cache_context_tokens(c) == 0);
    cache_end(c);
    used_bytes(&l);
    lab_close(&l);
}

TEST(cache_runs_together_only_what_the_workspace_holds)
{
    cache_options o = {.mode = "xq4", .budget_bytes = 256 << 20, .page_format = KV_INT8};
    context *a = NULL, *b = NULL;
    cache_stats s;
    lab l;

    lab_open(&l, LAB_EMBEDDED, "kv16", 1);
    cache_close(l.cache);
    o.team = l.team;
    o.ctx_tokens = 4 * B;
    o.max_running = 2;
    o.workspace_bytes = CACHE_AUTO_WORKSPACE;
    CHECK(cache_open(&l.cache, l.m, &l.kern, &o) == ERR_OK);
    cache_read_stats(l.cache, &s);
    o.workspace_bytes = s.workspace_bytes / 8 * 5;           /* 5 pages: a context needs 4 */
    CHECK(s.workspace_bytes == 8 * (s.workspace_bytes / 8)); /* 2 of 4 by default */
    cache_close(l.cache);
    CHECK(cache_open(&l.cache, l.m, &l.kern, &o) == ERR_OK);
    CHECK(begin(&l, 4 * B, &a) == ERR_OK);
    CHECK(begin(&l, 2 * B, &b) == ERR_BUSY && begin(&l, B, &b) == ERR_OK);
    CHECK(begin(&l, 6 * B, &b) == ERR_NOROOM);
    feed(&l, a, 4 * B, 0);
    feed(&l, b, B, 1);
    cache_read_stats(l.cache, &s);
    CHECK(s.workspace_used_bytes == s.workspace_bytes && s.evicted_pages == 0);
    cache_end(a);
    cache_end(b);
    visit(&l, 2 * B, 2);
    cache_read_stats(l.cache, &s);
    CHECK(s.evicted_pages == 2 && s.evicted_blocks == 0);
    lab_close(&l);
}

TEST(cache_copies_are_promised_what_the_prompt_does_not_share)
{
    static const int32_t ids[2 * B + 5];
    const cache_request r = {.ids = ids, .n_ids = 2 * B + 5, .tokens = 3 * B + 9, .copies = 2};
    context *a = NULL, *b = NULL, *copy[2] = {NULL};
    cache_stats s;
    lab l;

    open_small(&l, "xq4", 6);
    CHECK(cache_check(l.cache, &(cache_request){.tokens = 5 * B, .copies = 1}) == ERR_NOROOM);
    CHECK(cache_check(l.cache, &r) == ERR_OK && cache_begin(l.cache, &r, &a) == ERR_OK);
    CHECK(begin(&l, 2 * B, &b) == ERR_BUSY); /* 3 and 2 copies of 1: 1 is left */
    CHECK(begin(&l, B, &b) == ERR_OK);
    feed(&l, a, r.n_ids, 0);
    for (int i = 0; i < 2; i++) CHECK(cache_fork(a, &copy[i]) == ERR_OK);
    for (int i = 0; i < 2; i++) feed(&l, copy[i], B, i + 1);
    feed(&l, a, B, 0);
    feed(&l, b, B, 4);
    cache_read_stats(l.cache, &s);
    CHECK(s.active_tokens == 6 * B && s.free_bytes < s.block_bytes);
    for (int i = 0; i < 2; i++) cache_end(copy[i]);
    cache_end(a);
    cache_end(b);
    lab_close(&l);
}

TEST(cache_copies_that_are_not_forked_give_their_room_back)
{
    static const int32_t ids[B + 5];
    const cache_request r = {.ids = ids, .n_ids = B + 5, .tokens = 2 * B, .copies = 2};
    context *a = NULL, *b = NULL;
    lab l;

    open_small(&l, "xq4", 4);
    CHECK(cache_begin(l.cache, &r, &a) == ERR_OK);
    CHECK(begin(&l, B, &b) == ERR_BUSY);
    cache_drop_copy(a);
    CHECK(begin(&l, B, &b) == ERR_OK);
    cache_end(b);
    cache_end(a);
    CHECK(begin(&l, 4 * B - 1, &b) == ERR_OK);
    cache_end(b);
    lab_close(&l);
}

TEST(cache_refuses_what_can_never_fit_and_delays_what_cannot_now)
{
    context *a = NULL, *b = NULL;
    lab l;

    open_small(&l, "xq4", 3);
    CHECK(cache_check(l.cache, &(cache_request){.tokens = 4 * B}) == ERR_NOROOM);
    CHECK(begin(&l, 4 * B, &a) == ERR_NOROOM);
    CHECK(cache_check(l.cache, &(cache_request){.tokens = 4 * B - 1}) == ERR_OK);
    CHECK(begin(&l, 2 * B, &a) == ERR_OK);
    CHECK(begin(&l, 2 * B, &b) == ERR_BUSY); /* 1 block is not spoken for */
    CHECK(begin(&l, B, &b) == ERR_OK);
    feed(&l, a, 2 * B, 'a' - 'a');
    feed(&l, b, B, 'b' - 'a');
    cache_end(a);
    cache_end(b);
    lab_close(&l);
}

TEST(cache_has_as_many_open_pages_as_it_was_given)
{
    context *c[PAGES + 1] = {0};
    lab l;

    open_small(&l, "kv16", 2);
    for (int i = 0; i < PAGES; i++) CHECK(begin(&l, 10, &c[i]) == ERR_OK);
    CHECK(begin(&l, 10, &c[PAGES]) == ERR_BUSY);
    cache_end(c[0]);
    CHECK(begin(&l, 10, &c[PAGES]) == ERR_OK);
    for (int i = 1; i <= PAGES; i++) cache_end(c[i]);
    lab_close(&l);
}

static err open_codec(codec_state *s, const lab *l, const char *mode)
{
    return codec_open(s, &(codec_options){.mode = mode, .block_tokens = B}, l->m, &l->kern);
}

TEST(cache_names_the_modes_it_cannot_do)
{
    const char *gqa = test_shared("models/seedling-38m-gqa-f16.gguf");
    codec_state s;
    lab l;

    lab_open(&l, LAB_EMBEDDED, "auto", 1);
    CHECK(open_codec(&s, &l, "xq5") == ERR_MODE);
    CHECK(open_codec(&s, &l, "") == ERR_MODE);
    CHECK(open_codec(&s, &l, "kv16x") == ERR_MODE);
    CHECK(open_codec(&s, &l, "auto") == ERR_OK && strcmp(s.mode, "xq8") == 0);
    codec_close(&s);
    lab_close(&l);
    if (!gqa) SKIP("the GQA model is not here");
    lab_open(&l, gqa, "auto", 1);
    CHECK(open_codec(&s, &l, "auto") == ERR_OK && strcmp(s.mode, "kivi8") == 0);
    codec_close(&s);
    lab_close(&l);
}
