/* test_model.c - what a file's keys and tensors make of a model; forward is in tests/golden. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "engine/model/experts.h"
#include "engine/model/model.h"
#include "engine/model/model_load.h"
#include "tests/random.h"
#include "tests/test.h"
#include "tests/tiny.h"

typedef struct opened {
    unsigned char *bytes;
    gguf *file;
    model *m;
} opened;

static opened open_tiny(const tiny *t)
{
    opened o = {0};
    size_t n;

    o.bytes = tiny_write(t, &n, NULL, NULL);
    CHECK(gguf_open_memory(&o.file, o.bytes, n, NULL) == ERR_OK);
    CHECK(model_open(&o.m, o.file, 0, NULL) == ERR_OK);
    return o;
}

static opened open_random(const char *arguments, size_t ctx)
{
    char *path = random_make(arguments);
    opened o = {0};

    CHECK(gguf_open(&o.file, path, NULL) == ERR_OK);
    random_remove(path);
    CHECK(model_open(&o.m, o.file, ctx, NULL) == ERR_OK);
    return o;
}

static void close_opened(opened *o)
{
    model_close(o->m);
    gguf_close(o->file);
    free(o->bytes);
}

/* What is measured before is what loading takes; the floats of 4-bit weights are seven times
 * their bytes. */
TEST(model_with_exact_products_has_no_matrix_that_wants_int8)
{
    static const char *const models[] = {"--type Q4_0", "--type Q4_K --d 256 --ffn 256",
                                         "--type Q8_0 --arch phi3",
                                         "--type Q8_0 --arch qwen3moe --experts 4 --used 2"};

    for (size_t i = 0; i < sizeof models / sizeof models[0]; i++) {
        opened packed = open_random(models[i], 0);
        const model_options exact = {.exact_products = true};
        model *m = NULL, sizes;

        CHECK(model_open_with(&m, packed.file, &exact, NULL) == ERR_OK);
        CHECK(model_measure(&sizes, packed.file, &exact, NULL) == ERR_OK);
        CHECK(packed.m->int8_kv && !m->int8_kv && !sizes.int8_kv);
        CHECK(sizes.weight_bytes == m->weight_bytes);
        CHECK(m->weight_bytes > 3 * packed.m->weight_bytes);
        CHECK(!matrix_wants_int8(&m->output));
        for (size_t l = 0; l < m->L; l++) {
            const model_layer *of = &m->layers[l];
            const model_ffn *f = m->X ? &of->experts[1] : &of->ffn;

            CHECK(!matrix_wants_int8(&of->q) && !matrix_wants_int8(&of->o));
            CHECK(!matrix_wants_int8(&of->k) && !matrix_wants_int8(&of->v));
            CHECK(!matrix_wants_int8(&f->gate) && !matrix_wants_int8(&f->down));
        }
        model_close(m);
        close_opened(&packed);
    }
}

TEST(model_rows_past_the_last_token_are_padding)
{
    tiny *t = tiny_new();
    opened o;

    tiny_find(t, "token_embd.weight")->dim[1] += 25;
    tiny_add_tensor(t, "output.weight", 64, 300);
    o = open_tiny(t);
    CHECK(o.m->V == 263);
    CHECK(o.m->output.rows == 263 && o.m->embedding.dim[1] == 263);
    close_opened(&o);
    tiny_free(t);
}

TEST(model_windows_follow_the_period)
{
    opened o = open_random("--arch gemma3 --layers 13 --window 40", 0);

    for (size_t l = 0; l < 13; l++) {
        const bool all = l % 6 == 5;

        CHECK(o.m->layers[l].window == (all ? 0 : 40));
        CHECK(o.m->layers[l].rope == &o.m->ropes[!all]);
    }
    close_opened(&o);
}

TEST(model_windows_follow_a_list)
{
    static const char key[] = "llama.attention.sliding_window_pattern";
    tiny *t = tiny_new();
    opened o;

    tiny_set_u32(t, "llama.attention.sliding_window", 8);
    tiny_set_numbers(t, key, (const uint32_t[]){0x0100}, 1); /* no, yes, no, no */
    tiny_patch_u32(t, key, 4, 7);
    tiny_patch_u64(t, key, 8, 4);
    o = open_tiny(t);
    CHECK(o.m->layers[0].window == 0 && o.m->layers[1].window == 8);
    close_opened(&o);
    tiny_free(t);
}

TEST(model_window_of_zero_is_none_where_it_may_be)
{
    tiny *t = tiny_new();
    opened o;

    tiny_set_u32(t, "llama.attention.sliding_window", 0);
    o = open_tiny(t);
    CHECK(o.m->layers[0].window == 0);
    close_opened(&o);
    tiny_free(t);
}

/* The factor of pair 7's frequency, from its turn at position 1. */
static double factor_of_pair_7(const model *m)
{
    const size_t at = m->ropes[0].n + 7;
    const double turn = atan2(m->ropes[0].sine[at + m->ropes[0].n / 2], m->ropes[0].cosine[at]);

    return pow(10000, -14.0 / (double)m->ropes[0].n) / turn;
}

