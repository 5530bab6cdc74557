/* test_klt.c - what the encoder's loop holds is what the decoder finds, in every form of a
 * plan; sizes keep within the budget; a mode without its plan is refused. */
#include "xcache/codec/klt.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "engine/kern/cpu.h"
#include "tests/planned.h"
#include "tests/test.h"
#include "xcache/codec/codec.h"

enum { B = 128, D = 64, L = 3 };

/* One block's memory, and the exact inputs of all its layers. */
typedef struct bench {
    codec_state codec;
    codec_scratch scratch;
    float x[L][B * D], state[B * D], after[L][B * D];
    uint8_t codes[L][B * D], scales[L][2 * B];
    int32_t ids[B];
} bench;

static bench *open_bench(planned *p, const plan *made, const char *mode)
{
    bench *b = calloc(1, sizeof *b);
    uint32_t state = 9;

    CHECK(codec_open(&b->codec, &(codec_options){.mode = mode, .plan = made, .block_tokens = B},
                     p->m, &p->kern) == ERR_OK);
    b->scratch.x = malloc(B * D * sizeof(float));
    b->scratch.k = malloc(2 * B * p->m->E * sizeof(float));
    b->scratch.v = b->scratch.k + B * p->m->E;
    b->scratch.kt = malloc(B * p->m->E * sizeof(float));
    b->scratch.temp = malloc(b->codec.temp_floats * sizeof(float));
    for (size_t i = 0; i < B; i++) b->ids[i] = (int32_t)(i % p->m->V);
    for (size_t l = 0; l < L; l++)
        for (size_t i = 0; i < B * D; i++) {
            state = state * 1664525u + 1013904223u;
            b->x[l][i] = (float)(state >> 8) * 0x1p-22f - 2;
        }
    return b;
}

static void close_bench(bench *b)
{
    codec_close(&b->codec);
    free(b->scratch.x);
    free(b->scratch.k);
    free(b->scratch.kt);
    free(b->scratch.temp);
    free(b);
}

static codec_place place_of(bench *b, int layer)
{
    return (codec_place){.codes = b->codes[layer],
                         .scales = b->scales[layer],
                         .ids = b->ids,
                         .state = b->state,
                         .scratch = &b->scratch};
}

static void encode_all(bench *b)
{
    for (int l = 0; l < L; l++) {
        const codec_rows rows = {.x = b->x[l]};
        const codec_place place = place_of(b, l);

        b->codec.codec->encode(&b->codec, l, &rows, &place);
        memcpy(b->after[l], b->state, sizeof b->state);
    }
}

static void decode_and_compare(bench *b)
{
    kv_tile tile;

    memset(b->state, 0xff, sizeof b->state);
    memset(b->scratch.temp, 0xff, b->codec.temp_floats * sizeof(float));
    for (int l = 0; l < L; l++) {
        const codec_place place = place_of(b, l);

        b->codec.codec->decode(&b->codec, l, &place, &tile);
        CHECK(memcmp(b->state, b->after[l], sizeof b->state) == 0);
        for (size_t i = 0; i < B * D; i++) CHECK(isfinite(((const float *)tile.k)[i]));
    }
}

TEST(klt_decoder_finds_what_the_encoder_held)
{
    const plan_predictor forms[] = {{PLAN_FULL, 0}, {PLAN_RANK, 16}, {PLAN_NONE, 0}};
    planned p;

    planned_open(&p, 2);
    for (size_t i = 0; i < 3; i++) {
        plan *made = planned_make(&p, 8, forms[i]);
        bench *b = open_bench(&p, made, "klt8");

        encode_all(b);
        decode_and_compare(b);
        close_bench(b);
        plan_close(made);
    }
    planned_close(&p);
}

/* --- prediction --- */

static double draw(uint32_t *state)
{
    *state = *state * 1664525u + 1013904223u;
    return (double)(int32_t)*state / 2147483648.0;
}

