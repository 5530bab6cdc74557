/* test_evaluate.c - the figures of cache modes on a short text, and what they must obey. */
#include "server/cmd/evaluate.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "server/document.h"
#include "tests/lab.h"
#include "tests/planned.h"
#include "tests/read_file.h"
#include "tests/test.h"
#include "xcache/codec/codec.h"

enum { CTX = 512 };

/* The embedded model and the ids of a text of the repository. Stays where it is: parts of the
 * runtime point into it. */
typedef struct bench {
    config c;
    runtime r;
    int32_t *ids;
    size_t n_ids;
} bench;

static bench *open_products(const char *threads, const char *products)
{
    char *argv[] = {"--model",    LAB_EMBEDDED,
                    "--threads",  (char *)(uintptr_t)threads,
                    "--products", (char *)(uintptr_t)products};
    char *text, what[256];
    bench *b = calloc(1, sizeof *b);
    size_t n;

    CHECK(b != NULL);
    CHECK(config_load(&b->c, CONFIG_PERPLEXITY, 6, argv, NULL) == NULL);
    CHECK(runtime_open_measured(&b->r, &b->c, b->c.model, what, sizeof what) == ERR_OK);
    text = read_file("README.md", &n);
    CHECK(document_encode(b->r.tokens, text, n, TOKENIZER_PLAIN, &b->ids, &b->n_ids) == ERR_OK);
    CHECK(b->n_ids > 2 * CTX && b->ids[0] == tokenizer_bos(b->r.tokens));
    free(text);
    return b;
}

static bench *open_bench(const char *threads)
{
    return open_products(threads, "served");
}

static void close_bench(bench *b)
{
    free(b->ids);
    runtime_close(&b->r);
    config_free(&b->c);
    free(b);
}

static evaluate_in input(const bench *b, const reader_mode *modes, size_t n)
{
    return (evaluate_in){.text = {b->ids, 1, CTX}, .modes = modes, .n_modes = n};
}

TEST(evaluate_orders_modes_by_their_bits_and_finds_no_distance_from_itself)
{
    static const reader_mode modes[] = {
        {"kv32", NULL}, {"xq8", NULL}, {"xq4", NULL}, {"xq2", NULL}};
    evaluate_result out[5];
    bench *b = open_bench("2");
    const evaluate_in in = input(b, modes, 4);
    const char *at;

    CHECK(evaluate_modes(&b->r, &in, out, &at) == ERR_OK && at == NULL);
    for (int i = 0; i < 2; i++) {
        CHECK(strcmp(out[i].mode, "kv32") == 0);
        CHECK(!(out[i].kl > 0 || out[i].kl < 0) && !(out[i].top1 < 1));
    }
    CHECK(strcmp(out[4].mode, "xq2") == 0);
    /* not less: a layer input changed a little flips codes of the 8-bit activations */
    CHECK(out[2].kl > 0 && out[2].kl < 5e-3 && out[3].kl > 5 * out[2].kl);
    CHECK(out[4].kl > 10 * out[3].kl);
    CHECK(out[2].top1 > out[3].top1 && out[3].top1 > out[4].top1 && out[4].top1 > 0);
    CHECK(fabs(out[2].ppl / out[0].ppl - 1) < .01 && out[4].ppl > 1.5 * out[0].ppl);
    close_bench(b);
}

TEST(evaluate_counts_bytes_as_the_rule_of_each_mode_says)
{
    /* bits a layer and token over D, of layers 0..2 and of the others */
    static const struct {
        reader_mode mode;
        double first, others;
    } rows[] = {{{"kv16", NULL}, 32, 32},
                {{"xq8", NULL}, 8.25, 8.25},
                {{"xq2", NULL}, 4.25, 2.25},
                {{"kivi3", NULL}, 8.5, 6.5},
                {{"cl2", NULL}, 4.25, 2.25}};
    enum { N = sizeof rows / sizeof rows[0] };
    reader_mode modes[N];
    evaluate_result out[1 + N];
    bench *b = open_bench("2");
    evaluate_in in = input(b, modes, N);
    const double D = (double)b->r.weights->D, fp16 = 16 * D * 4;
    const char *at;

    in.text.row_tokens = 300; /* 2 sealed blocks and an open one */
    for (size_t i = 0; i < N; i++) modes[i] = rows[i].mode;
    CHECK(evaluate_modes(&b->r, &in, out, &at) == ERR_OK);
    for (size_t i = 0; i < N; i++) {
        const double bytes = D * (3 * rows[i].first + 13 * rows[i].others) / 8 + 4;

        CHECK(fabs(out[i + 1].bytes_per_token - bytes) < .6); /* blocks are rounded up to 64 */
        CHECK(fabs(out[i + 1].ratio - fp16 / bytes) < .01);
        CHECK(fabs(out[i + 1].bits_per_element - 16 / out[i + 1].ratio) < 1e-9);
    }
    close_bench(b);
}

