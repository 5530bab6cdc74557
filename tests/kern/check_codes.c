/* check_codes.c - loops over codes: packing at every width and length, min-max groups of any
 * values, Lloyd-Max books of every size. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "tests/kern/check.h"

enum { MAX_N = 200, PAD = 64 };

/* Two outputs of n bytes and PAD more, with the same pattern in them. */
typedef struct pair {
    void *a, *b;
    size_t n;
} pair;

static pair pair_new(size_t n)
{
    return (pair){check_memory(n + PAD), check_memory(n + PAD), n};
}

static bool pair_same(const char *what, pair *p)
{
    const bool same = check_same(what, p->a, p->b, p->n + PAD);

    free(p->a);
    free(p->b);
    return same;
}

/* A copy that ends where its memory ends: a sanitizer sees a read past it. */
static void *exactly(const void *x, size_t n)
{
    void *copy = malloc(n);

    if (!copy) abort();
    memcpy(copy, x, n);
    return copy;
}

static size_t packed(size_t n, int bits)
{
    return (n + 7) / 8 * (size_t)bits;
}

static bool same_pack(const kern *k, size_t n, int bits)
{
    uint8_t values[MAX_N], *in;
    pair p = pair_new(packed(n, bits));

    check_bytes(values, n, (uint32_t)(n + 1000 * (size_t)bits));
    for (size_t i = 0; i < n; i++) values[i] &= (uint8_t)((1 << bits) - 1);
    in = exactly(values, n);
    kern_pack_codes_ref(in, n, bits, p.a);
    k->pack_codes(in, n, bits, p.b);
    free(in);
    return pair_same("pack_codes", &p);
}

static bool same_unpack(const kern *k, size_t n, int bits)
{
    uint8_t codes[MAX_N], *in;
    pair p = pair_new(n);

    check_bytes(codes, packed(n, bits), (uint32_t)(n + 1000 * (size_t)bits));
    in = exactly(codes, packed(n, bits));
    kern_unpack_codes_ref(in, n, bits, p.a);
    k->unpack_codes(in, n, bits, p.b);
    free(in);
    return pair_same("unpack_codes", &p);
}

static bool every_width(const kern *k, bool (*same)(const kern *k, size_t n, int bits))
{
    for (int bits = 1; bits <= 8; bits++)
        for (size_t n = 1; n <= MAX_N; n++)
            if (!same(k, n, bits)) return false;
    return true;
}

bool check_pack_codes(const kern *k)
{
    return every_width(k, same_pack);
}

bool check_unpack_codes(const kern *k)
{
    return every_width(k, same_unpack);
}

/* What a group may hold: case after case more of it is hostile. */
static void fill_group(float *x, size_t n, int which)
{
    static const float odd[] = {INFINITY, -INFINITY, NAN, 3e38f, -3e38f, 1e-40f, 0.0f, -0.0f};

    check_floats(x, n, (uint32_t)(n * 17 + (size_t)which));
    switch (which) {
    case 0: /* many magnitudes */
        return;
    case 1: /* about one, so that codes spread */
        check_normals(x, n, (uint32_t)n);
        return;
    case 2: /* ties between two codes */
        for (size_t i = 0; i < n; i++) x[i] = (float)(i % 31) * 0.5f;
        return;
    case 3: /* both zeros and nothing below them */
        for (size_t i = 0; i < n; i++) x[i] = i % 3 ? fabsf(x[i]) : i % 2 ? 0.0f : -0.0f;
        return;
    case 4: /* zeros only */
        for (size_t i = 0; i < n; i++) x[i] = i % 3 ? -0.0f : 0.0f;
        return;
    case 5: /* equal, and too small for a half */
        for (size_t i = 0; i < n; i++) x[i] = -1e-9f;
        return;
    case 6: /* steps about the smallest half */
        for (size_t i = 0; i < n; i++) x[i] = (float)(i % 17) * 3e-8f;
        return;
    case 7: /* past the largest half */
        for (size_t i = 0; i < n; i++) x[i] *= 1e30f;
        return;
    default: /* one odd value, first, last or between */
        x[which % 3 == 0 ? 0 : which % 3 == 1 ? n - 1 : n / 2] = odd[which / 3 % 8];
    }
}

static bool same_minmax_encode(const kern *k, size_t n, int bits)
{
    bool same = true;

    for (int which = 0; same && which < 8 + 24; which++) {
        float x[MAX_N], *in;
        kern_minmax a, b;
        pair p = pair_new(n);

        fill_group(x, n, which);
        in = exactly(x, n * sizeof *x);
        kern_minmax_encode_ref(in, n, bits, p.a, &a);
        k->minmax_encode(in, n, bits, p.b, &b);
        same = pair_same("minmax_encode", &p) && check_same("its scale", &a, &b, sizeof a);
        free(in);
    }
    return same;
}

bool check_minmax_encode(const kern *k)
{
    return every_width(k, same_minmax_encode);
}

/* Any two halves, but for two not-a-numbers: which of them a sum keeps is the compiler's. */
static kern_minmax random_group(uint32_t *state)
{
    kern_minmax g = {(uint16_t)check_random(state), (uint16_t)check_random(state)};

    if (isnan(kern_float(g.scale)) || isinf(kern_float(g.scale))) g.zero = 0x3c00;
    return g;
}

bool check_minmax_decode(const kern *k)
{
    uint8_t values[MAX_N];
    uint32_t state = 3;

    check_bytes(values, sizeof values, 2);
    for (int round = 0; round < 40; round++)
        for (size_t n = 1; n <= MAX_N; n++) {
            uint8_t *in = exactly(values, n);
            const kern_minmax g = random_group(&state);
            pair p = pair_new(n * sizeof(float));

            kern_minmax_decode_ref(in, n, g, p.a);
            k->minmax_decode(in, n, g, p.b);
            free(in);
            if (!pair_same("minmax_decode", &p)) return false;
        }
    return true;
}
