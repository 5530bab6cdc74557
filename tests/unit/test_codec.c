/* test_codec.c - what a tuning changes: bytes by the rule, errors the way they must go, and an
 * encoder that always knows what its decoder will find. */
#include "xcache/codec/codec.h"

#include <stdlib.h>
#include <string.h>

#include "engine/kern/cpu.h"
#include "engine/model/model_load.h"
#include "tests/test.h"
#include "tests/tiny.h"
#include "xcache/codec/remat.h"

enum { B = 128, D = 64, L = 3 };

/* The tiny model, three layers deep, and one block of one context in it. */
typedef struct bench {
    unsigned char *bytes;
    gguf *file;
    model *m;
    kern kern;
    codec_scratch scratch;
    float x[L][B * D], state[B * D], after[L][B * D], v[L][B * D];
    uint8_t codes[L][B * D], scales[L][B * D];
    int32_t ids[B];
} bench;

static void narrow(tiny *t, const char *name)
{
    tiny_find(t, name)->dim[1] = D / 2;
}

/* Layer 2 is layer 1 once more. */
static void add_layer(tiny *t)
{
    const size_t n = t->tensors;

    tiny_set_u32(t, "llama.block_count", L);
    for (size_t i = 0; i < n; i++) {
        tiny_tensor copy = t->tensor[i];

        if (strncmp(copy.name, "blk.1.", 6) != 0) continue;
        copy.name[4] = '2';
        t->tensor[t->tensors++] = copy;
        t->n_tensors++;
    }
}

/* Inputs that change a little from layer to layer, as those of models do. */
static void make_inputs(bench *b)
{
    uint32_t state = 9;

    for (size_t l = 0; l < L; l++)
        for (size_t i = 0; i < B * D; i++) {
            state = state * 1664525u + 1013904223u;
            b->x[l][i] = ((float)(state >> 8) * 0x1p-23f - 1) * (l ? .3f : 1);
            if (l) b->x[l][i] += b->x[l - 1][i];
        }
}

static bench *open_bench(bool grouped)
{
    bench *b = calloc(1, sizeof *b);
    tiny *t = tiny_new();
    size_t n;

    CHECK(b != NULL);
    if (grouped) {
        tiny_set_u32(t, "llama.attention.head_count_kv", 1);
        narrow(t, "blk.0.attn_k.weight");
        narrow(t, "blk.0.attn_v.weight");
        narrow(t, "blk.1.attn_k.weight");
        narrow(t, "blk.1.attn_v.weight");
    }
    add_layer(t);
    b->bytes = tiny_write(t, &n, NULL, NULL);
    tiny_free(t);
    kern_init(&b->kern, cpu_flags());
    CHECK(gguf_open_memory(&b->file, b->bytes, n, NULL) == ERR_OK);
    CHECK(model_open(&b->m, b->file, 0, NULL) == ERR_OK);
    CHECK(b->m->E == (grouped ? D / 2 : D) && model_is_mha(b->m) == !grouped);
    b->scratch.x = malloc(B * D * sizeof(float));
    b->scratch.k = malloc(2 * B * b->m->E * sizeof(float));
    b->scratch.v = b->scratch.k + B * b->m->E;
    b->scratch.kt = malloc(B * b->m->E * sizeof(float));
    make_inputs(b);
    return b;
}

static void close_bench(bench *b)
{
    free(b->scratch.x);
    free(b->scratch.k);
    free(b->scratch.kt);
    model_close(b->m);
    gguf_close(b->file);
    free(b->bytes);
    free(b);
}

static codec_state open_mode(const bench *b, const char *mode, const codec_tuning *tuning)
{
    const codec_options o = {.mode = mode, .tuning = tuning, .block_tokens = B};
    codec_state s;

    CHECK(codec_open(&s, &o, b->m, &b->kern) == ERR_OK);
    return s;
}

/* Code the block and decode it: b->after [l] is what the encoder held after a layer, b->v [l]
 * what the decoder made of it. True if the decoder found the same. */
static bool pass(bench *b, const codec_state *s)
{
    codec_place place = {.ids = b->ids, .state = b->state, .scratch = &b->scratch};
    bool same = true;

    for (int l = 0; l < L; l++) {
        const codec_rows rows = {.x = b->x[l]};

        place.codes = b->codes[l];
        place.scales = b->scales[l];
        s->codec->encode(s, l, &rows, &place);
        memcpy(b->after[l], b->state, sizeof b->state);
    }
    memset(b->state, 0xff, sizeof b->state);
    for (int l = 0; l < L; l++) {
        kv_tile tile;

        place.codes = b->codes[l];
        place.scales = b->scales[l];
        s->codec->decode(s, l, &place, &tile);
        memcpy(b->v[l], b->scratch.v, B * b->m->E * sizeof(float));
        same = same && memcmp(b->after[l], b->state, sizeof b->state) == 0;
    }
    return same;
}