/* A layer of no components that predicts by `r`, its factors of these sizes. */
static plan_layer draw_layer(void *bytes, size_t width, plan_predictor r, double down,
                             double up)
{
    plan_layer l = plan_lay_out(bytes, width, r, 0);
    double *w = malloc(width * width * sizeof *w);
    uint32_t state = 3;

    CHECK(w != NULL);
    for (size_t i = 0; i < l.down.rows * width; i++) w[i] = down * draw(&state);
    plan_pack(width, w, &l.down);
    for (size_t i = 0; i < l.up.rows * width; i++) w[i] = up * draw(&state);
    plan_pack(width, w, &l.up);
    free(w);
    return l;
}

/* out [width] = P x of one row, by the plan's own numbers. */
static void predict(const plan_layer *l, size_t width, const float *x, double *out)
{
    for (size_t i = 0; i < width; i++) out[i] = (double)x[i];
    for (size_t r = 0; r < l->down.rows; r++) {
        double sum = 0;

        for (size_t j = 0; j < width; j++)
            sum += (double)l->down.scale[r] * (double)kern_float(l->down.half[r * width + j]) *
                   (double)x[j];
        for (size_t i = 0; i < width && l->up.rows; i++)
            out[i] += (double)l->up.scale[r] * (double)kern_float(l->up.half[r * width + i]) *
                      sum;
        if (!l->up.rows) out[r] += sum;
    }
}

/* Largest distance of what klt_project makes of a block from P x, beside its largest value. */
static double project_off(const kern *k, size_t width, plan_predictor r, double down, double up)
{
    void *bytes = calloc(1, plan_layer_bytes(width, r, 0));
    const plan_layer from = draw_layer(bytes, width, r, down, up);
    float *x = malloc(B * width * sizeof *x), *state = malloc(B * width * sizeof *state),
          *temp = malloc(2 * B * width * sizeof *temp);
    double *wanted = malloc(width * sizeof *wanted), off = 0, most = 0;
    const klt_block b = {.kern = k, .rows = B, .state = state, .temp = temp};
    uint32_t seed = 5;
    klt_layer l;

    CHECK(bytes && x && state && temp && wanted);
    CHECK(klt_open(&l, k, width, &from) == ERR_OK);
    for (size_t i = 0; i < B * width; i++) state[i] = x[i] = (float)draw(&seed);
    memset(temp, 0xff, 2 * B * width * sizeof *temp);
    klt_project(&l, &b);
    for (size_t t = 0; t < B; t++) {
        predict(&from, width, x + t * width, wanted);
        for (size_t i = 0; i < width; i++) {
            off = fmax(off, fabs((double)state[t * width + i] - wanted[i]));
            most = fmax(most, fabs(wanted[i]));
        }
    }
    klt_close(&l);
    free(bytes);
    free(x);
    free(state);
    free(temp);
    free(wanted);
    return off / most;
}

/* Also where a factor's numbers are too small for the scales of eight-bit weights. */
TEST(klt_prediction_is_what_its_factors_say)
{
    const plan_predictor full = {PLAN_FULL, 0}, rank = {PLAN_RANK, 24}, none = {PLAN_NONE, 0};
    kern k;

    kern_init(&k, cpu_flags());
    CHECK(project_off(&k, 96, full, .1, 0) < .01);
    CHECK(project_off(&k, 96, rank, .1, .1) < .01);
    CHECK(project_off(&k, 96, rank, 1e-9, 1e8) < .01);
    CHECK(project_off(&k, 96, rank, 1e9, 1e-9) < .01);
    CHECK(project_off(&k, 40, full, .1, 0) < 1e-5); /* no whole groups: floats */
    CHECK(project_off(&k, 40, rank, .1, .1) < 1e-5);
    CHECK(project_off(&k, 96, none, 0, 0) <= 0);
}

