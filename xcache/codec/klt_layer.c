/* klt_layer.c - from a layer of a plan to the factors that a block is multiplied with.
 *
 *   plan                                     layer
 *   down, up       --> as they are,      --> down [r,D], change [D,r]: their product is
 *   or one matrix      or multiplied out     P - I - diagonal; or change [D,D] alone
 *   q, form, Wk, Wv --> whitened         --> f = F [n,D], b = B [D,N]
 *   sigma          --> against the step  --> n, and the class of each component
 *
 * What a plan keeps is made small for the file; what a layer keeps, for the products of a
 * block: all are panels of int8, which take a quarter of the time of floats. */
#include <assert.h>
#include <cblas.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "engine/model/quantize.h"
#include "xcache/codec/klt.h"
#include "xcache/codec/whiten.h"

/* A component counts if its deviation is above this share of the step: one below it would be
 * all zeros but for a few tokens that are worth much. docs/quality.md */
static const double least_sigma = 0.25;

enum { CLASS_OF_ONE = 24 }; /* of sigma equal to the step */

size_t klt_count(const plan_layer *l, double step)
{
    size_t n = 0;

    while (n < l->n && (double)l->sigma[n] > least_sigma * step) n++;
    return n;
}

/* c, diagonal, salience, and the classes in whole floats behind them. */
static size_t count_floats(const klt_layer *l)
{
    return l->D * 3 + 1 + (l->n + 1) / 2;
}

/* int8 rows come in whole groups; a width that is none keeps floats. */
static size_t pad(size_t D, size_t n)
{
    return D % KERN_GROUP ? n : (n + KERN_GROUP - 1) / KERN_GROUP * KERN_GROUP;
}

static klt_layer describe(size_t D, const plan_layer *p, double step)
{
    const size_t n = klt_count(p, step);

    const bool two = p->up.rows % KERN_GROUP == 0 && 2 * p->up.rows < D;

    return (klt_layer){.D = D,
                       .n = n,
                       .N = pad(D, n),
                       .rank = two ? p->up.rows : 0,
                       .predicts = p->down.rows > 0};
}

/* The tensor that a factor is packed from; no data yet. */
static gguf_tensor describe_factor(size_t rows, size_t cols)
{
    gguf_tensor t = {.type = cols % KERN_GROUP ? GGUF_F32 : GGUF_Q8_0,
                     .n_dims = 2,
                     .dim = {cols, rows, 1, 1}};
    size_t elements = 1, bytes = 0;

    (void)gguf_type_name(t.type, &elements, &bytes);
    t.bytes = rows * (cols / elements) * bytes;
    return t;
}

/* Pack a factor from floats [rows,cols]. */
static err pack_factor(matrix *m, const float *from, size_t rows, size_t cols)
{
    gguf_tensor t = describe_factor(rows, cols);
    uint8_t *data = malloc(t.bytes);
    err e = data ? ERR_OK : ERR_NOMEM;

    for (size_t i = 0; data && i < rows; i++)
        quantize_row(t.type, from + i * cols, cols, data + t.bytes / rows * i);
    t.data = data;
    if (e == ERR_OK) e = matrix_open(m, &t);
    free(data);
    return e;
}

/* Lay the floats out. */
static void lay_out(klt_layer *l)
{
    l->c = l->memory;
    l->diagonal = l->c + l->D;
    l->salience = l->diagonal + l->D;
    l->row = (int16_t *)(void *)(l->salience + l->D + 1);
}

/* Wk and Wv as they are in the file, [2E,D]: the plan knows the weights by their hash. */
static void read_weights(const model *m, size_t at, float *w)
{
    model_read_kv(m->layers[at].k_file, w);
    model_read_kv(m->layers[at].v_file, w + m->E * m->D);
}

/* Scratch of opening a layer. */
typedef struct work {
    float *rows;   /* [most,D] a factor as a plan has it; then B */
    float *change; /* [D,D] F; then what P - I is packed from */
    float *turned; /* [N,D] B^T, zeros from row n on */
    float *w;      /* [2E,D] */
    float *form;   /* [2E,C] */
    double *r;     /* [D,D] */
    double *temp;  /* [n,D] */
} work;

/* F and B from the basis: what they see of x is what keys and values see, exactly, however the
 * basis is rounded. */
static err make_basis(klt_layer *l, const kern *k, const model *m, size_t at,
                      const plan_layer *p, const work *t)
{
    const whiten_form form = {m->D, m->E, m->C, t->w, t->form, (double)*p->floor};
    plan_matrix q = p->q;

    if (!l->n) return ERR_OK;
    /* sigma falls, so those that count are the first */
    q.rows = l->n;
    plan_unpack(l->D, &q, t->rows);
    read_weights(m, at, t->w);
    plan_unpack_form(k, m->C, &p->form, t->form);
    TRY(whiten_find(&form, t->r));
    whiten_expand(t->r, l->D, t->rows, l->n, t->temp, t->change, t->turned);
    memset(t->turned + l->n * l->D, 0, (l->N - l->n) * l->D * sizeof *t->turned);
    k->transpose(t->turned, l->D, l->N, l->D, t->rows, l->N);
    TRY(pack_factor(&l->f, t->change, l->n, l->D));
    return pack_factor(&l->b, t->rows, l->D, l->N);
}

