/* klt.c - predict, code and decode a block of one layer.
 *
 *               state [B,D]        temp: first [B,D]       second [B,D]
 *    project    x^ of l-1          down x^                 its int8 codes
 *               + up (down x^)
 *    code       + c = x'           x - x'
 *                                  u turned [n,B] <------  u = F (x - x') [B,n]
 *                 |                codes, scale --------> the block
 *    levels       |                s * level [n,B] ------> turned [B,n]
 *               x' + B (s * level)
 *
 * Decode is project, + c, levels: the encoder's first and last steps, by the same calls.
 * Whatever rounds in them, int8 products too, rounds alike on both sides, and the next
 * difference is taken to it. Components are turned to rows because each has its own bits and
 * codes of one component are packed along tokens. */
#include "xcache/codec/klt.h"

#include <assert.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "engine/model/quantize.h"
#include "xcache/codec/minmax.h"
#include "xcache/codec/remat.h"

/* Of a token's scale: a half can hold it, and a row of zeros divides by no zero. */
#define LEAST_SCALE 1e-6f
#define MOST_SCALE  65504.0f

void klt_make_books(klt_books *out)
{
    for (int b = 0; b <= LLOYD_BITS; b++) lloyd_make(b, &out->of[b]);
}

/* --- factors --- */

/* Unpack a matrix and turn it: [rows,D] -> [D,rows], by way of temp [rows,D]. */
static void unpack_turned(const kern *k, size_t D, const plan_matrix *m, float *temp,
                          float *out)
{
    plan_unpack(k, D, m, temp);
    k->transpose(temp, D, m->rows, D, out, m->rows);
}

/* c, up, f, b, and the bits as bytes in whole floats behind them. */
static size_t count_floats(const klt_layer *l)
{
    return l->D * (1 + l->up_rows + 2 * l->n) + (l->n + 3) / 4;
}

static klt_layer describe(size_t D, const plan_layer *p)
{
    return (klt_layer){.D = D, .n = p->n, .down_rows = p->down.rows, .up_rows = p->up.rows};
}

/* The tensor that `down` is packed from; no data yet. */
static gguf_tensor describe_down(const klt_layer *l)
{
    /* int8 rows come in whole groups; a width that is none keeps floats */
    const bool whole = l->D % KERN_GROUP == 0;
    gguf_tensor t = {
        .type = whole ? GGUF_Q8_0 : GGUF_F32, .n_dims = 2, .dim = {l->D, l->down_rows, 1, 1}};
    size_t elements = 1, bytes = 0;

    (void)gguf_type_name(t.type, &elements, &bytes);
    t.bytes = l->down_rows * (l->D / elements) * bytes;
    return t;
}

/* Pack P - I, or its first factor, from floats [down_rows,D]. */
/* P - I and not P: x^ itself is added as it is, so eight bits are spent on what the prediction
 * changes. */
static err pack_down(klt_layer *l, const float *from)
{
    gguf_tensor t = describe_down(l);
    uint8_t *rows = malloc(t.bytes);
    err e = rows ? ERR_OK : ERR_NOMEM;

    for (size_t i = 0; rows && i < l->down_rows; i++)
        quantize_row(t.type, from + i * l->D, l->D, rows + t.bytes / l->down_rows * i);
    t.data = rows;
    if (e == ERR_OK) e = matrix_open(&l->down, &t);
    free(rows);
    return e;
}

/* Rows of the first of two factors become 1 at most, whatever units it was found in, so that
 * half scales hold them; what they lose the second has. */
static void level_down(klt_layer *l, float *down)
{
    for (size_t i = 0; i < l->up_rows; i++) {
        float *row = down + i * l->D, top = 0;

        for (size_t j = 0; j < l->D; j++) top = fmaxf(top, fabsf(row[j]));
        /* a row of zeros keeps its unit */
        if (!(top > 0)) continue;
        for (size_t j = 0; j < l->D; j++) row[j] /= top;
        for (size_t j = 0; j < l->D; j++) l->up[j * l->up_rows + i] *= top;
    }
}

/* Lay the floats out, and fill them by way of temp, which holds the largest factor. */
static err fill(klt_layer *l, const kern *k, const plan_layer *p, float *temp)
{
    const size_t D = l->D;

    l->c = l->memory;
    l->up = l->c + D;
    l->f = l->up + l->up_rows * D;
    l->b = l->f + l->n * D;
    l->bits = (uint8_t *)(l->b + l->n * D);
    memcpy(l->c, p->c, D * sizeof *l->c);
    memcpy(l->bits, p->bits, l->n);
    for (size_t i = 0; i < l->n; i++) l->code_bits += l->bits[i];
    unpack_turned(k, D, &p->up, temp, l->up);
    plan_unpack(k, D, &p->f, l->f);
    unpack_turned(k, D, &p->b, temp, l->b);
    if (!l->down_rows) return ERR_OK;
    plan_unpack(k, D, &p->down, temp);
    level_down(l, temp);
    return pack_down(l, temp);
}

