/* klt.c - predict, code and decode a block of one layer.
 *
 *               state [B,D]        temp: first [B,D]       second [B,D]          third
 *    project    x^ of l-1          (P - I) x^              its int8 codes
 *    transform  + c = x'           x - x'
 *                                  u turned [n,B] <------  u = F (x - x') [B,n]
 *    quantize     |                                                              q [n,B]
 *    pack         |                                                              and scratch
 *    add          |                levels [n,B] --------->  turned [B,n]
 *               x' + B levels
 *
 * Decode is project, + c, unpack, add: the encoder's first and last steps, by the same calls.
 * Whatever rounds in them, int8 products too, rounds alike on both sides, and the next
 * difference is taken to it. Components are turned to rows because the class of a symbol
 * follows from its component and its token, and the coder's lanes are tokens. */
#include "xcache/codec/klt.h"

#include <assert.h>
#include <cblas.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "engine/model/quantize.h"
#include "xcache/codec/remat.h"
#include "xcache/codec/whiten.h"

/* A component counts if its deviation is above this share of the step: one below it would be
 * all zeros but for a few tokens that are worth much. docs/quality.md */
static const double least_sigma = 0.25;

enum {
    OCTAVE = 16,       /* of a multiplier M */
    CLASS_OCTAVE = 4,  /* classes of one octave */
    CLASS_OF_ONE = 24, /* of sigma equal to the step */
    MOST_WEIGHT = 5,   /* half octaves either way */
    FINEST = 63,
    COARSEST = -64, /* M as a byte */
    NOTHING = 255   /* the byte of a layer without codes */
};

/* --- the coder --- */

err klt_open_coder(klt_coder *out, const kern *k, const plan *p, double step)
{
    const plan_tables t = plan_read_tables(p);
    klt_coder c = {.kern = k, .step = (float)step};

    TRY(rans_open(&c.rans, t.frequency[0], k, NULL));
    memcpy(c.bias, t.bias, sizeof c.bias);
    *out = c;
    return ERR_OK;
}

void klt_close_coder(klt_coder *c)
{
    rans_close(c->rans);
    c->rans = NULL;
}

size_t klt_coder_bytes(void)
{
    return rans_model_bytes();
}

size_t klt_count(const plan_layer *l, double step)
{
    size_t n = 0;

    while (n < l->n && (double)l->sigma[n] > least_sigma * step) n++;
    return n;
}

/* --- factors --- */

/* c, diagonal, salience, f, b, and the classes in whole floats behind them. */
static size_t count_floats(const klt_layer *l)
{
    return l->D * (3 + 2 * l->n) + 1 + (l->n + 1) / 2;
}

static klt_layer describe(size_t D, const plan_layer *p, double step)
{
    return (klt_layer){.D = D, .n = klt_count(p, step), .predicts = p->down.rows > 0};
}

/* The tensor that P - I is packed from; no data yet. */
static gguf_tensor describe_change(const klt_layer *l)
{
    /* int8 rows come in whole groups; a width that is none keeps floats */
    const bool whole = l->D % KERN_GROUP == 0;
    gguf_tensor t = {
        .type = whole ? GGUF_Q8_0 : GGUF_F32, .n_dims = 2, .dim = {l->D, l->D, 1, 1}};
    size_t elements = 1, bytes = 0;

    (void)gguf_type_name(t.type, &elements, &bytes);
    t.bytes = l->D * (l->D / elements) * bytes;
    return t;
}

/* Pack P - I, but for its diagonal, from floats [D,D]: x^ itself is added as it is, and eight
 * bits are spent on what the others of its channels change. */
static err pack_change(klt_layer *l, const float *from)
{
    gguf_tensor t = describe_change(l);
    uint8_t *rows = malloc(t.bytes);
    err e = rows ? ERR_OK : ERR_NOMEM;

    for (size_t i = 0; rows && i < l->D; i++)
        quantize_row(t.type, from + i * l->D, l->D, rows + t.bytes / l->D * i);
    t.data = rows;
    if (e == ERR_OK) e = matrix_open(&l->change, &t);
    free(rows);
    return e;
}

