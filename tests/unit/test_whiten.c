/* test_whiten.c - factors lead to components and back, and a component is as long as what keys
 * and values see of it; a basis rounded to int8 keeps both. */
#include "xcache/codec/whiten.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "tests/test.h"
#include "xcache/codec/plan.h"

enum { D = 48, E = 16, C = 8, HEADS = 2 * E / C };

/* Of sum 12 uniform: near N(0,1), always the same row. */
static double draw(uint32_t *state)
{
    double sum = -6;

    for (int i = 0; i < 12; i++) {
        *state = *state * 1664525u + 1013904223u;
        sum += (double)(*state >> 8) / 16777216;
    }
    return sum;
}

typedef struct bench {
    float w[2 * E * D], form[2 * E * C];
    double q[D * D]; /* rows of Q^T */
    double r[D * D];
    float f[D * D], b[D * D]; /* rows of F and of B^T */
    whiten_form in;
} bench;

/* Rows of length 1 at right angles, by Gram and Schmidt, twice. */
static void draw_basis(double *q, uint32_t *state)
{
    for (size_t i = 0; i < D; i++) {
        double *row = q + i * D, square = 0;

        for (size_t c = 0; c < D; c++) row[c] = draw(state);
        for (size_t j = 0; j < 2 * i; j++) {
            const double *other = q + j % i * D;
            double dot = 0;

            for (size_t c = 0; c < D; c++) dot += row[c] * other[c];
            for (size_t c = 0; c < D; c++) row[c] -= dot * other[c];
        }
        for (size_t c = 0; c < D; c++) square += row[c] * row[c];
        for (size_t c = 0; c < D; c++) row[c] /= sqrt(square);
    }
}

/* A head's form is a a^T of square a, and so positive. */
static void draw_forms(float *form, uint32_t *state)
{
    for (size_t h = 0; h < HEADS; h++) {
        double a[C * C];

        for (size_t i = 0; i < C * C; i++) a[i] = draw(state);
        for (size_t i = 0; i < C; i++)
            for (size_t j = 0; j < C; j++) {
                double sum = 0;

                for (size_t c = 0; c < C; c++) sum += a[i * C + c] * a[j * C + c];
                form[(h * C + i) * C + j] = (float)sum;
            }
    }
}

static bench *open_bench(double floor)
{
    bench *b = calloc(1, sizeof *b);
    uint32_t state = 5;

    CHECK(b != NULL);
    for (size_t i = 0; i < 2 * E * D; i++) b->w[i] = (float)draw(&state);
    draw_forms(b->form, &state);
    draw_basis(b->q, &state);
    b->in = (whiten_form){D, E, C, b->w, b->form, floor};
    return b;
}

static void expand(bench *b, const float *q)
{
    static double temp[D * D];

    whiten_expand(b->r, D, q, D, temp, b->f, b->b);
}

static void narrow(const double *from, float *to)
{
    for (size_t i = 0; i < D * D; i++) to[i] = (float)from[i];
}

/* The factors of the basis as it is. */
static bench *open_expanded(double floor)
{
    bench *b = open_bench(floor);
    float q[D * D];

    CHECK(whiten_find(&b->in, b->r) == ERR_OK);
    narrow(b->q, q);
    expand(b, q);
    return b;
}

/* The entry of F B - I that is farthest from 0. */
static double farthest(const float *f, const float *b)
{
    double most = 0;

    for (size_t i = 0; i < D; i++)
        for (size_t j = 0; j < D; j++) {
            double sum = i == j ? -1 : 0;

            for (size_t c = 0; c < D; c++) sum += (double)f[i * D + c] * (double)b[j * D + c];
            most = fmax(most, fabs(sum));
        }
    return most;
}

/* (W x)^T form (W x), head by head. */
static double seen(const bench *b, const double *x)
{
    double y[2 * E] = {0}, sum = 0;

    for (size_t r = 0; r < 2 * E; r++)
        for (size_t c = 0; c < D; c++) y[r] += (double)b->w[r * D + c] * x[c];
    for (size_t r = 0; r < 2 * E; r++)
        for (size_t c = 0; c < C; c++)
            sum += y[r] * (double)b->form[r * C + c] * y[r / C * C + c];
    return sum;
}

/* |F x|^2 */
static double length(const bench *b, const double *x)
{
    double all = 0;

    for (size_t i = 0; i < D; i++) {
        double u = 0;

        for (size_t c = 0; c < D; c++) u += (double)b->f[i * D + c] * x[c];
        all += u * u;
    }
    return all;
}

TEST(whiten_factors_are_inverse_to_each_other)
{
    for (double floor = 1e-4; floor < 10; floor *= 100) {
        bench *b = open_expanded(floor);

        CHECK(farthest(b->f, b->b) < 1e-3);
        free(b);
    }
}

TEST(whiten_components_are_as_long_as_what_is_seen)
{
    bench *b = open_expanded(1e-6);
    uint32_t state = 17;

    for (int i = 0; i < 20; i++) {
        double x[D];

        for (size_t c = 0; c < D; c++) x[c] = draw(&state);
        CHECK(seen(b, x) > 1);
        CHECK(fabs(length(b, x) - seen(b, x)) < 1e-4 * seen(b, x));
    }
    free(b);
}