/* Class of each component at W = M = 0. */
static void find_rows(klt_layer *l, const plan_layer *p, double step)
{
    for (size_t i = 0; i < l->n; i++)
        l->row[i] = (int16_t)(CLASS_OF_ONE +
                              nearbyint(KLT_CLASS_OCTAVE * log2((double)p->sigma[i] / step)));
}

/* A row of `down` gets length 1 and its partner in `up` what it had: what lies between them is
 * rounded to eight bits, with one step for 32 of them. */
static void even_out(float *down, float *up, size_t D)
{
    const float length = cblas_snrm2((int)D, down, 1);

    if (!(length > 0)) return;
    cblas_sscal((int)D, 1 / length, down, 1);
    cblas_sscal((int)D, length, up, 1);
}

/* P - I of a plan without its diagonal, for x^ itself is added as it is, and eight bits are
 * spent on what the others of its channels change: as one matrix, or two that are less work. */
static err make_change(klt_layer *l, const kern *k, const plan_layer *p, const work *t)
{
    const size_t D = l->D, rank = p->up.rows;
    float *up = t->rows + rank * D;

    plan_unpack(D, &p->down, t->rows);
    if (!rank) return pack_factor(&l->change, t->rows, D, D);
    plan_unpack(D, &p->up, up);
    if (l->rank) {
        for (size_t i = 0; i < rank; i++) even_out(t->rows + i * D, up + i * D, D);
        k->transpose(up, D, rank, D, t->change, rank);
        TRY(pack_factor(&l->down, t->rows, rank, D));
        return pack_factor(&l->change, t->change, D, rank);
    }
    cblas_sgemm(CblasRowMajor, CblasTrans, CblasNoTrans, (int)D, (int)D, (int)rank, 1.0f, up,
                (int)D, t->rows, (int)D, 0.0f, t->change, (int)D);
    return pack_factor(&l->change, t->change, D, D);
}

static err fill(klt_layer *l, const kern *k, const model *m, size_t at, const plan_layer *p,
                double step, const work *t)
{
    lay_out(l);
    memcpy(l->c, p->c, l->D * sizeof *l->c);
    memcpy(l->diagonal, p->diagonal, l->D * sizeof *l->diagonal);
    memcpy(l->salience, p->salience, (l->D + 1) * sizeof *l->salience);
    find_rows(l, p, step);
    TRY(make_basis(l, k, m, at, p, t));
    return l->predicts ? make_change(l, k, p, t) : ERR_OK;
}

/* One allocation, doubles first. NULL: out of memory. */
static double *open_work(work *t, const model *m, const plan_layer *p, const klt_layer *l)
{
    const size_t D = m->D, E2 = 2 * m->E, factors = p->down.rows + p->up.rows;
    const size_t most = factors > l->N ? factors : l->N;
    double *all = malloc((D * D + l->n * D) * sizeof *all +
                         ((D + most + l->N + E2) * D + E2 * m->C) * sizeof(float));

    if (!all) return NULL;
    t->r = all;
    t->temp = t->r + D * D;
    t->change = (float *)(void *)(t->temp + l->n * D);
    t->rows = t->change + D * D;
    t->turned = t->rows + most * D;
    t->w = t->turned + l->N * D;
    t->form = t->w + E2 * D;
    return all;
}

err klt_open(klt_layer *out, const kern *k, const model *m, size_t at, const plan_layer *p,
             double step)
{
    klt_layer l = describe(m->D, p, step);
    work t;
    double *scratch = open_work(&t, m, p, &l);
    err e = ERR_NOMEM;

    l.memory = malloc(count_floats(&l) * sizeof *l.memory);
    if (scratch && l.memory) e = fill(&l, k, m, at, p, step, &t);
    free(scratch);
    if (e != ERR_OK) {
        klt_close(&l);
        return e;
    }
    *out = l;
    return ERR_OK;
}

void klt_close(klt_layer *l)
{
    matrix_close(&l->down);
    matrix_close(&l->change);
    matrix_close(&l->f);
    matrix_close(&l->b);
    free(l->memory);
    l->memory = NULL;
}

size_t klt_bytes(size_t D, const plan_layer *p, double step)
{
    const klt_layer l = describe(D, p, step);
    const gguf_tensor change = describe_factor(D, l.rank ? l.rank : D),
                      down = describe_factor(l.rank, D), f = describe_factor(l.n, D),
                      b = describe_factor(D, l.N);

    return count_floats(&l) * sizeof(float) + (l.predicts ? matrix_bytes(&change) : 0) +
           (l.rank ? matrix_bytes(&down) : 0) + (l.n ? matrix_bytes(&f) + matrix_bytes(&b) : 0);
}
