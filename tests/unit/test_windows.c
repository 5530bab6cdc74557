/* test_windows.c - blocks that windows have passed: what goes first, who comes back without
 * computing anything again, and what a rewind costs. */
#include "xcache/windows.h"

#include <stdlib.h>
#include <string.h>

#include "engine/model/model_load.h"
#include "tests/lab.h"
#include "tests/random.h"
#include "tests/test.h"
#include "xcache/cache_state.h"

/* Conversations of 8 blocks. A window of 2 blocks: behind the 8th it begins in block 6. */
enum { B = CACHE_BLOCK_TOKENS, BLOCKS = 8, N = BLOCKS * B, WINDOW = 2 * B, MANY = 7 };

static const char model_arguments[] =
    "--arch gemma3 --layers 6 --kv-heads 1 --head-dim 32 --window 256 --ctx 2048";

typedef struct scene {
    char *path;
    lab lab;
    float *logits;
} scene;

/* A pool of so many blocks; more than there is any use for: 0. */
static void open_cache(scene *s, const char *mode, size_t blocks)
{
    cache_options o = {.mode = mode,
                       .budget_bytes = 64 << 20,
                       .workspace_bytes = CACHE_AUTO_WORKSPACE,
                       .page_format = KV_INT8,
                       .max_running = 3,
                       .team = s->lab.team,
                       .ctx_tokens = N + B};
    cache_stats stats;

    cache_close(s->lab.cache);
    CHECK(cache_open(&s->lab.cache, s->lab.m, &s->lab.kern, &o) == ERR_OK);
    if (!blocks) return;
    cache_read_stats(s->lab.cache, &stats);
    cache_close(s->lab.cache);
    o.budget_bytes = blocks * stats.block_bytes;
    CHECK(cache_open(&s->lab.cache, s->lab.m, &s->lab.kern, &o) == ERR_OK);
}

static void open_scene(scene *s, const char *mode, size_t blocks)
{
    *s = (scene){.path = random_make(model_arguments)};
    lab_open(&s->lab, s->path, mode, 2);
    s->logits = malloc(s->lab.m->V * sizeof *s->logits);
    open_cache(s, mode, blocks);
}

static void close_scene(scene *s)
{
    CHECK(cache_is_sound(s->lab.cache));
    free(s->logits);
    lab_close(&s->lab);
    random_remove(s->path);
}

static cache_stats stats_of(const scene *s)
{
    cache_stats out;

    cache_read_stats(s->lab.cache, &out);
    return out;
}

/* What conversation `who` says at a place; the first `shared` tokens are everybody's. */
static int32_t id_at(size_t who, size_t shared, size_t at)
{
    return (int32_t)(3 + (at * 7 + (at < shared ? 0 : who * 31 + at / B)) % 200);
}

/* Run n tokens of a conversation; what is cached of them is not computed. *cached, *rewound: as
 * the context began. The logits are those of the last token. */
static void turn(scene *s, size_t who, size_t shared, size_t n, size_t *cached, size_t *rewound)
{
    int32_t ids[N + B];
    const cache_request r = {.ids = ids, .n_ids = n, .tokens = n};
    context *c = NULL;

    for (size_t i = 0; i < n; i++) ids[i] = id_at(who, shared, i);
    CHECK(cache_begin(s->lab.cache, &r, &c) == ERR_OK);
    *cached = cache_context_tokens(c);
    *rewound = cache_context_rewound(c);
    while (rebuild_pages(c, 4)) {}
    for (size_t at = *cached, T; at < n; at += T) {
        T = n - at < B - at % B ? n - at : B - at % B;
        lab_step(&s->lab, c, ids + at, T, s->logits);
    }
    cache_end(c);
}

/* The logits behind n tokens of a conversation that was never disturbed: [V], malloc'd. */
static float *undisturbed(scene *s, const char *mode, size_t who, size_t shared, size_t n)
{
    float *out = malloc(s->lab.m->V * sizeof *out);
    size_t cached, rewound;
    scene calm = *s;

    calm.lab.cache = NULL;
    open_cache(&calm, mode, 0);
    turn(&calm, who, shared, n, &cached, &rewound);
    CHECK(!cached && !rewound);
    memcpy(out, s->logits, s->lab.m->V * sizeof *out);
    cache_close(calm.lab.cache);
    return out;
}