/* Are p99 and max what they say of the KL of single positions? */
static void check_tail(const evaluate_result *r, const double *kl, size_t n)
{
    size_t above = 0, from = 0;
    double max = kl[0];

    for (size_t i = 0; i < n; i++) {
        const double of = (double)(float)kl[i];

        above += of > r->kl_p99;
        from += of >= r->kl_p99;
        if (of > max) max = of;
    }
    CHECK(100 * above <= n && 100 * from > n && r->kl_p99 < r->kl_max);
    CHECK(!(max < r->kl_max) && !(max > r->kl_max));
}

TEST(evaluate_agrees_with_a_plain_reading_of_the_same_rows)
{
    enum { SHORT = 256, ROWS = 2 };
    static const reader_mode xq4 = {"xq4", NULL};
    evaluate_result out[2];
    bench *b = open_bench("1");
    evaluate_in in = input(b, &xq4, 1);
    const size_t V = b->r.weights->V;
    float *logits = malloc(2 * SHORT * V * sizeof *logits), *coded = logits + SHORT * V;
    double kl = 0, top1 = 0, each[ROWS * (SHORT - 1)];
    const char *at;
    lab exact, quantized;

    in.text.row_tokens = SHORT;
    in.text.rows = ROWS;
    lab_open(&exact, LAB_EMBEDDED, "kv32", 1);
    lab_open(&quantized, LAB_EMBEDDED, "xq4", 1);
    for (size_t row = 0; row < ROWS; row++) { /* the last position counts nowhere */
        const int32_t *ids = b->ids + row * SHORT;

        cache_end(lab_read(&exact, ids, SHORT, LAB_BLOCKS, logits));
        cache_end(lab_read(&quantized, ids, SHORT, LAB_BLOCKS, coded));
        kl += lab_kl(logits, coded, SHORT - 1, V) / ROWS;
        top1 += lab_agreement(logits, coded, SHORT - 1, V) / ROWS;
        for (size_t i = 0; i + 1 < SHORT; i++)
            each[row * (SHORT - 1) + i] = lab_kl(logits + i * V, coded + i * V, 1, V);
    }
    CHECK(evaluate_modes(&b->r, &in, out, &at) == ERR_OK);
    CHECK(kl > 1e-4 && fabs(out[1].kl - kl) < 1e-7);
    CHECK(fabs(out[1].top1 - top1) < 1e-12);
    check_tail(&out[1], each, ROWS * (SHORT - 1));
    lab_close(&exact);
    lab_close(&quantized);
    free(logits);
    close_bench(b);
}

/* Of quantized weights: what is left of kv16's distance is its halves. */
TEST(evaluate_with_exact_products_sees_the_cache_and_not_the_rounding_of_activations)
{
    static const reader_mode kv16 = {"kv16", NULL};
    evaluate_result out[2][2];
    double floor[2];
    const char *at;

    for (int i = 0; i < 2; i++) {
        bench *b = open_products("2", i ? "exact" : "served");
        evaluate_in in = input(b, &kv16, 1);

        in.text = (reader_text){b->ids, 2, 256};
        CHECK(b->r.weights->int8_kv == !i);
        CHECK(evaluate_floor(&b->r, &in, &floor[i]) == ERR_OK);
        in.text.rows = 1; /* the one that the floor is of */
        CHECK(evaluate_modes(&b->r, &in, out[i], &at) == ERR_OK);
        close_bench(b);
    }
    CHECK(out[0][1].kl > 5e-4 && out[1][1].kl > 0 && out[1][1].kl < 3e-6);
    CHECK(out[1][1].kl_max < 1e-4 && !(out[1][1].top1 < 1));
    CHECK(fabs(out[1][0].ppl / out[0][0].ppl - 1) < .01); /* the same model */
    for (int i = 0; i < 2; i++) CHECK(memcmp(&floor[i], &out[0][1].kl, sizeof floor[i]) == 0);
}

static void note_progress(void *arg, double done)
{
    double *last = arg;

    CHECK(done > *last && done < 1 + 1e-9);
    *last = done;
}

TEST(evaluate_gives_the_same_figures_on_any_number_of_threads)
{
    static const reader_mode modes[] = {{"cl3", NULL}, {"kivi2", NULL}};
    evaluate_result out[2][3];

    memset(out, 0, sizeof out);
    for (int i = 0; i < 2; i++) {
        bench *b = open_bench(i ? "2" : "1");
        evaluate_in in = input(b, modes, 2);
        double done = 0;
        const char *at;

        in.text.row_tokens = 256;
        in.progress = note_progress;
        in.arg = &done;
        CHECK(evaluate_modes(&b->r, &in, out[i], &at) == ERR_OK);
        CHECK(done > 1 - 1e-9);
        close_bench(b);
    }
    for (int i = 0; i < 3; i++) {
        const evaluate_result *a = &out[0][i], *b = &out[1][i];

        CHECK(memcmp(&a->kl, &b->kl, sizeof a->kl) == 0);
        CHECK(memcmp(&a->ppl, &b->ppl, sizeof a->ppl) == 0);
        CHECK(memcmp(&a->top1, &b->top1, sizeof a->top1) == 0);
    }
}

