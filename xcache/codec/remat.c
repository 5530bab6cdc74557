/* remat.c - products of whole blocks, in fixed column panels.
 *
 * OpenBLAS picks its loops by the shape of a call, so equal rows of calls of different shape
 * may differ in the last bit. Here the shape is always the same: all rows of a block, PANEL
 * columns. */
#include "xcache/codec/remat.h"

#include <cblas.h>
#include <stdlib.h>

enum { PANEL = 128 }; /* columns of one product; never changes with the number of workers */

void remat_multiply(const float *x, size_t rows, size_t inputs, const float *w, size_t outputs,
                    float *y, int add)
{
    for (size_t o = 0; o < outputs; o += PANEL)
        cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasTrans, (int)rows,
                    (int)(outputs - o < PANEL ? outputs - o : PANEL), (int)inputs, 1.0f, x,
                    (int)inputs, w + o * inputs, (int)inputs, add ? 1.0f : 0.0f, y + o,
                    (int)outputs);
}

/* Scales and sums of the groups, then the codes. */
size_t remat_code_floats(size_t rows, size_t D)
{
    return rows * (2 * (D / KERN_GROUP) + D / sizeof(float));
}

/* As forward codes a layer input: a rebuilt one meets the same weights in the same way. */
matrix_input remat_code(const kern *k, const float *x, size_t rows, size_t D, float *temp)
{
    const size_t groups = D / KERN_GROUP;
    kern_sums *sums = (kern_sums *)(void *)(temp + rows * groups);
    int8_t *q = (int8_t *)(void *)(temp + 2 * rows * groups);

    for (size_t t = 0; t < rows; t++)
        k->quantize_q8(x + t * D, D, q + t * D, temp + t * groups, sums + t * groups);
    return (matrix_input){.x = x, .q = q, .q_scale = temp, .q_sum = sums, .T = rows, .D = D};
}

void remat_multiply_packed(const kern *k, const matrix_input *x, const matrix *w, float *y)
{
    matrix_multiply(w, k, x, 0, w->panels, y, w->rows);
}

void remat_turn(const model *m, const kern *hot, float *k, size_t rows, size_t first,
                const remat_turned *to)
{
    for (size_t t = 0; t < rows; t++)
        rope_turn(to->rope, hot, k + t * m->E, m->G, m->C, first + t);
    /* a panel is 16 keys side by side; rows that begin inside one, as an open page's do, fill
     * the rest of it first */
    for (size_t t = 0, n; t < rows; t += n) {
        const size_t at = to->at + t, in = at % KERN_PANEL;

        n = rows - t < KERN_PANEL - in ? rows - t : KERN_PANEL - in;
        for (size_t g = 0; g < m->G; g++) {
            const float *from = k + t * m->E + g * m->C;
            const size_t place = (g * to->block_tokens + at - in) * m->C + in;

            if (to->format == KV_HALF)
                hot->transpose_half(from, m->E, n, m->C, (uint16_t *)to->kt + place,
                                    KERN_PANEL);
            else
                hot->transpose(from, m->E, n, m->C, (float *)to->kt + place, KERN_PANEL);
        }
    }
}

size_t remat_weight_bytes(const model *m)
{
    return m->L * 2 * m->E * m->D * sizeof(float);
}

void remat_alone(void)
{
    openblas_set_num_threads(1);
}

float *remat_weights(const model *m)
{
    float *w = malloc(remat_weight_bytes(m));

    for (size_t l = 0; w && l < m->L; l++) {
        /* from the file's rows, not from packed panels, whose order is the kernels' business */
        model_read_kv(m->layers[l].k_file, w + 2 * l * m->E * m->D);
        model_read_kv(m->layers[l].v_file, w + (2 * l + 1) * m->E * m->D);
    }
    remat_alone();
    return w;
}