static void check_logits(scene *s, const char *mode, size_t who, size_t shared, size_t n)
{
    float *got = malloc(s->lab.m->V * sizeof *got), *expected;

    memcpy(got, s->logits, s->lab.m->V * sizeof *got);
    expected = undisturbed(s, mode, who, shared, n);
    CHECK(memcmp(got, expected, s->lab.m->V * sizeof *got) == 0);
    free(got);
    free(expected);
}

/* --- what is needed --- */

static void check_first(const char *arguments, size_t n, size_t first)
{
    char *path = random_make(arguments);
    lab l;

    lab_open(&l, path, "kv16", 1);
    CHECK(windows_first(l.m, B, n) == first);
    lab_close(&l);
    random_remove(path);
}

TEST(windows_need_what_the_next_query_sees)
{
    check_first(model_arguments, 0, 0);
    check_first(model_arguments, 2, 0);
    check_first(model_arguments, 3, 1);
    check_first(model_arguments, BLOCKS, BLOCKS - 2);
    check_first("--arch gemma2 --layers 2 --window 1", 5, 5);   /* itself alone */
    check_first("--arch gemma2 --layers 2 --window 130", 5, 3); /* one key of block 3 */
    check_first("--arch llama --layers 2", 5, 5);               /* no windows: nothing */
    /* they begin at multiples of 512 */
    check_first("--arch llama4 --layers 4 --window 512 --experts 4 --used 1", 7, 4);
    check_first("--arch llama4 --layers 4 --window 512 --experts 4 --used 1", 8, 8);
}

/* --- who comes back --- */

/* Three conversations fit in full, and one more block. */
static void many_return(const char *mode)
{
    size_t cached, rewound;
    cache_stats at;
    scene s;

    open_scene(&s, mode, 3 * BLOCKS + 1);
    for (size_t who = 0; who < MANY; who++) turn(&s, who, 0, N, &cached, &rewound);
    for (size_t again = 0; again < 2; again++) {
        for (size_t who = 0; who < MANY; who++) {
            turn(&s, who, 0, N + 2 + again, &cached, &rewound);
            CHECK(cached == N && !rewound);
            if (who == 2) check_logits(&s, mode, who, 0, N + 2 + again);
        }
    }
    at = stats_of(&s);
    CHECK(!at.evicted_blocks && at.dropped_windows > MANY && !at.rewound_tokens);
    CHECK(at.idle_tokens == MANY * N && at.narrow_tokens == at.dropped_windows * B);
    CHECK(at.codes_bytes + at.scales_bytes + at.index_bytes + at.free_bytes ==
          at.capacity_bytes);
    close_scene(&s);
}

TEST(windows_let_twice_as_many_conversations_return_and_compute_nothing_again)
{
    many_return("kv16");
    many_return("kivi4");
    many_return("xq4");
}

TEST(windows_count_what_a_conversation_takes)
{
    cache_options o = {.mode = "kivi4", .budget_bytes = 64 << 20, .max_running = 3};
    size_t cached, rewound;
    cache_sizes sizes;
    uint64_t bytes;
    scene s;

    open_scene(&s, "kivi4", 0);
    o.team = s.lab.team;
    o.ctx_tokens = N + B;
    CHECK(cache_measure(s.lab.m, &o, &sizes) == ERR_OK);
    bytes = cache_bytes_of(s.lab.m, &sizes, N);
    CHECK(bytes == 2 * sizes.block_bytes + 6 * sizes.past_bytes);
    CHECK(sizes.past_bytes < sizes.block_bytes / 4);
    turn(&s, 0, 0, N, &cached, &rewound);
    CHECK(stats_of(&s).rewind_bytes == 6 * (sizes.block_bytes - sizes.past_bytes));
    CHECK(cache_drop_windows(s.lab.cache, SIZE_MAX) == 6);
    CHECK(stats_of(&s).rewind_bytes == 0);
    CHECK(stats_of(&s).capacity_bytes - stats_of(&s).free_bytes == bytes);
    /* no context is long enough for a window to leave a block behind */
    o.ctx_tokens = WINDOW;
    CHECK(cache_measure(s.lab.m, &o, &sizes) == ERR_OK);
    CHECK(sizes.past_bytes == sizes.block_bytes);
    /* layers follow from the ones before */
    o.ctx_tokens = N;
    o.mode = "cl3";
    CHECK(cache_measure(s.lab.m, &o, &sizes) == ERR_OK);
    CHECK(sizes.past_bytes == sizes.block_bytes);
    close_scene(&s);
}

