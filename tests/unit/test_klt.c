/* test_klt.c - what the encoder's loop holds is what the decoder finds, in every form of a
 * plan, at every ratio and whatever is coded; blocks fill their ratio and never more; bytes may
 * be anything; a mode without its plan is refused. */
#include "xcache/codec/klt.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/kern/cpu.h"
#include "tests/drawn.h"
#include "tests/planned.h"
#include "tests/test.h"
#include "xcache/codec/codec.h"

enum { B = 128, D = 64, L = 3, E = 64 };

static const plan_predictor full = {PLAN_FULL, 0}, ranked = {PLAN_RANK, 16},
                            none = {PLAN_NONE, 0};

/* One block's memory, and the exact inputs of all its layers. */
typedef struct bench {
    codec_state codec;
    codec_scratch scratch;
    float x[L][B * D], state[B * D], after[L][B * D];
    uint8_t *codes; /* of all layers; a block of its own, so that a write past it shows */
    size_t n_codes;
    uint8_t scales[2 * B]; /* there are none */
    int32_t ids[B];
    size_t sinks;
} bench;

static double draw(uint32_t *state)
{
    *state = *state * 1664525u + 1013904223u;
    return (double)(int32_t)*state / 2147483648.0;
}

/* Those of the second block of a text that the plan was not made from, times scale. */
static void read_inputs(bench *b, const planned *p, float scale)
{
    const reader_model parts = {p->m, &p->kern, p->team, CACHE_BLOCK_TOKENS};
    const reader_text *text = &p->held[PLAN_PROSE];
    const size_t N = text->rows * text->row_tokens;
    float *x = malloc(L * N * D * sizeof *x);

    CHECK(x && reader_record(&parts, text, &(stage){0}, x) == ERR_OK);
    for (size_t l = 0; l < L; l++)
        for (size_t i = 0; i < B * D; i++) b->x[l][i] = scale * x[(l * N + B) * D + i];
    memcpy(b->ids, text->ids + B, sizeof b->ids);
    free(x);
}

/* Any, between -scale and scale. */
static void draw_inputs(bench *b, double scale)
{
    uint32_t state = 9;

    for (size_t l = 0; l < L; l++)
        for (size_t i = 0; i < B * D; i++) b->x[l][i] = (float)(scale * draw(&state));
}

static bench *open_bench(const planned *p, const plan *made, const char *mode)
{
    const codec_options o = {.mode = mode, .plan = made, .block_tokens = B};
    bench *b = calloc(1, sizeof *b);

    CHECK(codec_open(&b->codec, &o, p->m, &p->kern) == ERR_OK);
    b->scratch.x = malloc(B * D * sizeof(float));
    b->scratch.k = malloc(2 * B * p->m->E * sizeof(float));
    b->scratch.v = b->scratch.k + B * p->m->E;
    b->scratch.kt = malloc(B * p->m->E * sizeof(float));
    b->scratch.temp = malloc(b->codec.temp_floats * sizeof(float));
    for (int l = 0; l < L; l++) b->n_codes += b->codec.codec->size(&b->codec, l).codes;
    b->codes = malloc(b->n_codes);
    read_inputs(b, p, 1);
    return b;
}

static void close_bench(bench *b)
{
    codec_close(&b->codec);
    free(b->scratch.x);
    free(b->scratch.k);
    free(b->scratch.kt);
    free(b->scratch.temp);
    free(b->codes);
    free(b);
}

static codec_place place_of(bench *b)
{
    return (codec_place){.codes = b->codes,
                         .scales = b->scales,
                         .ids = b->ids,
                         .state = b->state,
                         .scratch = &b->scratch};
}

static void encode_all(bench *b)
{
    memset(b->codes, 0xa5, b->n_codes);
    for (int l = 0; l < L; l++) {
        const codec_rows rows = {.x = b->x[l], .sinks = b->sinks};
        const codec_place place = place_of(b);

        b->codec.codec->encode(&b->codec, l, &rows, &place);
        memcpy(b->after[l], b->state, sizeof b->state);
    }
}

