/* step.c - the buffers of a step: one allocation, carved in order.
 *
 * A step allocates nothing (CONTRIBUTING.md), so all of it is taken when forward is opened, for
 * the most rows that any step may have. The same functions count the bytes, from a NULL, and
 * lay the buffers out, so the two cannot disagree. */
#include "engine/model/step.h"

#include <stdlib.h>
#include <string.h>

/* What is being carved; memory is NULL where bytes are only counted. */
typedef struct carver {
    char *memory;
    size_t at;
} carver;

/* Each buffer begins a cache line: kernels load aligned, and workers share none at a border. */
static void *carve(carver *c, size_t bytes)
{
    void *p = c->memory ? c->memory + c->at : NULL;

    c->at += (bytes + 63) / 64 * 64;
    return p;
}

static float *carve_floats(carver *c, size_t n)
{
    return carve(c, n * sizeof(float));
}

static size_t larger(size_t a, size_t b)
{
    return a > b ? a : b;
}

/* Rows of logits at a time: a step of fewer rows has no more to ask for, and a vocabulary is
 * wide. */
static size_t logit_rows(const struct forward *f)
{
    return f->max_rows < STEP_LOGIT_ROWS ? f->max_rows : STEP_LOGIT_ROWS;
}

/* x and q8 are the input of every product in turn, so they are as wide as the widest. */
static void lay_out_rows(struct forward *f, carver *c)
{
    const model *m = f->m;
    const size_t R = f->max_rows, Q = m->H * m->C,
                 widest = larger(larger(m->D, Q), m->widest_F);
    const size_t groups = (widest + KERN_GROUP - 1) / KERN_GROUP;

    f->h = carve_floats(c, R * m->D);
    f->x = carve_floats(c, R * widest);
    f->q = carve_floats(c, R * Q);
    f->k = carve_floats(c, R * m->E);
    f->v = carve_floats(c, R * m->E);
    f->heads = carve_floats(c, R * Q);
    f->gate = carve_floats(c, R * m->widest_F);
    f->up = carve_floats(c, R * m->widest_F);
    f->beside = carve_floats(c, m->arch->has & ARCH_PARALLEL ? R * m->D : 0);
    f->ones = carve_floats(c, m->arch->has & ARCH_UNGATED ? m->widest_F : 0);
    f->logits = carve_floats(c, logit_rows(f) * m->V);
    f->q8 = carve(c, R * widest);
    f->q8_scale = carve_floats(c, R * groups);
    f->q8_sum = carve(c, R * groups * sizeof *f->q8_sum);
}

/* Partial results: those of a wave, and behind them a row for each worker. */
static void lay_out_attention(struct forward *f, carver *c)
{
    const size_t R = f->max_rows, W = f->wave_rows + (size_t)f->team->slots, H = f->m->H;

    f->run_max = carve_floats(c, R * H);
    f->run_sum = carve_floats(c, R * H);
    f->partial_m = carve_floats(c, W * H);
    f->partial_l = carve_floats(c, W * H);
    f->partial_o = carve_floats(c, W * H * f->m->C);
    f->chunks = carve(c, R * sizeof *f->chunks);
    f->strips = carve(c, R * sizeof *f->strips);
    f->units = carve(c, W * sizeof *f->units);
    f->slots = carve(c, (size_t)f->team->slots * sizeof *f->slots);
}

/* Nothing in a model without experts, whose X and `used` are 0. */
static void lay_out_experts(struct forward *f, carver *c)
{
    const size_t R = f->max_rows, RD = f->m->X ? R * f->m->D : 0;

    f->route = carve_floats(c, R * f->m->X);
    f->shares = carve(c, R * f->m->rule.used * sizeof *f->shares);
    f->picks = carve(c, f->m->X ? R * sizeof *f->picks : 0);
    f->picked = carve_floats(c, RD);
    f->mixed = carve_floats(c, RD);
}

/* Returns the bytes. */
static size_t lay_out(struct forward *f)
{
    carver c = {f->memory, 0};

    lay_out_rows(f, &c);
    lay_out_attention(f, &c);
    lay_out_experts(f, &c);
    return c.at;
}

err step_open(struct forward *f)
{
    f->bytes = lay_out(f);
    f->memory = aligned_alloc(64, f->bytes);
    if (!f->memory) return ERR_NOMEM;
    lay_out(f);
    memset(f->slots, 0, (size_t)f->team->slots * sizeof *f->slots);
    for (size_t i = 0; f->m->arch->has & ARCH_UNGATED && i < f->m->widest_F; i++)
        f->ones[i] = 1;
    return ERR_OK;
}

void step_close(struct forward *f)
{
    free(f->memory);
}

void step_code_row(const struct forward *f, const float *x, size_t t, size_t D)
{
    const size_t groups = D / KERN_GROUP;

    f->kern->quantize_q8(x, D, f->q8 + t * D, f->q8_scale + t * groups, f->q8_sum + t * groups);
}
