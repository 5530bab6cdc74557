/* model.c - what is done with loaded weights beside products, and their end.
 *
 * forward and the cache must get the same keys from the same layer input, or a block that was
 * rebuilt would differ from one that was not: both call model_finish_kv. */
#include "engine/model/model.h"

#include <assert.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

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
    matrix_close(&layer->shared_gate);
    close_ffn(&layer->ffn);
    close_ffn(&layer->shared);
    for (size_t i = 0; layer->experts && i < X; i++) close_ffn(&layer->experts[i]);
    free(layer->experts);
}

void model_close(model *m)
{
    if (!m) return;
    for (size_t l = 0; m->layers && l < m->L; l++) close_layer(&m->layers[l], m->X);
    matrix_close(&m->output);
    matrix_close(&m->dense[0]);
    matrix_close(&m->dense[1]);
    for (int i = 0; i < MODEL_ROPES; i++) rope_close(&m->ropes[i]);
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

void model_norm_row(const model *m, const kern *hot, const model_norm *n, const float *x,
                    float *y)
{
    if (!n->gain)
        memmove(y, x, m->D * sizeof *y);
    else if (m->arch->has & ARCH_LAYER_NORM)
        hot->layer_norm(x, n->gain, n->bias, m->D, m->eps, y);
    else
        hot->rms_norm(x, n->gain, m->D, m->eps, y);
}

size_t model_window(const model *m, size_t layer)
{
    return m->windowed[layer / 8] >> layer % 8 & 1 ? m->window : 0;
}

size_t model_first_key(const model *m, size_t layer, size_t pos)
{
    const size_t window = model_window(m, layer);

    if (!window) return 0;
    if (m->both_ways) return pos > window / 2 ? pos - window / 2 : 0;
    if (m->arch->has & ARCH_CHUNKED) return pos / window * window;
    return pos + 1 > window ? pos + 1 - window : 0;
}

size_t model_last_key(const model *m, size_t layer, size_t pos, size_t keys)
{
    const size_t window = model_window(m, layer), reach = pos + window / 2;

    return window && reach < keys - 1 ? reach : keys - 1;
}

/* Llama 4's is of the layers without rotary positions, Mistral's of all. */
float model_query_scale(const model *m, size_t layer, size_t pos)
{
    const bool rotates = m->layers[layer].rope->n > 0;

    if (m->temper == 0 || (rotates && m->arch->has & ARCH_TEMPERED)) return 1;
    return (float)(1 + m->temper * log(1 + floor((double)(pos + m->temper_offset) /
                                                 (double)m->temper_floor)));
}

/* x [rows,width] += bias [width], where there is one. */
static void add_bias(float *x, const float *bias, size_t rows, size_t width)
{
    for (size_t t = 0; bias && t < rows; t++)
        for (size_t i = 0; i < width; i++) x[t * width + i] += bias[i];
}

/* What shares one mean square: a head of C, or all heads of a row. */
typedef struct head_norm {
    const float *gain; /* [width] of a row */
    size_t width, each;
} head_norm;

static void norm_heads(const model *m, const kern *hot, const head_norm *n, float *x, size_t T)
{
    for (size_t i = 0; n->gain && i < T * n->width; i += n->each) {
        const float *gain = n->gain + i % n->width;

        if (m->arch->has & ARCH_LAYER_NORM)
            hot->layer_norm(x + i, gain, NULL, n->each, m->eps, x + i);
        else
            hot->rms_norm(x + i, gain, n->each, m->eps, x + i);
    }
}

void model_finish_kv(const model *m, const kern *hot, size_t layer, float *k, float *v,
                     size_t T)
{
    const model_layer *of = &m->layers[layer];

    add_bias(k, of->k_bias, T, m->E);
    add_bias(v, of->v_bias, T, m->E);
    norm_heads(m, hot, &(head_norm){of->k_norm, m->E, of->whole_norm ? m->E : m->C}, k, T);
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
    const size_t Q = m->H * m->C;

    add_bias(q, of->q_bias, T, Q);
    norm_heads(m, hot, &(head_norm){of->q_norm, Q, of->whole_norm ? Q : m->C}, q, T);
    if (of->q_scale) model_scale_queries(m, hot, of->q_scale, q, T);
}
