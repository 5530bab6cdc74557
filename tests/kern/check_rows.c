/* check_rows.c - loops over one row: norm, rotation, activation, conversions, quantizer. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "tests/kern/check.h"

enum { MAX_N = 1000, PAD = 40 };

/* Two outputs of MAX_N + PAD floats, with the same pattern in them. */
typedef struct pair {
    float *a, *b;
} pair;

static pair pair_new(void)
{
    return (pair){check_memory((MAX_N + PAD) * 4), check_memory((MAX_N + PAD) * 4)};
}

static bool pair_same(const char *what, pair *p)
{
    const bool same = check_same(what, p->a, p->b, (MAX_N + PAD) * 4);

    free(p->a);
    free(p->b);
    return same;
}

bool check_rms_norm(const kern *k)
{
    float x[MAX_N + 3], gain[MAX_N + 3];
    bool same = true;

    check_floats(x, MAX_N + 3, 1);
    check_normals(gain, MAX_N + 3, 2);
    for (size_t n = 1; same && n <= MAX_N; n += n < 80 ? 1 : 37) {
        pair p = pair_new();

        kern_rms_norm_ref(x + n % 3, gain, n, 1e-5f, p.a);
        k->rms_norm(x + n % 3, gain, n, 1e-5f, p.b);
        same = pair_same("rms_norm", &p);
    }
    return same;
}

bool check_layer_norm(const kern *k)
{
    float x[MAX_N + 3], gain[MAX_N + 3], bias[MAX_N + 3];
    bool same = true;

    check_floats(x, MAX_N + 3, 1);
    check_normals(gain, MAX_N + 3, 2);
    check_normals(bias, MAX_N + 3, 3);
    for (size_t n = 1; same && n <= MAX_N; n += n < 80 ? 1 : 37) {
        const float *with = n % 2 ? bias : NULL;
        pair p = pair_new();

        kern_layer_norm_ref(x + n % 3, gain, with, n, 1e-5f, p.a);
        k->layer_norm(x + n % 3, gain, with, n, 1e-5f, p.b);
        same = pair_same("layer_norm", &p);
    }
    return same;
}

bool check_rotate(const kern *k)
{
    float c[MAX_N], s[MAX_N];
    bool same = true;

    check_normals(c, MAX_N, 3);
    check_normals(s, MAX_N, 4);
    for (size_t n = 2; same && n <= MAX_N; n += n < 80 ? 2 : 38) {
        pair p = pair_new();

        check_floats(p.a, MAX_N, 5);
        check_floats(p.b, MAX_N, 5);
        kern_rotate_ref(p.a, c, s, n);
        k->rotate(p.b, c, s, n);
        same = pair_same("rotate", &p);
    }
    return same;
}

bool check_rotate_halves(const kern *k)
{
    float c[MAX_N], s[MAX_N];
    bool same = true;

    check_normals(c, MAX_N, 3);
    check_normals(s, MAX_N, 4);
    for (size_t n = 2; same && n <= MAX_N; n += n < 80 ? 2 : 38) {
        pair p = pair_new();

        check_floats(p.a, MAX_N, 5);
        check_floats(p.b, MAX_N, 5);
        kern_rotate_halves_ref(p.a, c, s, n);
        k->rotate_halves(p.b, c, s, n);
        same = pair_same("rotate_halves", &p);
    }
    return same;
}

bool check_gelu_mul(const kern *k)
{
    float gate[MAX_N], up[MAX_N];
    bool same = true;

    check_floats(gate, MAX_N, 6);
    check_floats(up, MAX_N, 7);
    for (size_t n = 1; same && n <= MAX_N; n += n < 80 ? 1 : 37) {
        pair p = pair_new();

        kern_gelu_mul_ref(gate, up, n, p.a);
        k->gelu_mul(gate, up, n, p.b);
        same = pair_same("gelu_mul", &p);
    }
    return same;
}