/* Lay the floats out. */
static void lay_out(klt_layer *l)
{
    l->c = l->memory;
    l->diagonal = l->c + l->D;
    l->salience = l->diagonal + l->D;
    l->f = l->salience + l->D + 1;
    l->b = l->f + l->n * l->D;
    l->row = (int16_t *)(void *)(l->b + l->n * l->D);
}

/* Rows [rows,D] of a matrix as columns [D,rows]. */
static void turn(const kern *k, size_t D, size_t rows, const float *from, float *to)
{
    k->transpose(from, D, rows, D, to, rows);
}

/* Wk and Wv as they are in the file, [2E,D]: the plan knows the weights by their hash. */
static void read_weights(const model *m, size_t at, float *w)
{
    model_read_kv(m->layers[at].k_file, w);
    model_read_kv(m->layers[at].v_file, w + m->E * m->D);
}

/* Scratch of opening a layer. */
typedef struct work {
    float *rows;   /* [most,D] a factor as a plan has it */
    float *change; /* [D,D] P - I */
    float *turned; /* [n,D] B^T */
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
    whiten_expand(t->r, l->D, t->rows, l->n, t->temp, l->f, t->turned);
    turn(k, l->D, l->n, t->turned, l->b);
    return ERR_OK;
}

/* Class of each component at W = M = 0. */
static void find_rows(klt_layer *l, const plan_layer *p, double step)
{
    for (size_t i = 0; i < l->n; i++)
        l->row[i] = (int16_t)(CLASS_OF_ONE +
                              nearbyint(CLASS_OCTAVE * log2((double)p->sigma[i] / step)));
}

/* P - I of a plan, its two factors multiplied out: one int8 product takes less time than two
 * of which the second one is of floats, at the ranks that plans have. */
static void find_change(const plan_layer *p, size_t D, const work *t)
{
    float *up = t->rows + p->down.rows * D;

    if (!p->up.rows) {
        plan_unpack(D, &p->down, t->change);
        return;
    }
    plan_unpack(D, &p->down, t->rows);
    plan_unpack(D, &p->up, up);
    cblas_sgemm(CblasRowMajor, CblasTrans, CblasNoTrans, (int)D, (int)D, (int)p->up.rows, 1.0f,
                up, (int)D, t->rows, (int)D, 0.0f, t->change, (int)D);
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
    if (!l->predicts) return ERR_OK;
    find_change(p, l->D, t);
    return pack_change(l, t->change);
}

/* One allocation, doubles first. NULL: out of memory. */
static double *open_work(work *t, const model *m, const plan_layer *p, const klt_layer *l)
{
    const size_t D = m->D, E2 = 2 * m->E, factors = p->down.rows + p->up.rows;
    const size_t most = factors > l->n ? factors : l->n;
    double *all = malloc((D * D + l->n * D) * sizeof *all +
                         ((D + most + l->n + E2) * D + E2 * m->C) * sizeof(float));

    if (!all) return NULL;
    t->r = all;
    t->temp = t->r + D * D;
    t->change = (float *)(void *)(t->temp + l->n * D);
    t->rows = t->change + D * D;
    t->turned = t->rows + most * D;
    t->w = t->turned + l->n * D;
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
    if (l->predicts) matrix_close(&l->change);
    free(l->memory);
    l->memory = NULL;
}

size_t klt_bytes(size_t D, const plan_layer *p, double step)
{
    const klt_layer l = describe(D, p, step);
    const gguf_tensor change = describe_change(&l);

    return count_floats(&l) * sizeof(float) + (l.predicts ? matrix_bytes(&change) : 0);
}

/* --- a block --- */

/* first, second, and q. */
size_t klt_temp_floats(size_t rows, size_t D)
{
    return 2 * rows * D + (rows * D + 1) / 2;
}

const float *klt_components(const klt_block *b)
{
    return b->temp;
}

int16_t *klt_codes(const klt_layer *l, const klt_block *b)
{
    return (int16_t *)(void *)(b->temp + 2 * b->rows * l->D);
}

kern_classes klt_classes(const klt_layer *l, const klt_block *b)
{
    return (kern_classes){l->row, b->column, l->n, b->rows};
}