/* Mean squared error of the last layer's values. */
static double error_of(bench *b, const char *mode, const codec_tuning *tuning)
{
    codec_state s = open_mode(b, mode, tuning);
    const size_t E = b->m->E;
    float *exact = malloc(B * E * sizeof *exact), *w = remat_weights(b->m);
    double sum = 0;

    pass(b, &s);
    remat_multiply(b->x[L - 1], B, D, w + (2 * L - 1) * E * D, E, exact, 0);
    for (size_t i = 0; i < B * E; i++) {
        const double d = (double)b->v[L - 1][i] - (double)exact[i];

        sum += d * d;
    }
    free(exact);
    free(w);
    codec_close(&s);
    return sum / (double)(B * E);
}

/* Bits a token of each layer; scales hold 16 bits of scale and 16 of zero a group. */
typedef struct bits {
    size_t layer[L];
} bits;

static bool has_bits(const bench *b, const char *mode, codec_tuning t, bits wanted)
{
    codec_state s = open_mode(b, mode, &t);
    bool right = true;

    for (int l = 0; l < L; l++) {
        const codec_size size = s.codec->size(&s, l);

        right = right && (size.codes + size.scales) * 8 == wanted.layer[l] * B;
    }
    codec_close(&s);
    return right;
}

static codec_tuning tuned(size_t group, int kept_layers, int rank_percent, int base_layer)
{
    codec_tuning t = codec_usual;

    t.group = group;
    t.kept_layers = kept_layers;
    t.rank_percent = rank_percent;
    t.base_layer = base_layer;
    return t;
}

TEST(codec_sizes_follow_group_and_layers_kept)
{
    bench *b = open_bench(false);

    CHECK(has_bits(b, "xq2", codec_usual, (bits){{4 * D + 32, 4 * D + 32, 4 * D + 32}}));
    CHECK(
        has_bits(b, "xq2", tuned(32, 2, 100, 2), (bits){{4 * D + 64, 4 * D + 64, 2 * D + 64}}));
    CHECK(
        has_bits(b, "xq8", tuned(64, 0, 100, 2), (bits){{8 * D + 32, 8 * D + 32, 8 * D + 32}}));
    /* keys: two groups of 64 tokens a channel; values: one of 64 channels a token */
    CHECK(has_bits(b, "kivi3", tuned(64, 1, 100, 2),
                   (bits){{8 * D + D / 2 + 32, 6 * D + D / 2 + 32, 6 * D + D / 2 + 32}}));
    CHECK(
        has_bits(b, "cl3", tuned(32, 0, 100, 0), (bits){{3 * D + 64, 3 * D + 64, 3 * D + 64}}));
    close_bench(b);
}

TEST(codec_sizes_of_grouped_heads_follow_rank_and_base_layer)
{
    enum { E = D / 2 };
    bench *b = open_bench(true);

    for (size_t percent = 25; percent <= 100; percent += 25) {
        const size_t N = E * percent / 100; /* per channel 32 bits of scales in 128 tokens */
        const size_t first = 8 * N + N / 4 + 32, other = 4 * N + N / 4 + 32;

        CHECK(
            has_bits(b, "xq2", tuned(128, 1, (int)percent, 2), (bits){{first, other, other}}));
    }
    CHECK(has_bits(b, "xq4", tuned(128, 3, 26, 2), (bits){{8 * 16 + 4 + 32, 164, 164}}));
    CHECK(has_bits(b, "cl2", tuned(128, 1, 100, 0),
                   (bits){{4 * D + 32, 2 * 2 * E + 32, 2 * 2 * E + 32}}));
    close_bench(b);
}

TEST(codec_error_falls_with_rank_and_with_shorter_groups)
{
    bench *b = open_bench(true), *mha = open_bench(false);
    double before = 1e30;

    for (int percent = 25; percent <= 100; percent += 25) {
        const codec_tuning t = tuned(128, 3, percent, 2);
        const double error = error_of(b, "xq8", &t);

        CHECK(error > 0 && error < .9 * before);
        before = error;
    }
    before = 1e30;
    for (size_t group = 64; group >= 32; group /= 2) {
        const codec_tuning t = tuned(group, 0, 100, 2);
        const double error = error_of(mha, "xq2", &t);

        CHECK(error > 0 && error < before);
        before = error;
    }
    close_bench(b);
    close_bench(mha);
}

TEST(codec_closed_loop_holds_what_its_decoder_carries_whatever_that_is)
{
    static const codec_accumulator all[] = {CODEC_FP32, CODEC_FP16, CODEC_4BIT};

    for (int grouped = 0; grouped < 2; grouped++) {
        bench *b = open_bench(grouped);
        float state[3][B * D];

        for (int i = 0; i < 3; i++) {
            codec_tuning t = tuned(64, 0, 100, 0);
            codec_state s;

            t.accumulator = all[i];
            s = open_mode(b, "cl3", &t);
            CHECK(pass(b, &s));
            memcpy(state[i], b->after[L - 1], sizeof state[i]);
            codec_close(&s);
        }
        for (size_t i = 0; i < B * D; i++) {
            const uint16_t half = kern_half(state[1][i]);

            CHECK(!(kern_float(half) < state[1][i]) && !(kern_float(half) > state[1][i]));
        }
        for (size_t row = 0; row < B; row++) { /* 16 levels, and zero + scale * code */
            size_t levels = 0;

            for (size_t i = 0; i < D; i++) {
                size_t j = 0;

                while (memcmp(&state[2][row * D + i], &state[2][row * D + j], sizeof(float)))
                    j++;
                levels += j == i;
            }
            CHECK(levels <= 16);
        }
        CHECK(memcmp(state[0], state[1], sizeof state[0]) != 0);
        close_bench(b);
    }
}

