/* remat.c - whole blocks through OpenBLAS, in fixed column panels. */
#include "xcache/remat.h"

#include <cblas.h>
#include <stdlib.h>

enum { PANEL = 128 }; /* columns of one product; never changes with the number of workers */

err remat_open(remat *r, const model *m, const kern *k, size_t block_tokens)
{
    float *w = malloc(m->L * 2 * m->E * m->D * sizeof *w);

    if (!w) return ERR_NOMEM;
    *r = (remat){m, k, block_tokens, w};
    for (size_t l = 0; l < m->L; l++, w += 2 * m->E * m->D) {
        model_read_kv(m->layers[l].k_file, w);
        model_read_kv(m->layers[l].v_file, w + m->E * m->D);
    }
    openblas_set_num_threads(1); /* workers share the blocks instead */
    return ERR_OK;
}

void remat_close(remat *r)
{
    free(r->weights);
    r->weights = NULL;
}

/* y [B,E] = x [B,D] w^T, w [E,D] */
static void multiply(const remat *r, const float *x, const float *w, float *y)
{
    const size_t D = r->m->D, E = r->m->E;

    for (size_t e = 0; e < E; e += PANEL)
        cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasTrans, (int)r->block_tokens,
                    (int)(E - e < PANEL ? E - e : PANEL), (int)D, 1.0f, x, (int)D, w + e * D,
                    (int)D, 0.0f, y + e, (int)E);
}

void remat_block(const remat *r, int layer, const float *x, size_t first, float *k, float *v)
{
    const model *m = r->m;
    const float *w = r->weights + (size_t)layer * 2 * m->E * m->D;

    multiply(r, x, w, k);
    multiply(r, x, w + m->E * m->D, v);
    for (size_t t = 0; t < r->block_tokens; t++)
        rope_turn(&m->rope, r->kern, k + t * m->E, m->G, m->C, first + t);
}

size_t remat_bytes(const remat *r)
{
    return r->weights ? r->m->L * 2 * r->m->E * r->m->D * sizeof(float) : 0;
}