/* Against the C library's, too: within what the polynomial promises. */
bool check_erf_mul(const kern *k)
{
    float gate[MAX_N], up[MAX_N], plain[MAX_N], ones[MAX_N], y[MAX_N];
    bool same = true;

    check_floats(gate, MAX_N, 6);
    check_floats(up, MAX_N, 7);
    for (size_t n = 1; same && n <= MAX_N; n += n < 80 ? 1 : 37) {
        pair p = pair_new();

        kern_erf_mul_ref(gate, up, n, p.a);
        k->erf_mul(gate, up, n, p.b);
        same = pair_same("erf_mul", &p);
    }
    check_normals(plain, MAX_N, 8);
    for (size_t i = 0; i < MAX_N; i++) ones[i] = 1;
    k->erf_mul(plain, ones, MAX_N, y);
    for (size_t i = 0; same && i < MAX_N; i++) {
        const double x = (double)plain[i], exact = x * (1 + erf(x * 0.70710678118654752)) / 2;

        same = fabs((double)y[i] - exact) <= 4e-7 * (1 + fabs(x));
    }
    return same;
}

bool check_soft_cap(const kern *k)
{
    bool same = true;

    for (size_t n = 1; same && n <= MAX_N; n += n < 80 ? 1 : 37) {
        pair p = pair_new();

        check_floats(p.a, MAX_N, 15);
        check_floats(p.b, MAX_N, 15);
        kern_soft_cap_ref(p.a, n, 30);
        k->soft_cap(p.b, n, 30);
        for (size_t i = 0; i < n; i++) same = same && fabsf(p.a[i]) <= 30;
        same = pair_same("soft_cap", &p) && same;
    }
    return same;
}

bool check_mix(const kern *k)
{
    float x[MAX_N];
    bool same = true;

    check_floats(x, MAX_N, 16);
    for (size_t n = 1; same && n <= MAX_N; n += n < 80 ? 1 : 37) {
        pair p = pair_new();

        check_floats(p.a, MAX_N, 17);
        check_floats(p.b, MAX_N, 17);
        kern_mix_ref(p.a, x, n, 0.3f, 1.7f);
        k->mix(p.b, x, n, 0.3f, 1.7f);
        same = pair_same("mix", &p);
    }
    return same;
}

bool check_scale(const kern *k)
{
    float by[MAX_N];
    bool same = true;

    check_floats(by, MAX_N, 21);
    for (size_t n = 1; same && n <= MAX_N; n += n < 80 ? 1 : 37) {
        pair p = pair_new();

        check_floats(p.a, MAX_N, 22);
        check_floats(p.b, MAX_N, 22);
        kern_scale_ref(p.a, by, n);
        k->scale(p.b, by, n);
        same = pair_same("scale", &p);
    }
    return same;
}

bool check_klt_predict(const kern *k)
{
    float slope[MAX_N], change[MAX_N];
    bool same = true;

    check_floats(slope, MAX_N, 18);
    check_floats(change, MAX_N, 19);
    for (size_t n = 1; same && n <= MAX_N; n += n < 80 ? 1 : 37) {
        pair p = pair_new();

        check_floats(p.a, MAX_N, 20);
        check_floats(p.b, MAX_N, 20);
        kern_klt_predict_ref(p.a, slope, change, n);
        k->klt_predict(p.b, slope, change, n);
        same = pair_same("klt_predict", &p);
    }
    return same;
}

bool check_silu_mul(const kern *k)
{
    float gate[MAX_N], up[MAX_N];
    bool same = true;

    check_floats(gate, MAX_N, 6); /* 1e3 and 1e6 reach both ends of exp */
    check_floats(up, MAX_N, 7);
    for (size_t n = 1; same && n <= MAX_N; n += n < 80 ? 1 : 37) {
        pair p = pair_new();

        kern_silu_mul_ref(gate, up, n, p.a);
        k->silu_mul(gate, up, n, p.b);
        same = pair_same("silu_mul", &p);
    }
    return same;
}

bool check_clamp_mul(const kern *k)
{
    const kern_clamp by = {1.702f, 7};
    float gate[MAX_N], up[MAX_N];
    bool same = true;

    check_floats(gate, MAX_N, 6);
    check_floats(up, MAX_N, 7);
    for (size_t n = 1; same && n <= MAX_N; n += n < 80 ? 1 : 37) {
        pair p = pair_new();

        kern_clamp_mul_ref(gate, up, n, by, p.a);
        k->clamp_mul(gate, up, n, by, p.b);
        same = pair_same("clamp_mul", &p);
    }
    return same;
}

bool check_xielu(const kern *k)
{
    const kern_xielu by = {0.8f, 0.7f, 0.5f, -1e-6f};
    bool same = true;

    for (size_t n = 1; same && n <= MAX_N; n += n < 80 ? 1 : 37) {
        pair p = pair_new();

        check_floats(p.a, MAX_N, 5);
        check_floats(p.b, MAX_N, 5);
        kern_xielu_ref(p.a, n, by);
        k->xielu(p.b, n, by);
        same = pair_same("xielu", &p);
    }
    return same;
}

