/* check_attend.c - attention over one block: head widths, key counts, causal edges. */
#include <stdlib.h>

#include "tests/kern/check.h"

enum { ROWS = 5, LEFT = 3, MAX_C = 160 };

/* Output of one call: m, l and o of ROWS rows, and some memory past them. */
static float *run(void (*call)(const kern_attend *), kern_attend a)
{
    float *out = check_memory((ROWS + 1) * (MAX_C + 2) * sizeof *out);

    a.m = out;
    a.l = out + ROWS + 1;
    a.o = out + 2 * (ROWS + 1);
    a.ml_stride = 1;
    a.o_stride = MAX_C;
    call(&a);
    return out;
}

static bool same_attend(const kern *k, size_t C, size_t n, size_t first, const float *noise)
{
    float *kt = check_memory(C * KERN_KEYS * sizeof *kt);
    float *a, *b;
    bool same;
    kern_attend args = {.q = noise,
                        .kt = kt,
                        .v = noise + 7,
                        .q_stride = C + LEFT,
                        .kt_stride = KERN_KEYS,
                        .v_stride = C + 1,
                        .T = ROWS,
                        .C = C,
                        .n = n,
                        .first = first,
                        .scale = 0.37f};

    for (size_t c = 0; c < C; c++) check_normals(kt + c * KERN_KEYS, n, (uint32_t)(c + n));
    a = run(kern_attend_ref, args);
    b = run(k->attend, args);
    same = check_same("attend", a, b, (ROWS + 1) * (MAX_C + 2) * sizeof *a);
    free(kt);
    free(a);
    free(b);
    return same;
}

bool check_attend(const kern *k)
{
    static const size_t widths[] = {8, 10, 16, 48, 64, 80, 128, 160};
    static const size_t keys[] = {1, 2, 15, 16, 17, 31, 64, 100, 127, 128, 129, 300, 512};
    float *noise = check_memory((KERN_KEYS + 1) * (MAX_C + 1) * sizeof *noise);
    bool same = true;

    check_normals(noise, (KERN_KEYS + 1) * (MAX_C + 1), 11);
    for (size_t i = 0; i < sizeof widths / sizeof widths[0]; i++)
        for (size_t j = 0; same && j < sizeof keys / sizeof keys[0]; j++) {
            same = same_attend(k, widths[i], keys[j], keys[j], noise); /* sees all */
            if (same && keys[j] > ROWS)                                /* its own block */
                same = same_attend(k, widths[i], keys[j], keys[j] - ROWS + 1, noise);
            if (same) same = same_attend(k, widths[i], keys[j], 1, noise);
        }
    free(noise);
    return same;
}
