/* product.c - products of a step and passes over its rows.
 *
 * What half a layer makes is not added to h where it is made: a task there has some columns of
 * every row, and a norm needs whole rows. The addition is deferred to the next half, whose pass
 * over rows adds, norms and codes a row while it is in the core's cache (product_add_norm): one
 * barrier and one walk through h less in each half. */
#include "engine/model/product.h"

#include <assert.h>

#include "engine/clock.h"
#include "engine/model/step.h"

enum { ROWS = 4 }; /* of a task that does the same to each row */

typedef struct forward forward;

/* --- rows --- */

typedef struct row_job {
    forward *f;
    const product_rows *do_;
    size_t each; /* rows a task */
} row_job;

static void add_bias(float *x, const float *bias, size_t n)
{
    for (size_t i = 0; bias && i < n; i++) x[i] += bias[i];
}

/* The norm behind a half is one more step of the same pass, over a row that is at hand. */
static void add_row(const forward *f, const step_residual *r, size_t t)
{
    const size_t D = f->m->D;
    float *row = r->made + t * D, *h = f->h + t * D;
    const float by = f->m->residual_scale;

    add_bias(row, r->bias, D);
    if (r->post) model_norm_row(f->m, f->kern, &(model_norm){r->post, NULL}, row, row);
    for (size_t d = 0; d < D; d++) h[d] += by != 1 ? by * row[d] : row[d];
    if (r->sum->gain) model_norm_row(f->m, f->kern, r->sum, h, h);
}

/* Without a gate, what is bent is multiplied by ones: exact, and one loop for both. */
static void bend_row(const forward *f, const model_ffn *ffn, float *x, size_t t, size_t n)
{
    const bool gated = ffn->up.data != NULL;
    float *up = gated ? f->up + t * n : f->ones;

    add_bias(x, ffn->gate_bias, n);
    if (gated) add_bias(up, ffn->up_bias, n);
    if (f->m->arch->has & ARCH_XIELU)
        f->kern->xielu(x, n, ffn->bend);
    else if (f->m->arch->has & ARCH_SWIGLU_OAI)
        f->kern->clamp_mul(x, up, n, (kern_clamp){1.702f, 7}, x);
    else if (f->m->erf)
        f->kern->erf_mul(x, up, n, x);
    else if (f->m->arch->has & ARCH_GELU)
        f->kern->gelu_mul(x, up, n, x);
    else
        f->kern->silu_mul(x, up, n, x);
}

static void do_row(const row_job *job, size_t t)
{
    const forward *f = job->f;
    const product_rows *r = job->do_;
    float *x = r->x + t * r->width;

    for (size_t i = 0; r->add && i < f->n_deferred; i++) add_row(f, &f->deferred[i], t);
    if (r->norm) model_norm_row(f->m, f->kern, r->norm, f->h + t * f->m->D, x);
    if (r->bend) bend_row(f, r->bend, x, t, r->width);
    if (r->codes) step_code_row(f, x, t, r->width);
}

static void do_rows(void *arg, int i, int slot_id)
{
    const row_job *job = arg;
    const size_t first = (size_t)i * job->each, left = job->do_->T - first;

    (void)slot_id;
    for (size_t t = 0; t < left && t < job->each; t++) do_row(job, first + t);
}

/* A barrier costs as much as the codes of some rows, or all that is done to a few: fewer rows
 * than that are one task, which the caller runs without waking anybody. */
void product_do_rows(forward *f, const product_rows *rows)
{
    row_job job = {f, rows, rows->norm || rows->bend ? ROWS : 2 * ROWS};

    f->team->run(f->team, do_rows, &job, (int)((rows->T + job.each - 1) / job.each));
}

void product_defer(forward *f, step_residual r)
{
    assert(f->n_deferred < STEP_DEFERRED);
    f->deferred[f->n_deferred++] = r;
}

product_source product_add_norm(forward *f, const model_norm *norm, const product *list, int n)
{
    const product_source x = {f->x, f->rows, product_wants_codes(list, n)};

    product_do_rows(f, &(product_rows){.T = f->rows,
                                       .width = f->m->D,
                                       .add = true,
                                       .norm = norm,
                                       .x = f->x,
                                       .codes = x.coded});
    f->n_deferred = 0;
    return x;
}

/* --- products --- */

/* Task i: panels i*share .. of all products, counted through. So Wk and Wv, which are small
 * with grouped heads, are no tasks of their own that end early. */
void product_share(void *arg, int i, int s)
{
    const product_job *job = arg;
    const double start = clock_seconds();
    size_t first = (size_t)i * job->share, left = job->share;

    for (int j = 0; j < job->n && left; j++) {
        const matrix *m = job->list[j].m;
        size_t last;

        if (first >= m->panels) {
            first -= m->panels;
            continue;
        }
        last = first + left < m->panels ? first + left : m->panels;
        matrix_multiply(m, job->f->kern, &job->in, first, last, job->list[j].y, m->rows);
        left -= last - first;
        first = 0;
    }
    job->f->slots[s].seconds[FORWARD_GEMM] += clock_seconds() - start;
}

bool product_wants_codes(const product *list, int n)
{
    for (int j = 0; j < n; j++)
        if (matrix_wants_int8(list[j].m)) return true;
    return false;
}

/* Two shares for each worker, so that one that was interrupted is helped out and nobody waits
 * long for the last. */
product_job product_open(forward *f, product_source from, const product *list, int n)
{
    product_job job = {.f = f, .list = list, .n = n};
    const size_t D = list[0].m->cols,
                 tasks = (size_t)f->team->slots * (f->team->slots > 1 ? 2 : 1);

    job.in = (matrix_input){.x = from.x, .T = from.T, .D = D};
    for (int j = 0; f->hearer && j < n; j++)
        f->hearer(f->hearer_arg, list[j].m, from.x, from.T);
    if (product_wants_codes(list, n)) {
        if (!from.coded)
            product_do_rows(
                f, &(product_rows){.T = from.T, .width = D, .x = from.x, .codes = true});
        job.in.q = f->q8;
        job.in.q_scale = f->q8_scale;
        job.in.q_sum = f->q8_sum;
    }
    for (int j = 0; j < n; j++) job.panels += list[j].m->panels;
    job.share = (job.panels + tasks - 1) / tasks;
    return job;
}

void product_run_shares(const product_job *job, team_task *task, void *arg)
{
    team *t = job->f->team;

    t->run(t, task, arg, (int)((job->panels + job->share - 1) / job->share));
}

void product_run(forward *f, product_source from, const product *list, int n)
{
    product_job job = product_open(f, from, list, n);

    product_run_shares(&job, product_share, &job);
}