TEST(evaluate_greedy_answers_agree_with_themselves_and_drift_with_coarse_codes)
{
    static const reader_mode kivi2 = {"kivi2", NULL};
    evaluate_result out[2];
    bench *b = open_bench("2");
    evaluate_in in = input(b, &kivi2, 1);
    const document_shape nine = {9, EVALUATE_PROMPT_TOKENS, 64}; /* 8 answer together */
    int32_t *prompts = NULL;
    const char *at;

    CHECK(document_cut(b->r.tokens, b->ids, &nine, &prompts) == ERR_OK);
    in.text.row_tokens = 256;
    in.prompts = prompts;
    in.n_prompts = nine.rows;
    CHECK(evaluate_modes(&b->r, &in, out, &at) == ERR_OK);
    CHECK(!(out[0].greedy_equal < 1) && !(out[0].greedy_first < EVALUATE_ANSWER_TOKENS));
    CHECK(out[1].greedy_equal > 0 && out[1].greedy_equal < .9);
    CHECK(out[1].greedy_first > 0 && out[1].greedy_first < 100);
    CHECK(out[1].greedy_equal >= out[1].greedy_first / EVALUATE_ANSWER_TOKENS);
    free(prompts);
    close_bench(b);
}

/* The KL of one mode as tuned, and its bytes a token. */
static double tuned_kl(const bench *b, const char *mode, const codec_tuning *t, double *bytes)
{
    const reader_mode one = {mode, NULL};
    evaluate_result out[2];
    evaluate_in in = input(b, &one, 1);
    const char *at;

    in.tuning = t;
    CHECK(evaluate_modes(&b->r, &in, out, &at) == ERR_OK);
    *bytes = out[1].bytes_per_token;
    return out[1].kl;
}

TEST(evaluate_shows_what_a_tuning_costs_and_saves)
{
    codec_tuning open = codec_usual, unkept = codec_usual, fine = codec_usual;
    bench *b = open_bench("2");
    const double D = (double)b->r.weights->D;
    double bytes, usual_bytes, kl;

    open.open_loop = true;
    unkept.kept_layers = 0;
    fine.group = 32;
    kl = tuned_kl(b, "cl2", NULL, &usual_bytes);
    CHECK(tuned_kl(b, "cl2", &open, &bytes) > 2 * kl); /* why the loop is closed */
    CHECK(!(bytes < usual_bytes) && !(bytes > usual_bytes));
    kl = tuned_kl(b, "xq3", NULL, &usual_bytes);
    CHECK(tuned_kl(b, "xq3", &unkept, &bytes) > kl);
    CHECK(fabs(usual_bytes - bytes - 3 * D / 8) < 1);
    CHECK(tuned_kl(b, "xq3", &fine, &bytes) < kl);
    CHECK(fabs(bytes - usual_bytes - 16 * D * .75 / 8) < 1);
    close_bench(b);
}

TEST(evaluate_tells_how_long_rebuilding_takes_where_pages_are_rebuilt)
{
    static const reader_mode modes[] = {{"kv16", NULL}, {"xq4", NULL}};
    evaluate_result out[3];
    bench *b = open_bench("1");
    evaluate_in in = input(b, modes, 2);
    const char *at;

    in.text.row_tokens = 256;
    CHECK(evaluate_modes(&b->r, &in, out, &at) == ERR_OK);
    CHECK(!(out[1].rebuild_us > 0) && out[2].rebuild_us > 0 && out[2].rebuild_us < 1e6);
    in.streaming = true;
    CHECK(evaluate_modes(&b->r, &in, out, &at) == ERR_OK);
    CHECK(!(out[2].rebuild_us > 0));
    close_bench(b);
}

TEST(evaluate_prints_the_kl_that_a_plan_records_of_the_same_text)
{
    evaluate_result out[2];
    planned p;
    plan *made;

    planned_open(&p, 2);
    made = planned_make(&p, planned_full);
    {
        const runtime r = {
            .weights = p.m, .team = p.team, .kern = p.kern, .block_tokens = CACHE_BLOCK_TOKENS};
        const reader_mode mode = {"klt12", made};
        const evaluate_in in = {
            .text = p.held[PLAN_PROSE], .modes = &mode, .n_modes = 1, .page_format = KV_INT8};
        const plan_measured *recorded = planned_measured(made, 12);
        const char *at;

        CHECK(evaluate_modes(&r, &in, out, &at) == ERR_OK);
        CHECK(recorded && recorded->kl[PLAN_PROSE] > 0);
        CHECK((float)out[1].kl == recorded->kl[PLAN_PROSE]);
    }
    plan_close(made);
    planned_close(&p);
}

TEST(evaluate_names_the_mode_that_it_cannot_open)
{
    static const reader_mode modes[] = {{"xq4", NULL}, {"xq5", NULL}};
    evaluate_result out[3];
    bench *b = open_bench("1");
    const evaluate_in in = input(b, modes, 2);
    const char *at;

    CHECK(evaluate_modes(&b->r, &in, out, &at) == ERR_MODE && at == modes[1].name);
    close_bench(b);
}