/* --- who goes back --- */

TEST(windows_that_are_gone_are_computed_again_by_who_rewinds)
{
    size_t cached, rewound;
    scene s;

    open_scene(&s, "kivi4", 0);
    turn(&s, 0, 0, N, &cached, &rewound);
    turn(&s, 0, 0, N / 2 + 9, &cached, &rewound); /* nothing is short: nothing is lost */
    CHECK(cached == N / 2 && !rewound);
    /* both ends are kept: that of the first, and that of the rewind; in between nothing is */
    CHECK(cache_drop_windows(s.lab.cache, SIZE_MAX) == 4);
    turn(&s, 0, 0, N / 2 + 9, &cached, &rewound);
    CHECK(cached == N / 2 && !rewound);
    turn(&s, 0, 0, N / 2 + B + 9, &cached, &rewound);
    CHECK(cached == N / 2 && rewound == B); /* block 4 lacks them, and gets them */
    check_logits(&s, "kivi4", 0, 0, N / 2 + B + 9);
    turn(&s, 0, 0, N + 9, &cached, &rewound);
    CHECK(cached == N && !rewound);
    check_logits(&s, "kivi4", 0, 0, N + 9);
    CHECK(cache_drop_windows(s.lab.cache, SIZE_MAX) > 0);
    turn(&s, 0, 0, 3 * B, &cached, &rewound);
    CHECK(cached == 0 && rewound == 2 * B);
    check_logits(&s, "kivi4", 0, 0, 3 * B);
    CHECK(stats_of(&s).rewound_tokens == 3 * B);
    close_scene(&s);
}

TEST(windows_go_from_the_front_so_that_short_rewinds_last_longest)
{
    size_t cached, rewound;
    scene s;

    open_scene(&s, "kivi4", 0);
    turn(&s, 0, 0, N, &cached, &rewound);
    turn(&s, 1, 0, N, &cached, &rewound);
    CHECK(cache_drop_windows(s.lab.cache, 3) == 3); /* of the older conversation */
    turn(&s, 1, 0, B + 9, &cached, &rewound);
    CHECK(cached == B && !rewound);
    turn(&s, 0, 0, 5 * B + 9, &cached, &rewound); /* sees blocks 3 and 4 */
    CHECK(cached == 5 * B && !rewound);
    turn(&s, 0, 0, 4 * B + 9, &cached, &rewound); /* block 2 is gone */
    CHECK(cached == 0 && rewound == 4 * B);
    check_logits(&s, "kivi4", 0, 0, 4 * B + 9);
    close_scene(&s);
}

/* --- who shares, pins and forks --- */

TEST(windows_of_a_shared_block_stay_while_somebody_may_look)
{
    const size_t shared = 4 * B;
    size_t cached, rewound;
    scene s;

    open_scene(&s, "kivi4", 0);
    turn(&s, 0, shared, shared + 9, &cached, &rewound); /* rests behind block 4 */
    turn(&s, 1, shared, N, &cached, &rewound);          /* has gone on from there, far */
    CHECK(cached == shared);
    turn(&s, 2, shared, shared + 9, &cached, &rewound); /* a third rests there */
    CHECK(cached == shared && !rewound);
    CHECK(cache_drop_windows(s.lab.cache, SIZE_MAX) == 4); /* 0, 1 and 4, 5 */
    turn(&s, 0, shared, shared + 10, &cached, &rewound);
    CHECK(cached == shared && !rewound);
    turn(&s, 1, shared, N + 1, &cached, &rewound);
    CHECK(cached == N && !rewound);
    close_scene(&s);
}