err klt_open(klt_layer *out, const kern *k, size_t D, const plan_layer *p)
{
    klt_layer l = describe(D, p);
    const size_t most = p->down.rows > p->n ? p->down.rows : p->n; /* up has no more */
    float *temp = malloc((most * D + 1) * sizeof *temp);
    err e = ERR_NOMEM;

    l.memory = malloc(count_floats(&l) * sizeof *l.memory);
    if (temp && l.memory) e = fill(&l, k, p, temp);
    free(temp);
    if (e != ERR_OK) {
        klt_close(&l);
        return e;
    }
    *out = l;
    return ERR_OK;
}

void klt_close(klt_layer *l)
{
    if (l->down_rows) matrix_close(&l->down);
    free(l->memory);
    l->memory = NULL;
}

size_t klt_bytes(size_t D, const plan_layer *p)
{
    const klt_layer l = describe(D, p);
    const gguf_tensor down = describe_down(&l);

    return count_floats(&l) * sizeof(float) + (l.down_rows ? matrix_bytes(&down) : 0);
}

/* --- a block --- */

void klt_project(const klt_layer *l, const klt_block *b)
{
    const size_t n = b->rows * l->D;
    matrix_input in = {.x = b->state, .T = b->rows, .D = l->D};

    if (!l->down_rows) return;
    /* its activations are x^, coded as forward codes a layer input */
    if (matrix_wants_int8(&l->down))
        in = remat_code(b->kern, b->state, b->rows, l->D, b->temp + n);
    remat_multiply_packed(b->kern, &in, &l->down, b->temp);
    if (l->up_rows)
        remat_multiply(b->temp, b->rows, l->up_rows, l->up, l->D, b->state, 1);
    else
        for (size_t i = 0; i < n; i++) b->state[i] += b->temp[i];
}

static void add_offset(const klt_layer *l, const klt_block *b)
{
    for (size_t t = 0; t < b->rows; t++)
        for (size_t i = 0; i < l->D; i++) b->state[t * l->D + i] += l->c[i];
}

/* Each token's scale, as it is stored, of turned u [n,B]. */
static void measure_scales(const klt_layer *l, const klt_block *b, const float *turned)
{
    float rms[KLT_ROWS] = {0};

    /* component after component, so that a token's sum has one order in every twin */
    for (size_t i = 0; i < l->n; i++) b->kern->add_squares(turned + i * b->rows, b->rows, rms);
    for (size_t t = 0; t < b->rows; t++) {
        rms[t] = l->n ? sqrtf(rms[t] / (float)l->n) : 0;
        rms[t] = rms[t] < LEAST_SCALE ? LEAST_SCALE : rms[t] > MOST_SCALE ? MOST_SCALE : rms[t];
    }
    b->kern->float_to_half(rms, b->rows, b->scale);
}

/* Turned u [n,B] to codes. */
static void put_codes(const klt_layer *l, const klt_block *b, const float *turned)
{
    uint8_t *codes = b->codes, values[KLT_ROWS];
    float scale[KLT_ROWS];

    measure_scales(l, b, turned);
    /* the scale as it will be read, not as it was measured: codes are chosen for what decodes
     * them */
    b->kern->half_to_float(b->scale, b->rows, scale);
    for (size_t i = 0; i < l->n; i++) {
        b->kern->lloyd_encode(turned + i * b->rows, scale, b->rows,
                              &b->books->of[l->bits[i]].book, values);
        b->kern->pack_codes(values, b->rows, l->bits[i], codes);
        codes += minmax_bytes(b->rows, l->bits[i]);
    }
}

/* state += B (s * level), temp as [2] scratch. */
static void add_levels(const klt_layer *l, const klt_block *b)
{
    float *turned = b->temp, *levels = b->temp + b->rows * l->D, scale[KLT_ROWS];
    const uint8_t *codes = b->codes;
    uint8_t values[KLT_ROWS];

    b->kern->half_to_float(b->scale, b->rows, scale);
    for (size_t i = 0; i < l->n; i++) {
        b->kern->unpack_codes(codes, b->rows, l->bits[i], values);
        b->kern->lloyd_decode(values, scale, b->rows, &b->books->of[l->bits[i]].book,
                              turned + i * b->rows);
        codes += minmax_bytes(b->rows, l->bits[i]);
    }
    b->kern->transpose(turned, b->rows, l->n, b->rows, levels, l->n);
    /* a layer may store no component at all: its prediction is all there is */
    if (l->n) remat_multiply(levels, b->rows, l->n, l->b, l->D, b->state, 1);
}

void klt_code(const klt_layer *l, const klt_block *b, const float *x)
{
    float *first = b->temp, *second = b->temp + b->rows * l->D;

    assert(b->rows <= KLT_ROWS);
    add_offset(l, b);
    for (size_t i = 0; i < b->rows * l->D; i++) first[i] = x[i] - b->state[i];
    remat_multiply(first, b->rows, l->D, l->f, l->n, second, 0);
    b->kern->transpose(second, l->n, b->rows, l->n, first, b->rows);
    put_codes(l, b, first);
    add_levels(l, b);
}

void klt_encode(const klt_layer *l, const klt_block *b, const float *x)
{
    klt_project(l, b);
    klt_code(l, b, x);
}

void klt_decode(const klt_layer *l, const klt_block *b)
{
    assert(b->rows <= KLT_ROWS);
    klt_project(l, b);
    add_offset(l, b);
    add_levels(l, b);
}