/* Every layer's state, in `after`, from memory that holds nothing of the encoder's. */
static void decode_all(bench *b)
{
    kv_tile tile;

    memset(b->state, 0xff, sizeof b->state);
    memset(b->scratch.temp, 0xff, b->codec.temp_floats * sizeof(float));
    for (int l = 0; l < L; l++) {
        const codec_place place = place_of(b);

        b->codec.codec->decode(&b->codec, l, &place, &tile);
        memcpy(b->after[l], b->state, sizeof b->state);
        for (size_t i = 0; i < B * E; i++) CHECK(isfinite(((const float *)tile.k)[i]));
    }
}

static void encode_decode_and_compare(bench *b)
{
    float(*held)[B * D] = malloc(sizeof b->after);

    encode_all(b);
    memcpy(held, b->after, sizeof b->after);
    decode_all(b);
    CHECK(memcmp(held, b->after, sizeof b->after) == 0);
    free(held);
}

/* Stage by stage, the last part first: within a stage their order must not matter. */
static void encode_in_parts(bench *b, void *memory, size_t parts)
{
    memset(b->codes, 0xa5, b->n_codes);
    memset(memory, 0xff, b->codec.share_bytes);
    for (int l = 0; l < L; l++) {
        const codec_rows rows = {.x = b->x[l], .sinks = b->sinks};
        const codec_place place = place_of(b);

        for (int at = 0; at < CODEC_STAGES; at++)
            for (size_t i = at == CODEC_WRITE ? 1 : parts; i-- > 0;) {
                const codec_share share = {(codec_stage)at, i, parts, memory};

                b->codec.codec->encode_part(&b->codec, l, &rows, &place, &share);
            }
        memcpy(b->after[l], b->state, sizeof b->state);
    }
}

/* Where the codes end: what lies behind is anything. */
static size_t code_bytes(const bench *b)
{
    uint32_t end;

    memcpy(&end, b->codes + (L - 1) * sizeof end, sizeof end);
    return end;
}

static void check_parts(bench *b)
{
    float(*held)[B * D] = malloc(sizeof b->after);
    uint8_t *codes = malloc(b->n_codes);
    void *memory = aligned_alloc(64, (b->codec.share_bytes + 63) / 64 * 64);

    encode_all(b);
    memcpy(held, b->after, sizeof b->after);
    memcpy(codes, b->codes, b->n_codes);
    for (size_t parts = 1; parts <= B / CODEC_PART_TOKENS; parts *= 2) {
        encode_in_parts(b, memory, parts);
        CHECK(memcmp(held, b->after, sizeof b->after) == 0);
        CHECK(memcmp(codes, b->codes, code_bytes(b)) == 0);
    }
    free(held);
    free(codes);
    free(memory);
}

TEST(klt_in_parts_writes_and_holds_the_same)
{
    static const char *const modes[] = {"klt4", "klt12", "klt64"};
    static const double scales[] = {0, 1, 30, 1e12};
    const plan_predictor forms[] = {full, ranked, none};
    planned p;

    planned_open(&p, 2);
    for (size_t i = 0; i < 3; i++) {
        plan *made = planned_make(&p, forms[i]);

        for (size_t k = 0; k < sizeof modes / sizeof modes[0]; k++) {
            bench *b = open_bench(&p, made, modes[k]);

            check_parts(b);
            b->sinks = 20; /* all of a part of 16 and some of the next */
            check_parts(b);
            /* layers that have to be coded again, and such as are not coded at all */
            for (size_t s = 0; s < sizeof scales / sizeof scales[0]; s++) {
                draw_inputs(b, scales[s]);
                check_parts(b);
            }
            close_bench(b);
        }
        plan_close(made);
    }
    planned_close(&p);
}

TEST(klt_decoder_finds_what_the_encoder_held)
{
    static const char *const modes[] = {"klt4", "klt8", "klt16.5", "klt40"};
    const plan_predictor forms[] = {full, ranked, none};
    planned p;

    planned_open(&p, 2);
    for (size_t i = 0; i < 3; i++) {
        plan *made = planned_make(&p, forms[i]);

        for (size_t k = 0; k < sizeof modes / sizeof modes[0]; k++) {
            bench *b = open_bench(&p, made, modes[k]);

            encode_decode_and_compare(b);
            close_bench(b);
        }
        plan_close(made);
    }
    planned_close(&p);
}

