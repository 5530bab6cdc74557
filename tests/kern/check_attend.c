/* check_attend.c - attention over one block, of every number format: head widths, key counts,
 * causal edges, rows that share what is loaded; and widening first changes nothing. */
#include <stdlib.h>
#include <string.h>

#include "tests/kern/check.h"

enum { MAX_ROWS = 7, LEFT = 3, MAX_C = 160, OUT = (MAX_ROWS + 1) * (MAX_C + 2) };

typedef void attend_call(const kern_attend *a);

/* Keys and values of one head in one format, as floats too, and scales. */
typedef struct head {
    attend_call *ref;
    void *kt, *v;              /* [KERN_KEYS/16,MAX_C,16] [KERN_KEYS,MAX_C+1] */
    float *kt_float, *v_float; /* the same numbers */
    uint16_t *k_scale, *v_scale;
    float *q;
} head;

enum { KEYS = MAX_C * KERN_KEYS, VALUES = KERN_KEYS * (MAX_C + 1) };

/* Output of one call: m, l and o of the rows, and some memory past them. */
static float *run(attend_call *call, kern_attend a)
{
    float *out = check_memory(OUT * sizeof *out);

    a.m = out;
    a.l = out + MAX_ROWS + 1;
    a.o = out + 2 * (MAX_ROWS + 1);
    a.ml_stride = 1;
    a.o_stride = MAX_C;
    call(&a);
    return out;
}

static bool same_output(const char *what, float *a, float *b)
{
    const bool same = check_same(what, a, b, OUT * sizeof *a);

    free(a);
    free(b);
    return same;
}

static bool same_attend(const head *h, const kern *k, attend_call *twin, kern_attend a)
{
    kern_attend widened;

    a.q = h->q;
    a.kt = h->kt;
    a.v = h->v;
    a.k_scale = h->k_scale;
    a.v_scale = h->v_scale;
    a.q_stride = a.C + LEFT;
    a.v_stride = a.C + 1;
    a.scale = 0.37f;
    widened = a;
    widened.kt = h->kt_float;
    widened.v = h->v_float;
    return same_output("attend", run(h->ref, a), run(twin, a)) &&
           same_output("attend, widened", run(twin, a), run(k->attend_float, widened));
}

static bool check_head(const head *h, const kern *k, attend_call *twin)
{
    static const size_t widths[] = {8, 10, 16, 48, 64, 80, 128, 160};
    static const size_t keys[] = {1, 2, 15, 16, 17, 31, 64, 100, 127, 128, 129, 300, 512};
    bool same = true;

    for (size_t i = 0; i < sizeof widths / sizeof widths[0]; i++)
        for (size_t j = 0; same && j < sizeof keys / sizeof keys[0]; j++) {
            const size_t T = (i + j) % MAX_ROWS + 1, C = widths[i], n = keys[j];

            same = same_attend(h, k, twin, (kern_attend){.T = T, .C = C, .n = n, .first = n}) &&
                   same_attend(h, k, twin, (kern_attend){.T = T, .C = C, .n = n, .first = 1});
            if (same) /* a window that leaves rows without keys, and one that caps */
                same = same_attend(h, k, twin,
                                   (kern_attend){.T = T,
                                                 .C = C,
                                                 .n = n,
                                                 .first = n,
                                                 .low = (ptrdiff_t)(n * (i % 3) / 2) - 3,
                                                 .slide = 1,
                                                 .cap = j % 2 ? 5 : 0});
            if (same && n > MAX_ROWS) /* its own block */
                same = same_attend(h, k, twin,
                                   (kern_attend){.T = MAX_ROWS,
                                                 .C = C,
                                                 .n = n,
                                                 .first = n - MAX_ROWS + 1,
                                                 .low = (ptrdiff_t)(j % 2 * n / 2),
                                                 .cap = i % 2 ? 3 : 0});
        }
    return same;
}

/* Noise as queries and as floats; kt and v for numbers of `bytes`, to be filled. No scales. */
static head open_head(attend_call *ref, size_t bytes)
{
    head h = {.ref = ref,
              .kt = check_memory(KEYS * bytes),
              .v = check_memory(VALUES * bytes),
              .kt_float = check_memory(KEYS * sizeof(float)),
              .v_float = check_memory(VALUES * sizeof(float)),
              .q = check_memory(MAX_ROWS * (MAX_C + LEFT) * sizeof(float))};

    check_normals(h.q, MAX_ROWS * (MAX_C + LEFT), 11);
    check_normals(h.kt_float, KEYS, 12);
    check_normals(h.v_float, VALUES, 13);
    return h;
}

static void close_head(head *h)
{
    free(h->kt);
    free(h->v);
    free(h->kt_float);
    free(h->v_float);
    free(h->k_scale);
    free(h->v_scale);
    free(h->q);
}

static uint16_t *new_scales(float least)
{
    uint16_t *scale = check_memory(KERN_KEYS * sizeof *scale);

    for (size_t j = 0; j < KERN_KEYS; j++)
        scale[j] = kern_half(least * (1 + (float)(j * 7 % 64) / 16));
    return scale;
}

bool check_attend_float(const kern *k)
{
    head h = open_head(kern_attend_float_ref, sizeof(float));
    bool same;

    memcpy(h.kt, h.kt_float, KEYS * sizeof(float));
    memcpy(h.v, h.v_float, VALUES * sizeof(float));
    same = check_head(&h, k, k->attend_float);
    close_head(&h);
    return same;
}

bool check_attend_half(const kern *k)
{
    head h = open_head(kern_attend_half_ref, sizeof(uint16_t));
    bool same;

    kern_float_to_half_ref(h.kt_float, KEYS, h.kt);
    kern_float_to_half_ref(h.v_float, VALUES, h.v);
    kern_half_to_float_ref(h.kt, KEYS, h.kt_float);
    kern_half_to_float_ref(h.v, VALUES, h.v_float);
    same = check_head(&h, k, k->attend_half);
    close_head(&h);
    return same;
}

bool check_attend_int8(const kern *k)
{
    head h = open_head(kern_attend_int8_ref, sizeof(int8_t));
    bool same;

    check_bytes(h.kt, KEYS, 14);
    check_bytes(h.v, VALUES, 15);
    for (size_t i = 0; i < KEYS; i++) h.kt_float[i] = ((const int8_t *)h.kt)[i];
    for (size_t i = 0; i < VALUES; i++) h.v_float[i] = ((const int8_t *)h.v)[i];
    h.k_scale = new_scales(1e-3f);
    h.v_scale = new_scales(1e-2f);
    same = check_head(&h, k, k->attend_int8);
    close_head(&h);
    return same;
}