#define CHECK_TRANSPOSE(name, number)                                         \
    bool check_##name(const kern *k)                                          \
    {                                                                         \
        static const size_t sizes[][2] = {{1, 8},  {128, 64}, {127, 64},      \
                                          {5, 10}, {33, 80},  {16, 48}};      \
        float *x = check_memory(128 * 96 * 4);                                \
        bool same = true;                                                     \
                                                                              \
        check_floats(x, 128 * 96, 8);                                         \
        for (size_t i = 0; same && i < sizeof sizes / sizeof sizes[0]; i++) { \
            const size_t bytes = 96 * 130 * sizeof(number);                   \
            number *a = check_memory(bytes), *b = check_memory(bytes);        \
                                                                              \
            kern_##name##_ref(x, 96, sizes[i][0], sizes[i][1], a, 130);       \
            k->name(x, 96, sizes[i][0], sizes[i][1], b, 130);                 \
            same = check_same(#name, a, b, bytes);                            \
            free(a);                                                          \
            free(b);                                                          \
        }                                                                     \
        free(x);                                                              \
        return same;                                                          \
    }
CHECK_TRANSPOSE(transpose, float)
CHECK_TRANSPOSE(transpose_half, uint16_t)

/* Every half there is. */
bool check_half_to_float(const kern *k)
{
    const size_t n = 65536;
    uint16_t *x = check_memory(n * 2 + 6);
    float *a = check_memory(n * 4 + PAD), *b = check_memory(n * 4 + PAD);
    bool same;

    for (size_t i = 0; i < n; i++) x[i] = (uint16_t)i;
    kern_half_to_float_ref(x, n - 3, a);
    k->half_to_float(x, n - 3, b);
    same = check_same("half_to_float", a, b, n * 4 + PAD);
    for (size_t i = 0; i < n - 3; i++)
        same = same && (a[i] != a[i] || kern_half(a[i]) == i); /* and back */
    free(x);
    free(a);
    free(b);
    return same;
}

/* Values around every rounding boundary, and any bit pattern. */
bool check_float_to_half(const kern *k)
{
    const size_t n = 300000;
    uint32_t *bits = check_memory(n * 4);
    uint16_t *a = check_memory(n * 2 + PAD), *b = check_memory(n * 2 + PAD);
    bool same;

    check_bytes(bits, n * 4, 9);
    for (size_t i = 0; i < n / 2; i++) /* halves, and the points between two of them */
        bits[i] = (bits[i] & 0x80000000u) + 0x33000000u + (uint32_t)(i % 75000) * 0x1000u +
                  (uint32_t)(i / 75000) - 1;
    kern_float_to_half_ref((float *)(void *)bits, n, a);
    k->float_to_half((float *)(void *)bits, n, b);
    same = check_same("float_to_half", a, b, n * 2 + PAD);
    free(bits);
    free(a);
    free(b);
    return same;
}

bool check_quantize_q8(const kern *k)
{
    const size_t n = 96 * KERN_GROUP;
    float *x = check_memory(n * 4);
    int8_t *qa = check_memory(n + PAD), *qb = check_memory(n + PAD);
    float *sa = check_memory(96 * 4 + PAD), *sb = check_memory(96 * 4 + PAD);
    kern_sums *ta = check_memory(96 * 4 + PAD), *tb = check_memory(96 * 4 + PAD);
    bool same;

    check_floats(x, n, 10);
    memset(x, 0, KERN_GROUP * 4); /* a group of zeros */
    for (size_t i = 0; i < KERN_GROUP; i++) x[KERN_GROUP + i] = (float)i - 15.5f; /* ties */
    x[KERN_GROUP] = 127;
    kern_quantize_q8_ref(x, n, qa, sa, ta);
    k->quantize_q8(x, n, qb, sb, tb);
    same = check_same("quantize_q8", qa, qb, n + PAD) &&
           check_same("quantize_q8 scale", sa, sb, 96 * 4 + PAD) &&
           check_same("quantize_q8 sum", ta, tb, 96 * 4 + PAD);
    free(x);
    free(qa);
    free(qb);
    free(sa);
    free(sb);
    free(ta);
    free(tb);
    return same;
}