TEST(codec_open_loop_lets_errors_add_up)
{
    for (int grouped = 0; grouped < 2; grouped++) {
        codec_tuning closed = tuned(64, 0, 100, 0), open = closed;
        bench *b = open_bench(grouped);
        codec_state s;

        open.open_loop = true;
        CHECK(error_of(b, "cl2", &open) > 1.5 * error_of(b, "cl2", &closed));
        s = open_mode(b, "cl2", &open);
        CHECK(!pass(b, &s)); /* its encoder does not know what the decoder has */
        CHECK(memcmp(b->after[0], b->x[0], sizeof b->x[0]) == 0);
        codec_close(&s);
        close_bench(b);
    }
}

TEST(codec_carries_coarsely_at_a_price)
{
    codec_tuning t = tuned(64, 3, 100, 0), coarse = t;
    bench *b = open_bench(false);

    coarse.accumulator = CODEC_4BIT;
    CHECK(error_of(b, "cl4", &coarse) > error_of(b, "cl4", &t));
    close_bench(b);
}

TEST(codec_usual_tuning_is_what_no_tuning_is)
{
    bench *b = open_bench(true);
    codec_state s = open_mode(b, "xq3", NULL);

    CHECK(s.tuning.group == 128 && s.tuning.kept_layers == 3 && s.tuning.rank_percent == 100);
    CHECK(s.tuning.base_layer == 2 && s.tuning.accumulator == CODEC_FP32);
    CHECK(!s.tuning.open_loop);
    codec_close(&s);
    close_bench(b);
}

TEST(codec_says_which_parts_of_a_tuning_count_for_a_mode)
{
    bench *mha = open_bench(false), *grouped = open_bench(true);

    CHECK(codec_uses("kv16", mha->m) == 0 && codec_uses("klt16", mha->m) == 0);
    CHECK(codec_uses("kivi2", mha->m) == (CODEC_GROUP | CODEC_KEPT));
    CHECK(codec_uses("kivi4", mha->m) == CODEC_GROUP);
    CHECK(codec_uses("xq3", mha->m) == (CODEC_GROUP | CODEC_KEPT));
    CHECK(codec_uses("xq3", grouped->m) == (CODEC_GROUP | CODEC_KEPT | CODEC_RANK));
    CHECK(codec_uses("cl2", grouped->m) == (CODEC_GROUP | CODEC_KEPT | CODEC_LOOP));
    CHECK(codec_uses("auto", mha->m) == CODEC_GROUP);
    CHECK(codec_uses("xq5", mha->m) & CODEC_KEPT); /* for codec_open to refuse */
    close_bench(mha);
    close_bench(grouped);
}

/* Layer 0 of inputs x, as keys and as values too: what `kivi` and, with grouped heads, `xq`
 * store along tokens comes first. codes [width,B] at 4 bits, scales [width]. */
static void encode_first(bench *b, const codec_state *s, const float *x, size_t sinks)
{
    const codec_rows rows = {.x = x, .raw_k = x, .v = x, .sinks = sinks};
    const codec_place place = {
        .codes = b->codes[0], .scales = b->scales[0], .ids = b->ids, .scratch = &b->scratch};

    s->codec->encode(s, 0, &rows, &place);
}

/* A sink is an outlier among the keys of a channel. */
TEST(codec_groups_along_tokens_do_not_see_rows_that_nobody_reads)
{
    enum { SINKS = 4, LARGE = 50 };
    static const char *const modes[] = {"kivi4", "xq4"};

    for (int grouped = 0; grouped < 2; grouped++) {
        bench *b = open_bench(grouped);
        codec_state s = open_mode(b, modes[grouped], NULL);
        const size_t width = b->m->E, codes = width * B / 2, scales = width * 4;
        uint8_t without[B * D];

        for (size_t t = 0; t < SINKS; t++)
            memcpy(b->x[0] + t * D, b->x[0] + SINKS * D, D * sizeof(float));
        encode_first(b, &s, b->x[0], 0);
        memcpy(without, b->codes[0], codes);
        memcpy(without + codes, b->scales[0], scales);
        for (size_t i = 0; i < SINKS * D; i++) b->x[0][i] *= LARGE;
        encode_first(b, &s, b->x[0], SINKS);
        CHECK(memcmp(without, b->codes[0], codes) == 0);
        CHECK(memcmp(without + codes, b->scales[0], scales) == 0);
        encode_first(b, &s, b->x[0], 0);
        CHECK(memcmp(without + codes, b->scales[0], scales) != 0);
        codec_close(&s);
        close_bench(b);
    }
}