void klt_project(const klt_layer *l, const klt_block *b)
{
    const kern *k = b->coder->kern;
    const size_t D = l->D, n = b->rows * D;
    matrix_input in = {.x = b->state, .T = b->rows, .D = D};

    if (!l->predicts) return;
    /* its activations are x^, coded as forward codes a layer input */
    if (matrix_wants_int8(&l->change)) in = remat_code(k, b->state, b->rows, D, b->temp + n);
    remat_multiply_packed(k, &in, &l->change, b->temp);
    for (size_t t = 0; t < n; t += D)
        for (size_t j = 0; j < D; j++)
            b->state[t + j] += l->diagonal[j] * b->state[t + j] + b->temp[t + j];
}

static void add_offset(const klt_layer *l, const klt_block *b)
{
    for (size_t t = 0; t < b->rows; t++)
        for (size_t i = 0; i < l->D; i++) b->state[t * l->D + i] += l->c[i];
}

/* W of each token, from its exact input; kept rows get the coarsest, where zeros cost least. */
static void weigh(const klt_layer *l, klt_block *b, const float *x)
{
    float z[KLT_ROWS];

    remat_multiply(x, b->rows, l->D, l->salience, 1, z, 0);
    for (size_t t = 0; t < b->rows; t++) {
        const float w = nearbyintf(0.5f * (z[t] + l->salience[l->D]));

        /* so written that a NaN weighs nothing */
        b->weight[t] = t < b->sinks        ? -MOST_WEIGHT
                       : w > MOST_WEIGHT   ? MOST_WEIGHT
                       : w >= -MOST_WEIGHT ? (int8_t)w
                                           : -MOST_WEIGHT;
    }
}

/* Steps and classes of the tokens at a multiplier. */
static void set_steps(klt_block *b, int multiplier)
{
    static const float sixteenth[OCTAVE] = {1.0f,        1.04427378f, 1.09050773f, 1.13878863f,
                                            1.18920712f, 1.24185781f, 1.29683955f, 1.35425555f,
                                            1.41421356f, 1.47682615f, 1.54221083f, 1.61049033f,
                                            1.68179283f, 1.75625216f, 1.83400809f, 1.91520656f};
    const int classes = (multiplier + 512 + 2) / CLASS_OCTAVE - 512 / CLASS_OCTAVE;

    for (size_t t = 0; t < b->rows; t++) {
        /* a table and an exact shift, not exp2f, whose last bit is the library's affair */
        const int fine = b->weight[t] * (OCTAVE / 2) + multiplier, at = -fine & (OCTAVE - 1);

        b->step[t] = ldexpf(b->coder->step * sixteenth[at], (-fine - at) / OCTAVE);
        b->inverse[t] = t < b->sinks ? 0 : 1 / b->step[t];
        b->column[t] = (int8_t)(b->weight[t] * (CLASS_OCTAVE / 2) + classes);
    }
}

void klt_transform(const klt_layer *l, klt_block *b, const float *x)
{
    float *first = b->temp, *second = b->temp + b->rows * l->D;

    assert(b->rows <= KLT_ROWS);
    add_offset(l, b);
    weigh(l, b, x);
    for (size_t i = 0; i < b->rows * l->D; i++) first[i] = x[i] - b->state[i];
    if (!l->n) return;
    remat_multiply(first, b->rows, l->D, l->f, l->n, second, 0);
    b->coder->kern->transpose(second, l->n, b->rows, l->n, first, b->rows);
}

void klt_quantize(const klt_layer *l, klt_block *b, int multiplier)
{
    set_steps(b, multiplier);
    b->coder->kern->klt_quantize(b->temp, b->inverse, l->n, b->rows, klt_codes(l, b));
}

void klt_add(const klt_layer *l, klt_block *b)
{
    const kern *k = b->coder->kern;
    const kern_classes classes = klt_classes(l, b);
    float *turned = b->temp, *levels = b->temp + b->rows * l->D;

    /* a layer may store no component at all: its prediction is all there is */
    if (!l->n) return;
    k->klt_dequantize(&classes, klt_codes(l, b), b->coder->bias, b->step, turned);
    k->transpose(turned, b->rows, l->n, b->rows, levels, l->n);
    remat_multiply(levels, b->rows, l->n, l->b, l->D, b->state, 1);
}