TEST(klt_layer_0_is_bit_for_bit_the_engine_s)
{
    planned p;
    plan *made;
    bench *b;

    planned_open(&p, 1);
    made = planned_make(&p, 8, (plan_predictor){PLAN_NONE, 0});
    b = open_bench(&p, made, "klt8");
    encode_all(b);
    for (size_t t = 0; t < B; t++) {
        float row[D], x[D];

        model_embed(p.m, b->ids[t], row);
        p.kern.rms_norm(row, p.m->layers[0].attn_norm, D, p.m->eps, x);
        CHECK(memcmp(x, b->after[0] + t * D, sizeof x) == 0);
    }
    CHECK(b->codec.codec->size(&b->codec, 0).codes == 0);
    close_bench(b);
    plan_close(made);
    planned_close(&p);
}

/* Mean squared distance of what was decoded from what was given. */
static double distance(const bench *b, int layer)
{
    double sum = 0;

    for (size_t i = 0; i < B * D; i++)
        sum += pow((double)b->x[layer][i] - b->after[layer][i], 2);
    return sum / (B * D);
}

TEST(klt_codes_carry_information_and_more_bits_carry_more)
{
    static const double ratios[] = {32, 12, 5};
    static const char *const modes[] = {"klt32", "klt12", "klt5"};
    double before = INFINITY;
    planned p;

    planned_open(&p, 2);
    for (size_t i = 0; i < 3; i++) {
        plan *made = planned_make(&p, ratios[i], (plan_predictor){PLAN_FULL, 0});
        bench *b = open_bench(&p, made, modes[i]);
        double now;

        encode_all(b);
        now = distance(b, 2);
        CHECK(now < before);
        before = now;
        close_bench(b);
        plan_close(made);
    }
    planned_close(&p);
}

TEST(klt_blocks_never_exceed_their_ratio)
{
    planned p;

    planned_open(&p, 2);
    for (double ratio = 4; ratio <= 32; ratio *= 1.5) {
        plan *made = planned_make(&p, ratio, (plan_predictor){PLAN_NONE, 0});
        size_t bits = 0, block = B * sizeof(int32_t) + (L - 1) * 2 * B;

        for (size_t l = 1; l < L; l++) {
            const plan_layer layer = plan_read_layer(made, l);

            for (size_t i = 0; i < layer.n; i++) bits += layer.bits[i];
        }
        CHECK(bits == plan_read_about(made).code_bits && bits <= plan_budget(64, L, ratio));
        block = (block + bits * B / 8 + 63) / 64 * 64;
        CHECK((double)block * 8 / B <= 32.0 * 64 * L / ratio);
        plan_close(made);
    }
    planned_close(&p);
}

static err open_mode(codec_state *s, const planned *p, const char *mode, const plan *made)
{
    return codec_open(s, &(codec_options){.mode = mode, .plan = made, .block_tokens = B}, p->m,
                      &p->kern);
}

TEST(klt_mode_without_its_plan_is_refused)
{
    codec_state s;
    planned p;
    plan *made;

    planned_open(&p, 1);
    made = planned_make(&p, 8, (plan_predictor){PLAN_NONE, 0});
    CHECK(open_mode(&s, &p, "klt8", NULL) == ERR_NOPLAN);
    CHECK(open_mode(&s, &p, "klt9", made) == ERR_PLANMODEL);
    CHECK(open_mode(&s, &p, "klt3", made) == ERR_MODE);
    CHECK(open_mode(&s, &p, "klt65", made) == ERR_MODE);
    CHECK(open_mode(&s, &p, "klt", made) == ERR_MODE);
    CHECK(open_mode(&s, &p, "klt8x", made) == ERR_MODE);
    CHECK(codec_ratio("klt7.5") == 7.5 && codec_ratio("klt1e1") == 0 &&
          codec_ratio("xq4") == 0);
    plan_close(made);
    planned_close(&p);
}
