/* fuzz_plan.c - any bytes as a plan: refused by name, or one whose every number is there. A
 * mutated file rarely keeps its checksum, so it is also tried with the right one. */
#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

#include "xcache/codec/plan.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

enum { CHECKSUM = 8, SUMMED_FROM = 16 };

static void read_layer(const plan_layer *l, size_t D)
{
    volatile float sum = 0;

    for (size_t i = 0; i < D; i++) sum += l->c[i];
    for (size_t i = 0; i < l->n; i++) {
        if (l->bits[i] < 1 || l->bits[i] > PLAN_MAX_BITS) abort();
        sum += l->f.scale[i] + l->b.scale[i] + (float)l->b.half[i * D + D - 1];
    }
    for (size_t i = 0; i < l->down.rows * D; i++) sum += (float)l->down.half[i];
    for (size_t i = 0; i < l->up.rows * D; i++) sum += (float)l->up.half[i];
    (void)sum;
}

static void try_plan(const void *data, size_t n)
{
    fault why = {0};
    plan *p = NULL;
    plan_about a;

    if (plan_open_memory(&p, data, n, &why) != ERR_OK) {
        if (!why.field[0] || p) abort();
        return;
    }
    a = plan_read_about(p);
    for (size_t l = 1; l < a.L; l++) {
        const plan_layer layer = plan_read_layer(p, l);

        read_layer(&layer, a.D);
    }
    plan_close(p);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    uint8_t *copy = malloc(n + !n);

    if (!copy) return 0;
    memcpy(copy, data, n);
    try_plan(copy, n);
    if (n >= SUMMED_FROM) {
        const uint64_t sum = XXH3_64bits(copy + SUMMED_FROM, n - SUMMED_FROM);

        memcpy(copy + CHECKSUM, &sum, sizeof sum);
        try_plan(copy, n);
    }
    free(copy);
    return 0;
}
