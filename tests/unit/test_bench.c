/* test_bench.c - what the figures of a benchmark are made of; how large they are is the
 * machine's affair. */
#include "server/cmd/bench.h"

#include <math.h>
#include <stdlib.h>

#include "server/document.h"
#include "server/plans.h"
#include "tests/lab.h"
#include "tests/read_file.h"
#include "tests/test.h"
#include "xcache/codec/klt.h"
#include "xcache/codec/rate.h"

enum { B = CACHE_BLOCK_TOKENS, MIB = 1 << 20 };

/* A model and the ids of a text of the repository. Stays where it is: parts of the runtime
 * point into it. */
typedef struct fixture {
    config c;
    runtime r;
    int32_t *ids;
    bench bench;
} fixture;

static fixture *open_fixture(const char *path)
{
    char *argv[] = {"--model", (char *)(uintptr_t)path, "--threads", "2"};
    char *text, what[256];
    fixture *f = calloc(1, sizeof *f);
    size_t n;

    CHECK(f != NULL);
    CHECK(config_load(&f->c, CONFIG_BENCH, 4, argv, NULL) == NULL);
    f->c.ctx_size = BENCH_CTX;
    CHECK(runtime_open_model(&f->r, &f->c, f->c.model, what, sizeof what) == ERR_OK);
    text = read_file("models/calibration.txt", &n);
    CHECK(document_encode(f->r.tokens, text, 32768, TOKENIZER_PLAIN, &f->ids, &n) == ERR_OK);
    free(text);
    f->bench = (bench){
        .runtime = &f->r, .ids = f->ids, .n_ids = n, .repeat = 1, .max_running = 8};
    return f;
}

static void close_fixture(fixture *f)
{
    free(f->ids);
    runtime_close(&f->r);
    config_free(&f->c);
    free(f);
}

static void note_progress(void *arg, double done)
{
    double *last = arg;

    CHECK(done >= *last && done < 1 + 1e-9);
    *last = done;
}

/* --- capacity --- */

TEST(bench_fills_a_pool_with_as_many_blocks_as_their_size_says)
{
    /* bits a layer and token over D, of layers 0..2 and of the others */
    static const struct {
        reader_mode mode;
        double first, others;
    } rows[] = {
        {{"kv16", NULL}, 32, 32}, {{"xq4", NULL}, 4.25, 4.25}, {{"cl2", NULL}, 4.25, 2.25}};
    fixture *f = open_fixture(LAB_EMBEDDED);
    const double D = (double)f->r.weights->D;

    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        const double bytes = B * (D * (3 * rows[i].first + 13 * rows[i].others) / 8 + 4);
        const uint64_t pool_bytes = 9 * MIB + 12345; /* no whole number of blocks */
        double done = 0;
        const stage s = {note_progress, &done, 0, 1};
        bench_fill out;

        CHECK(bench_fill_pool(&f->bench, &rows[i].mode, pool_bytes, &s, &out) == ERR_OK);
        CHECK(out.pool_bytes == pool_bytes && out.block_tokens == B);
        CHECK(fabs((double)out.block_bytes - bytes) < .6 * B); /* rounded up to 64 */
        CHECK(out.blocks == pool_bytes / out.block_bytes);
        CHECK(fabs(out.ratio - B * D * 64 / (double)out.block_bytes) < 1e-9);
        CHECK(out.gib_blocks == (UINT64_C(1) << 30) / out.block_bytes);
        CHECK(out.gib_memory > UINT64_C(1) << 30 && out.gib_memory < UINT64_C(3) << 29);
        CHECK(done > .5);
    }
    close_fixture(f);
}

TEST(bench_counts_the_whole_blocks_of_conversations)
{
    const bench_fill f = {.pool_bytes = 128 * MIB,
                          .blocks = 682,
                          .block_tokens = B,
                          .block_bytes = 196288,
                          .gib_blocks = 5470,
                          .gib_memory = UINT64_C(5) << 28};
    const bench_capacity whole = bench_count(&f, 2048), cut = bench_count(&f, 1500);

    CHECK(fabs(whole.contexts - 682.0 / 16) < 1e-9 && fabs(cut.contexts - 62) < 1e-9);
    CHECK(whole.bytes_per_context == 16 * f.block_bytes);
    CHECK(cut.bytes_per_context == 11 * f.block_bytes);
    CHECK(fabs(whole.per_gib - 8 * 682.0 / 16) < 1e-9 && fabs(cut.per_gib - 8 * 62) < 1e-9);
    CHECK(fabs(whole.per_gib_of_all - 5470 / 16.0 / 1.25) < 1e-9);
}

TEST(bench_finds_sixteen_times_the_contexts_with_the_plan_that_ships)
{
    fixture *f = open_fixture(LAB_EMBEDDED);
    const stage s = {0};
    reader_mode klt = {"klt16", NULL}, kv = {"kv16", NULL};
    bench_fill many, few;
    fault why;
    plan *p = NULL;

    CHECK(plans_open(LAB_EMBEDDED, "klt16", f->r.file, &p, &why) == ERR_OK);
    klt.plan = p;
    CHECK(bench_fill_pool(&f->bench, &klt, 32 * MIB, &s, &many) == ERR_OK);
    CHECK(bench_fill_pool(&f->bench, &kv, 32 * MIB, &s, &few) == ERR_OK);
    CHECK(bench_count(&many, 2048).per_gib >= 15.5 * bench_count(&few, 2048).per_gib);
    plan_close(p);
    close_fixture(f);
}

