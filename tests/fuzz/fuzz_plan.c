/* fuzz_plan.c - any bytes as a plan: refused by name, or one whose every number is there. A
 * mutated file rarely keeps its checksum, so it is also tried with the right one. */
#include <math.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

#include "xcache/codec/plan.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

enum { CHECKSUM = 8, SUMMED_FROM = 16 };

static void must(bool good)
{
    if (!good) abort();
}

static void read_matrix(const plan_matrix *m, size_t D)
{
    volatile float sum = 0;

    for (size_t r = 0; r < m->rows; r++) must(isfinite(m->scale[r]));
    for (size_t i = 0; i < m->rows * plan_groups(D); i++) sum += (float)m->share[i];
    for (size_t i = 0; i < m->rows * D; i++) sum += (float)m->code[i];
    (void)sum;
}

static void read_layer(const plan_layer *l, const plan_about *a)
{
    volatile float sum = 0;

    for (size_t i = 0; i < a->D; i++)
        must(isfinite(l->c[i]) && isfinite(l->diagonal[i]) && isfinite(l->salience[i]));
    must(isfinite(l->salience[a->D]) && l->n <= a->D);
    must(isfinite(*l->floor) && *l->floor >= 0);
    for (size_t i = 0; i < l->n; i++)
        must(l->sigma[i] > 0 && (!i || l->sigma[i] <= l->sigma[i - 1]));
    for (size_t r = 0; r < l->form.rows; r++) must(isfinite(l->form.scale[r]));
    for (size_t i = 0; i < l->form.rows * a->C; i++) sum += (float)l->form.half[i];
    read_matrix(&l->down, a->D);
    read_matrix(&l->up, a->D);
    read_matrix(&l->q, a->D);
    (void)sum;
}

/* Rates and tables: what a codec divides and looks up by. */
static void read_statistics(const plan *p, const plan_about *a)
{
    const plan_rates r = plan_read_rates(p);
    const plan_tables t = plan_read_tables(p);
    char mode[16];

    for (size_t s = 1; s < a->steps; s++) must(r.step[s] > r.step[s - 1]);
    for (size_t i = 0; i < a->steps * a->L; i++) must(r.bits[i] >= 0);
    for (size_t i = 0; i < PLAN_TABLES; i++) {
        unsigned sum = 0;

        for (size_t v = 0; v < PLAN_SYMBOLS; v++) sum += t.frequency[i][v];
        must(sum && !(sum & (sum - 1)) && fabsf(t.bias[i]) <= 1);
    }
    /* of any ratio, and of any divergence */
    must(plan_best_ratio(p, INFINITY) <= PLAN_RATIO_MAX && isfinite(plan_kl(p, 12)));
    for (size_t i = 0; plan_measured_at(p, i, mode); i++) must(strlen(mode) < sizeof mode);
    must(isfinite(plan_plain_kl(p, "kivi4")));
}

static void try_plan(const void *data, size_t n)
{
    fault why = {0};
    plan *p = NULL;
    plan_about a;

    if (plan_open_memory(&p, data, n, &why) != ERR_OK) {
        must(why.field[0] && !p);
        return;
    }
    a = plan_read_about(p);
    read_statistics(p, &a);
    for (size_t l = 1; l < a.L; l++) {
        const plan_layer layer = plan_read_layer(p, l);

        read_layer(&layer, &a);
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