TEST(windows_of_a_pinned_conversation_stay_as_far_as_its_next_turn_needs)
{
    uint32_t blocks[BLOCKS];
    int32_t ids[N];
    const cache_request r = {.ids = ids, .n_ids = 5 * B};
    size_t cached, rewound;
    scene s;

    open_scene(&s, "kivi4", 0);
    for (size_t i = 0; i < N; i++) ids[i] = id_at(0, 0, i);
    turn(&s, 0, 0, 5 * B, &cached, &rewound);
    CHECK(cache_lookup(s.lab.cache, &r, blocks) == 5);
    CHECK(cache_pin(s.lab.cache, blocks, 5) == ERR_OK);
    turn(&s, 0, 0, N, &cached, &rewound); /* goes on, and rests elsewhere */
    CHECK(cached == 5 * B);
    CHECK(cache_drop_windows(s.lab.cache, SIZE_MAX) == 4); /* 0, 1, 2 and 5 */
    CHECK(cache_usable(s.lab.cache, blocks, 5) == 5);
    CHECK(cache_usable(s.lab.cache, blocks, 4) == 0);
    cache_unpin(s.lab.cache, blocks, 5);
    CHECK(cache_drop_windows(s.lab.cache, SIZE_MAX) == 2);
    CHECK(cache_usable(s.lab.cache, blocks, 5) == 0);
    close_scene(&s);
}

TEST(windows_of_what_runs_go_too_where_no_query_of_it_or_of_its_forks_looks)
{
    const cache_request r = {.tokens = N + B};
    context *c = NULL, *fork = NULL;
    int32_t ids[B];
    scene s;

    open_scene(&s, "kivi4", 0);
    CHECK(cache_begin(s.lab.cache, &r, &c) == ERR_OK);
    for (size_t b = 0; b < BLOCKS; b++) {
        for (size_t i = 0; i < B; i++) ids[i] = id_at(0, 0, b * B + i);
        if (b == 4) CHECK(cache_fork(c, &fork) == ERR_OK);
        lab_step(&s.lab, c, ids, B, s.logits);
    }
    CHECK(cache_drop_windows(s.lab.cache, SIZE_MAX) == 4); /* 0, 1 and 4, 5 */
    CHECK(cache_truncate(c, 6 * B) == ERR_OK);
    CHECK(cache_context_tokens(c) == 4 * B); /* what the fork looks at, is all there */
    for (size_t i = 0; i < 9; i++) ids[i] = id_at(0, 0, 4 * B + i);
    lab_step(&s.lab, c, ids, 9, s.logits);
    check_logits(&s, "kivi4", 0, 0, 4 * B + 9);
    cache_end(c);
    cache_end(fork);
    close_scene(&s);
}

/* A block that is being written is not to shrink; and half-sealed ones leave nothing behind. */
TEST(windows_spare_what_is_being_sealed)
{
    const cache_request r = {.tokens = N};
    context *c = NULL;
    int32_t ids[B] = {0};
    scene s;

    open_scene(&s, "kivi4", 0);
    CHECK(cache_begin(s.lab.cache, &r, &c) == ERR_OK);
    cache_push(c, ids, B);
    cache_commit_later(c);
    CHECK(cache_is_sealing(c) && !cache_drop_windows(s.lab.cache, SIZE_MAX));
    seal_layers(s.lab.cache, &c, 1, 2);
    CHECK(cache_is_sealing(c) && !cache_drop_windows(s.lab.cache, SIZE_MAX));
    cache_end(c);
    CHECK(!cache_drop_windows(s.lab.cache, SIZE_MAX) && !stats_of(&s).idle_tokens);
    close_scene(&s);
}