/* Far from all that was calibrated: each value an escape; or none at all. */
TEST(klt_decoder_finds_what_the_encoder_held_of_any_values)
{
    static const double scales[] = {0, 1e-20, 1e3, 1e12};
    planned p;
    plan *made;
    bench *b;

    planned_open(&p, 2);
    made = planned_make(&p, full);
    b = open_bench(&p, made, "klt12");
    for (size_t i = 0; i < sizeof scales / sizeof scales[0]; i++) {
        draw_inputs(b, scales[i]);
        encode_decode_and_compare(b);
    }
    close_bench(b);
    plan_close(made);
    planned_close(&p);
}

/* What is read from a damaged block is wrong, but it is numbers, and nothing else is touched.
 */
TEST(klt_decodes_any_bytes_to_numbers)
{
    uint32_t state = 5;
    planned p;
    plan *made;
    bench *b;

    planned_open(&p, 1);
    made = planned_make(&p, full);
    b = open_bench(&p, made, "klt8");
    for (int times = 0; times < 40; times++) {
        encode_all(b);
        /* now and then where each layer ends, too */
        for (size_t i = times % 4 ? L * sizeof(uint32_t) : 0; i < b->n_codes; i++)
            if (times < 20 || draw(&state) > .98) b->codes[i] = (uint8_t)(128 * draw(&state));
        decode_all(b);
    }
    close_bench(b);
    plan_close(made);
    planned_close(&p);
}

TEST(klt_layer_0_is_bit_for_bit_the_engine_s)
{
    planned p;
    plan *made;
    bench *b;

    planned_open(&p, 1);
    made = planned_make(&p, none);
    b = open_bench(&p, made, "klt8");
    encode_all(b);
    for (size_t t = 0; t < B; t++) {
        float row[D], x[D];

        model_embed(p.m, b->ids[t], row);
        model_norm_row(p.m, &p.kern, &p.m->layers[0].attn_norm, row, x);
        CHECK(memcmp(x, b->after[0] + t * D, sizeof x) == 0);
    }
    CHECK(b->codec.codec->size(&b->codec, 0).codes == 0);
    close_bench(b);
    plan_close(made);
    planned_close(&p);
}

/* --- what a ratio buys --- */

/* Mean squared distance of what is held from what was given, from row `first` on. */
static double distance(const bench *b, int layer, size_t first)
{
    double sum = 0;

    for (size_t i = first * D; i < B * D; i++)
        sum += pow((double)b->x[layer][i] - (double)b->after[layer][i], 2);
    return sum / (double)(B * D - first * D);
}

TEST(klt_codes_carry_information_and_more_bits_carry_more)
{
    static const char *const modes[] = {"klt40", "klt24", "klt12", "klt8", "klt5"};
    double before = INFINITY;
    planned p;
    plan *made;

    planned_open(&p, 2);
    made = planned_make(&p, full);
    for (size_t i = 0; i < sizeof modes / sizeof modes[0]; i++) {
        bench *b = open_bench(&p, made, modes[i]);
        double now;

        encode_all(b);
        now = distance(b, 2, 0);
        CHECK(now < before);
        before = now;
        close_bench(b);
    }
    plan_close(made);
    planned_close(&p);
}

/* The place of the last layer's end in the codes. */
static size_t used_bytes(const bench *b)
{
    uint32_t end;

    memcpy(&end, b->codes + (L - 1) * sizeof end, sizeof end);
    return end;
}

TEST(klt_blocks_never_exceed_their_ratio)
{
    static const double scales[] = {1, .1, 3, 100};
    planned p;
    plan *made;

    planned_open(&p, 2);
    made = planned_make(&p, none);
    for (double ratio = 4; ratio <= 32; ratio *= 1.5) {
        char mode[16];
        bench *b;

        snprintf(mode, sizeof mode, "klt%g", ratio);
        b = open_bench(&p, made, mode);
        CHECK(b->n_codes == plan_code_bytes(E, L, B, ratio));
        CHECK((double)(b->n_codes + sizeof b->ids) * 8 / B <= 32.0 * E * L / ratio);
        for (size_t i = 0; i < sizeof scales / sizeof scales[0]; i++) {
            read_inputs(b, &p, (float)scales[i]);
            encode_all(b);
            CHECK(used_bytes(b) <= b->n_codes);
        }
        close_bench(b);
    }
    plan_close(made);
    planned_close(&p);
}