/* --- time --- */

TEST(bench_times_prompts_answers_and_answers_together)
{
    static const bench_case cases[] = {
        {2 * B + 3, 0, 1, B}, {4, 0, 1, 1}, {4, B + 1, 1, 1}, {4, B, 3, 1}, {B, B, 2, 32}};
    const reader_mode mode = {"xq4", NULL};
    fixture *f = open_fixture(LAB_EMBEDDED);

    f->bench.repeat = 3;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        double done = 0;
        const stage s = {note_progress, &done, 0, 1};
        bench_time out = {0};

        CHECK(bench_speed(&f->bench, &mode, &cases[i], &s, &out) == ERR_OK);
        CHECK(out.seconds > 0 && out.spread > 0 && done > 1 - 1e-9);
    }
    close_fixture(f);
}

TEST(bench_attaches_at_the_flop_that_its_formula_counts)
{
    static const reader_mode modes[] = {{"xq4", NULL}, {"cl3", NULL}};
    enum { TOKENS = 2 * B };
    const reader_mode kept = {"kv16", NULL};
    const stage s = {0};
    fixture *f = open_fixture(LAB_EMBEDDED);
    const double D = (double)f->r.weights->D, L = (double)f->r.weights->L;
    bench_attach out;

    for (int i = 0; i < 2; i++) {
        CHECK(bench_reattach(&f->bench, &modes[i], TOKENS, &s, &out) == ERR_OK);
        CHECK(out.rebuilds && out.time.seconds > 0 && out.ceiling_gflops > 0);
        CHECK(fabs(out.gflops * 1e9 * out.time.seconds / (4 * D * D * L * TOKENS) - 1) < 1e-9);
    }
    CHECK(bench_reattach(&f->bench, &kept, TOKENS, &s, &out) == ERR_OK);
    CHECK(!out.rebuilds && !(out.time.seconds > 0) && !(out.gflops > 0));
    close_fixture(f);
}

TEST(bench_counts_the_flop_of_grouped_heads_and_of_plans)
{
    const model mha = {.D = 384, .L = 16, .H = 6, .G = 6, .C = 64, .E = 384};
    const model gqa = {.D = 512, .L = 12, .H = 8, .G = 2, .C = 64, .E = 128};
    const reader_mode xq = {"xq3", NULL}, cl = {"cl3", NULL}, kivi = {"kivi4", NULL};
    fixture *f = open_fixture(LAB_EMBEDDED);
    reader_mode klt = {"klt16", NULL};
    double stored = 0;
    plan *p = NULL;
    fault why;

    CHECK(fabs(bench_flop(&mha, &xq) - 4.0 * 384 * 384 * 16) < 1);
    CHECK(fabs(bench_flop(&mha, &cl) - 4.0 * 384 * 384 * 16) < 1);
    CHECK(fabs(bench_flop(&gqa, &xq) - 4.0 * 128 * 128 * 12) < 1);
    CHECK(fabs(bench_flop(&gqa, &cl) - (4.0 * 512 * 128 * 12 + 2.0 * 512 * 256 * 9)) < 1);
    CHECK(!(bench_flop(&gqa, &kivi) > 0));
    CHECK(plans_open(LAB_EMBEDDED, "klt16", f->r.file, &p, &why) == ERR_OK);
    klt.plan = p;
    for (size_t l = 1; l < 16; l++) {
        const plan_layer layer = plan_read_layer(p, l);

        stored += (double)klt_count(&layer, rate_step(p, B, 16));
    }
    CHECK(fabs(bench_flop(f->r.weights, &klt) -
               2 * 384.0 * (384 + stored / 16 + 2 * 384) * 16) < 1);
    /* the denser, the fewer components */
    CHECK(bench_flop(f->r.weights, &(reader_mode){"klt40", p}) <
          bench_flop(f->r.weights, &(reader_mode){"klt10", p}));
    plan_close(p);
    close_fixture(f);
}

TEST(bench_says_why_a_mode_cannot_be_measured)
{
    static const reader_mode unknown = {"xq5", NULL}, unplanned = {"klt16", NULL},
                             plain = {"kv16", NULL};
    static const bench_case one = {1, 0, 1, 1};
    const stage s = {0};
    fixture *f = open_fixture(LAB_EMBEDDED);
    bench_attach attach;
    bench_time time;
    bench_fill fill;

    CHECK(bench_speed(&f->bench, &unknown, &one, &s, &time) == ERR_MODE);
    CHECK(bench_reattach(&f->bench, &unplanned, B, &s, &attach) == ERR_NOPLAN);
    CHECK(bench_fill_pool(&f->bench, &unknown, MIB, &s, &fill) == ERR_MODE);
    CHECK(bench_fill_pool(&f->bench, &plain, MIB, &s, &fill) == ERR_NOROOM);
    close_fixture(f);
}