TEST(model_context_chooses_short_or_long_factors)
{
    static const char arguments[] = "--arch phi3 --rope long --ctx 512";
    opened within = open_random(arguments, 128), beyond = open_random(arguments, 129);

    CHECK(fabs(factor_of_pair_7(within.m) - 1.14) < 1e-3);
    CHECK(fabs(factor_of_pair_7(beyond.m) - 3.8) < 1e-3);
    CHECK(fabs(hypot(beyond.m->ropes[0].sine[0], beyond.m->ropes[0].cosine[0]) - 1.19) < 1e-6);
    close_opened(&within);
    close_opened(&beyond);
}

TEST(model_scales_embeddings_where_the_architecture_does)
{
    opened plain = open_random("--arch llama", 0), scaled = open_random("--arch gemma2", 0);
    float x[64], row[64];

    model_embed(plain.m, 5, x);
    matrix_read_row(&plain.m->embedding, 5, row);
    CHECK(memcmp(x, row, sizeof x) == 0);
    model_embed(scaled.m, 5, x);
    matrix_read_row(&scaled.m->embedding, 5, row);
    for (size_t d = 0; d < 64; d++) CHECK(x[d] == row[d] * 8);
    close_opened(&plain);
    close_opened(&scaled);
}

/* Of a fused tensor K is the rows behind Q, V those behind K. */
TEST(model_finds_keys_and_values_in_fused_tensors)
{
    opened o = open_random("--arch phi3", 0);
    const gguf_tensor *t = gguf_find(o.file, "blk.1.attn_qkv.weight");
    float *w = malloc(o.m->E * o.m->D * sizeof *w), row[64];

    CHECK(w && t);
    model_read_kv(o.m->layers[1].k_file, w);
    matrix_read_row(t, 64 + 3, row);
    CHECK(memcmp(w + 3 * 64, row, sizeof row) == 0);
    model_read_kv(o.m->layers[1].v_file, w);
    matrix_read_row(t, 64 + 32 + 31, row);
    CHECK(memcmp(w + 31 * 64, row, sizeof row) == 0);
    free(w);
    close_opened(&o);
}

TEST(experts_are_the_best_in_ascending_order)
{
    float scores[] = {1, 3, 2, 3, -1};
    expert_share s[3];
    double sum = 0;

    experts_choose(&(experts_rule){.used = 3, .sum = true, .scale = 1}, scores, 5, s);
    CHECK(s[0].expert == 1 && s[1].expert == 2 && s[2].expert == 3);
    CHECK(s[0].weight == s[2].weight);
    CHECK(fabs(s[1].weight / s[0].weight - exp(-1)) < 1e-6);
    for (int i = 0; i < 3; i++) sum += s[i].weight;
    CHECK(fabs(sum - 1) < 1e-6);
}

TEST(experts_of_equal_scores_are_the_first)
{
    float scores[] = {0, 0, 0, 0};
    expert_share s[2];

    experts_choose(&(experts_rule){.used = 2, .sum = true, .scale = 1}, scores, 4, s);
    CHECK(s[0].expert == 0 && s[1].expert == 1);
    CHECK(s[0].weight == 0.5f && s[1].weight == 0.5f);
}

/* Two of the three that a rule chooses among: what the gate, the sum and the scale make of
 * them. */
TEST(experts_count_as_their_rule_says)
{
    static const struct {
        experts_rule rule;
        double first, second; /* of experts 0 and 1 */
    } rows[] = {
        {{.used = 2, .gate = EXPERTS_SOFTMAX, .scale = 1}, 0.2447, 0.6652},
        {{.used = 2, .gate = EXPERTS_SOFTMAX, .sum = true, .scale = 1}, 0.2689, 0.7311},
        {{.used = 2, .gate = EXPERTS_CHOSEN, .scale = 1}, 0.2689, 0.7311},
        {{.used = 2, .gate = EXPERTS_SIGMOID, .scale = 2}, 1.4621, 1.7616},
        {{.used = 2, .gate = EXPERTS_SIGMOID, .sum = true, .scale = 1}, 0.4536, 0.5464},
    };

    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        float logits[] = {1, 2, 0};
        expert_share s[2];

        experts_choose(&rows[i].rule, logits, 3, s);
        CHECK(s[0].expert == 0 && s[1].expert == 1);
        CHECK(fabs(s[0].weight - rows[i].first) < 1e-4);
        CHECK(fabs(s[1].weight - rows[i].second) < 1e-4);
    }
}

/* A bias chooses and does not count: sigmoids are .73, .88 and .5. */
TEST(experts_are_chosen_with_a_bias_and_count_without)
{
    const float bias[] = {0, 0, 0.3f};
    float logits[] = {1, 2, 0};
    expert_share s[2];

    experts_choose(
        &(experts_rule){.used = 2, .gate = EXPERTS_SIGMOID, .scale = 1, .bias = bias}, logits,
        3, s);
    CHECK(s[0].expert == 1 && s[1].expert == 2);
    CHECK(fabs(s[1].weight - 0.5) < 1e-6);
}