/* --- bytes --- */

static size_t header_bytes(const klt_block *b)
{
    return 1 + b->rows / 2;
}

static void put_header(const klt_block *b, int multiplier)
{
    b->code[0] = (uint8_t)(multiplier - COARSEST);
    for (size_t t = 0; t < b->rows; t += 2)
        b->code[1 + t / 2] = (uint8_t)((b->weight[t] + MOST_WEIGHT) |
                                       (b->weight[t + 1] + MOST_WEIGHT) << 4);
}

/* Bytes may be anything: a weight that no encoder writes is still a number. */
static int read_header(klt_block *b)
{
    for (size_t t = 0; t < b->rows; t++) {
        const int w = b->code[1 + t / 2] >> (t % 2 * 4) & 15;

        b->weight[t] = (int8_t)(w - MOST_WEIGHT > MOST_WEIGHT ? MOST_WEIGHT : w - MOST_WEIGHT);
    }
    return b->code[0] + COARSEST;
}

/* How much coarser, in sixteenths, for codes that are too long by so many bits; 0: they fit. */
static int coarsen(const klt_layer *l, const klt_block *b)
{
    const double room = 8 * ((double)b->room - (double)header_bytes(b));
    const kern_classes classes = klt_classes(l, b);
    const double cost = (double)rans_cost(b->coder->rans, &classes, klt_codes(l, b));
    const double bits = cost / RANS_COST_ONE + 8 * RANS_OVERHEAD;
    const double over = bits - room;

    /* half of the components hold on to a bit an octave: rather a step too far than one more
     * round of coding */
    return over > 0 ? 1 + (int)(OCTAVE * over / (0.5 * (double)(l->n * b->rows) + 1)) : 0;
}

/* Quantize ever coarser until the codes fit. Returns their bytes, header and all; 0: they never
 * do. */
static size_t pack(const klt_layer *l, klt_block *b, int multiplier)
{
    const size_t header = header_bytes(b);

    for (int m = multiplier; m >= COARSEST && b->room > header;) {
        kern_classes classes;
        size_t bytes = RANS_NO_ROOM;
        int coarser;

        klt_quantize(l, b, m);
        coarser = coarsen(l, b);
        classes = klt_classes(l, b);
        if (!coarser)
            bytes = rans_encode(b->coder->rans, &classes, klt_codes(l, b), b->code + header,
                                b->room - header);
        if (bytes != RANS_NO_ROOM) {
            put_header(b, m);
            return header + bytes;
        }
        coarser = coarser ? coarser : 1;
        /* the coarsest is tried before nothing is coded: an estimate may go too far */
        m = m > COARSEST && m - coarser < COARSEST ? COARSEST : m - coarser;
    }
    return 0;
}

size_t klt_encode(const klt_layer *l, klt_block *b, const float *x, int multiplier)
{
    size_t bytes;

    klt_project(l, b);
    klt_transform(l, b, x);
    multiplier = multiplier > FINEST ? FINEST : multiplier < COARSEST ? COARSEST : multiplier;
    bytes = l->n ? pack(l, b, multiplier) : 0;
    if (bytes) {
        klt_add(l, b);
        return bytes;
    }
    /* no room at all: the prediction stands, which every decoder has */
    b->code[0] = NOTHING;
    return 1;
}

bool klt_read_multiplier(const uint8_t *code, int *multiplier)
{
    *multiplier = code[0] + COARSEST;
    return code[0] != NOTHING;
}

void klt_decode(const klt_layer *l, klt_block *b)
{
    const size_t header = header_bytes(b);
    kern_classes classes;

    assert(b->rows <= KLT_ROWS);
    klt_project(l, b);
    add_offset(l, b);
    if (b->room <= header || b->code[0] == NOTHING || !l->n) return;
    set_steps(b, read_header(b));
    classes = klt_classes(l, b);
    rans_decode(b->coder->rans, &classes, b->code + header, b->room - header, klt_codes(l, b));
    klt_add(l, b);
}