/* A thousand times as large as all others, as sinks are: they are kept elsewhere. */
TEST(klt_spends_nothing_on_rows_that_are_kept_exactly)
{
    enum { SINKS = 4 };
    double plain, kept, paid;
    planned p;
    plan *made;
    bench *b;

    planned_open(&p, 2);
    made = planned_make(&p, full);
    b = open_bench(&p, made, "klt12");
    encode_all(b);
    plain = distance(b, 2, SINKS);
    for (size_t l = 0; l < L; l++)
        for (size_t i = 0; i < SINKS * D; i++) b->x[l][i] *= 1000;
    encode_all(b);
    paid = distance(b, 2, SINKS);
    b->sinks = SINKS;
    encode_decode_and_compare(b);
    kept = distance(b, 2, SINKS);
    CHECK(kept < 1.1 * plain && kept < paid);
    close_bench(b);
    plan_close(made);
    planned_close(&p);
}

/* --- from one ratio to another --- */

TEST(klt_block_written_anew_at_twice_the_ratio_holds_what_it_says)
{
    planned p;
    plan *made;
    bench *from, *to;
    float(*held)[B * D] = malloc(L * sizeof *held);
    double twice;

    planned_open(&p, 2);
    made = planned_make(&p, full);
    from = open_bench(&p, made, "klt8");
    to = open_bench(&p, made, "klt16");
    encode_all(from);
    for (int l = 0; l < L; l++) {
        const codec_place at = place_of(from), into = place_of(to);

        from->codec.codec->transcode(&from->codec, &to->codec, l, &at, &into);
        memcpy(held[l], to->state, sizeof to->state);
    }
    decode_all(to);
    CHECK(memcmp(held, to->after, sizeof to->after) == 0);
    decode_all(from);
    twice = distance(to, 2, 0);
    encode_all(to); /* of the exact inputs, which are long gone by then */
    CHECK(twice > distance(from, 2, 0));
    CHECK(twice < 1.2 * (distance(to, 2, 0) + distance(from, 2, 0)));
    free(held);
    close_bench(from);
    close_bench(to);
    plan_close(made);
    planned_close(&p);
}

/* --- modes --- */

static err open_mode(codec_state *s, const planned *p, const char *mode, const plan *made)
{
    return codec_open(s, &(codec_options){.mode = mode, .plan = made, .block_tokens = B}, p->m,
                      &p->kern);
}

TEST(klt_mode_without_its_plan_is_refused)
{
    plan *made, *other;
    codec_state s;
    planned p;

    planned_open(&p, 1);
    made = planned_make(&p, none);
    other = drawn_plan(p.file, L - 1, none, NULL, 0);
    CHECK(open_mode(&s, &p, "klt8", NULL) == ERR_NOPLAN);
    CHECK(open_mode(&s, &p, "klt8", other) == ERR_PLANMODEL);
    CHECK(open_mode(&s, &p, "klt3", made) == ERR_MODE);
    CHECK(open_mode(&s, &p, "klt65", made) == ERR_MODE);
    CHECK(open_mode(&s, &p, "klt", made) == ERR_MODE);
    CHECK(open_mode(&s, &p, "klt8x", made) == ERR_MODE);
    CHECK(codec_ratio("klt7.5") == 7.5 && codec_ratio("klt1e1") == 0 &&
          codec_ratio("xq4") == 0);
    plan_close(made);
    plan_close(other);
    planned_close(&p);
}

TEST(klt_modes_of_one_plan_are_every_ratio)
{
    codec_state s;
    planned p;
    plan *made;

    planned_open(&p, 1);
    made = planned_make(&p, none);
    for (double ratio = 4; ratio <= 40; ratio += 1.25) {
        char mode[16];

        snprintf(mode, sizeof mode, "klt%g", ratio);
        CHECK(open_mode(&s, &p, mode, made) == ERR_OK);
        CHECK(strcmp(s.mode, mode) == 0 && s.ratio == ratio);
        codec_close(&s);
    }
    plan_close(made);
    planned_close(&p);
}