/* 2E is less than D: there are directions that neither K nor V sees. */
TEST(whiten_components_of_what_is_not_seen_are_as_long_as_the_floor)
{
    enum { HIDDEN = 7 };
    bench *b = open_bench(0.25);
    double x[D] = {[HIDDEN] = 3};
    float q[D * D];

    for (size_t r = 0; r < 2 * E; r++) b->w[r * D + HIDDEN] = 0;
    CHECK(whiten_find(&b->in, b->r) == ERR_OK);
    narrow(b->q, q);
    expand(b, q);
    CHECK(seen(b, x) == 0);
    CHECK(fabs(length(b, x) - 0.25 * 9) < 1e-4);
    free(b);
}

/* Halves round the two triangles of a form apart: their mean counts. */
TEST(whiten_forms_count_by_their_symmetric_part)
{
    bench *b = open_expanded(0.1), *skewed = open_bench(0.1);

    for (size_t h = 0; h < HEADS; h++)
        for (size_t i = 0; i < C; i++)
            for (size_t j = 0; j < i; j++) {
                skewed->form[(h * C + i) * C + j] += 0.5f;
                skewed->form[(h * C + j) * C + i] -= 0.5f;
            }
    CHECK(whiten_find(&skewed->in, skewed->r) == ERR_OK);
    for (size_t i = 0; i < D; i++)
        for (size_t j = i; j < D; j++)
            CHECK(fabs(skewed->r[i * D + j] - b->r[i * D + j]) < 1e-5);
    free(b);
    free(skewed);
}

TEST(whiten_contract_undoes_expand)
{
    bench *b = open_expanded(1e-3);
    double *rows = malloc(D * D * sizeof *rows);

    CHECK(rows != NULL);
    for (size_t i = 0; i < D * D; i++) rows[i] = (double)b->b[i];
    whiten_contract(b->r, D, rows, D);
    for (size_t i = 0; i < D * D; i++) CHECK(fabs(rows[i] - b->q[i]) < 1e-4);
    free(rows);
    free(b);
}

TEST(whiten_of_some_rows_is_that_of_all)
{
    enum { SOME = 5 };
    bench *b = open_expanded(1e-3);
    float q[D * D], f[SOME * D], back[SOME * D];
    double temp[SOME * D];

    narrow(b->q, q);
    whiten_expand(b->r, D, q, SOME, temp, f, back);
    for (size_t i = 0; i < SOME * D; i++) {
        CHECK(fabsf(f[i] - b->f[i]) <= 1e-5f * fabsf(b->f[i]) + 1e-6f);
        CHECK(fabsf(back[i] - b->b[i]) <= 1e-5f * fabsf(b->b[i]) + 1e-6f);
    }
    whiten_expand(b->r, D, q, 0, NULL, NULL, NULL);
    whiten_contract(b->r, D, NULL, 0);
    free(b);
}

TEST(whiten_refuses_what_is_not_positive_definite)
{
    bench *hidden = open_bench(0), *nothing = open_bench(0), *negative = open_bench(1);

    for (size_t r = 0; r < 2 * E; r++) hidden->w[r * D + 3] = 0;
    CHECK(whiten_find(&hidden->in, hidden->r) == ERR_SYSTEM);
    memset(nothing->form, 0, sizeof nothing->form);
    CHECK(whiten_find(&nothing->in, nothing->r) == ERR_SYSTEM);
    nothing->in.floor = 1e-3;
    CHECK(whiten_find(&nothing->in, nothing->r) == ERR_OK);
    for (size_t i = 0; i < 2 * E * C; i++) negative->form[i] = -negative->form[i];
    CHECK(whiten_find(&negative->in, negative->r) == ERR_SYSTEM);
    free(hidden);
    free(nothing);
    free(negative);
}

/* --- int8 --- */

/* Rows as a plan keeps them. */
static void round_rows(const double *rows, float *out)
{
    float scale[D];
    uint8_t *share = malloc(D * plan_groups(D));
    int8_t *code = malloc(D * D);
    const plan_matrix m = {D, scale, share, code};

    CHECK(share && code);
    plan_pack(D, rows, &m);
    plan_unpack(D, &m, out);
    free(share);
    free(code);
}

/* The largest and the least entry of B, columns by their largest. */
static double spread(const float *b)
{
    double most = 0, least = INFINITY;

    for (size_t c = 0; c < D; c++) {
        double column = 0;

        for (size_t i = 0; i < D; i++) column = fmax(column, fabs((double)b[i * D + c]));
        most = fmax(most, column);
        least = fmin(least, column);
    }
    return most / least;
}

/* Why a plan keeps Q: half the channels are seen a thousand times as well as the others. */
TEST(whiten_keeps_a_basis_of_int8_inverse_where_factors_of_int8_are_not)
{
    bench *b = open_bench(1e-6);
    double wide[D * D];
    float q[D * D], rounded[D * D];

    for (size_t i = 0; i < 2 * E * D; i++) b->w[i] *= i % D < D / 2 ? 1 : 1e-3f;
    CHECK(whiten_find(&b->in, b->r) == ERR_OK);
    round_rows(b->q, q);
    expand(b, q);
    CHECK(spread(b->b) > 1000);
    CHECK(farthest(b->f, b->b) < 0.02);
    narrow(b->q, q);
    expand(b, q);
    for (size_t i = 0; i < D * D; i++) wide[i] = (double)b->b[i];
    round_rows(wide, rounded);
    CHECK(farthest(b->f, b->b) < 1e-3);
    CHECK(farthest(b->f, rounded) > 0.2);
    free(b);
}
