/* model.c - what is done with loaded weights beside products, and their end.
 *
 * forward and the cache must get the same keys from the same layer input, or a block that was
 * rebuilt would differ from one that was not: both call model_finish_kv. */
#include "engine/model/model.h"

#include <assert.h>
#include <stdlib.h>

static void close_ffn(model_ffn *f)
{
    matrix_close(&f->gate);
    matrix_close(&f->up);
    matrix_close(&f->down);
}

static void close_layer(model_layer *layer, size_t X)
{
    matrix_close(&layer->q);
    matrix_close(&layer->k);
    matrix_close(&layer->v);
    matrix_close(&layer->o);
    matrix_close(&layer->router);
    close_ffn(&layer->ffn);
    for (size_t i = 0; layer->experts && i < X; i++) close_ffn(&layer->experts[i]);
    free(layer->experts);
}

void model_close(model *m)
{
    if (!m) return;
    for (size_t l = 0; m->layers && l < m->L; l++) close_layer(&m->layers[l], m->X);
    matrix_close(&m->output);
    rope_close(&m->ropes[0]);
    rope_close(&m->ropes[1]);
    free(m->layers);
    free(m->vectors);
    free(m->scales);
    free(m);
}

bool model_is_mha(const model *m)
{
    return m->G == m->H;
}

/* Row by row from the mapping: an embedding of 100,000 rows in floats would be larger than
 * the model. */
void model_embed(const model *m, int32_t id, float *x)
{
    assert(id >= 0 && (size_t)id < m->V);
    (void)matrix_read_row(&m->embedding, (size_t)id, x); /* the type was checked at load */
    for (size_t d = 0; m->embed_scale != 1 && d < m->D; d++) x[d] *= m->embed_scale;
}

void model_read_kv(const gguf_tensor *file, float *w)
{
    for (size_t e = 0; e < file->dim[1]; e++)
        (void)matrix_read_row(file, e, w + e * file->dim[0]);
}

/* x [rows,width] += bias [width], where there is one. */
static void add_bias(float *x, const float *bias, size_t rows, size_t width)
{
    for (size_t t = 0; bias && t < rows; t++)
        for (size_t i = 0; i < width; i++) x[t * width + i] += bias[i];
}

/* Each of `heads` [C] by itself, where there is a gain. A head at a time: the norm is over C
 * numbers, whatever heads share the row. */
static void norm_heads(const model *m, const kern *hot, float *x, const float *gain,
                       size_t heads)
{
    for (size_t h = 0; gain && h < heads; h++)
        hot->rms_norm(x + h * m->C, gain, m->C, m->eps, x + h * m->C);
}

void model_finish_kv(const model *m, const kern *hot, size_t layer, float *k, float *v,
                     size_t T)
{
    const model_layer *of = &m->layers[layer];

    add_bias(k, of->k_bias, T, m->E);
    add_bias(v, of->v_bias, T, m->E);
    norm_heads(m, hot, k, of->k_norm, T * m->G);
    for (size_t t = 0; of->k_scale && t < T; t++) hot->scale(k + t * m->E, of->k_scale, m->E);
}

void model_scale_queries(const model *m, const kern *hot, const float *by, float *q, size_t T)
{
    for (size_t h = 0; h < T * m->H; h++)
        hot->scale(q + h * m->C, by + h % m->H / (m->H / m->G) * m->C, m->C);
}

void model_finish_q(const model *m, const kern *hot, size_t layer, float *q, size_t T)
{
    const model_layer *of = &m->layers[layer];

    add_bias(q, of->q_bias, T, m->H * m->C);
    norm_heads(m, hot, q, of->q_norm, T * m->H);
    if (of->q_scale) model_scale_queries(m, hot, of->q_scale, q, T);
}
