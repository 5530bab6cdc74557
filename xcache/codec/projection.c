/* projection.c - int8 products with the forward pass's weights, or float ones with a copy. */
#include "xcache/codec/projection.h"

#include <stdlib.h>

#include "xcache/codec/remat.h"

err projection_open(projection *out, const model *m, const kern *k)
{
    *out = (projection){.m = m, .kern = k};
    /* callers are workers already, a block each: threads of BLAS inside them would fight for
     * the same cores */
    remat_alone();
    if (m->int8_kv) return ERR_OK;
    out->weights = remat_weights(m);
    return out->weights ? ERR_OK : ERR_NOMEM;
}

void projection_close(projection *p)
{
    free(p->weights);
    p->weights = NULL;
}

size_t projection_bytes(const model *m)
{
    /* of int8 weights nothing is kept twice: D = 4,096, E = 1,024, 32 layers would be 1.07 GB
     * of floats */
    return m->int8_kv ? 0 : remat_weight_bytes(m);
}

size_t projection_temp_floats(const model *m, size_t rows)
{
    return m->int8_kv ? remat_code_floats(rows, m->D) : 0;
}

void projection_run(const projection *p, size_t layer, const float *x, size_t rows, float *temp,
                    float *k, float *v)
{
    const size_t D = p->m->D, E = p->m->E;

    if (p->weights) {
        const float *w = p->weights + 2 * layer * E * D;

        remat_multiply(x, rows, D, w, E, k, 0);
        remat_multiply(x, rows, D, w + E * D, E, v, 0);
    } else {
        const model_layer *of = &p->m->layers[layer];
        /* coded once, multiplied twice: a rebuilt input goes through the same loops as the one
         * that was there, so it differs by what its codes lost and by nothing else */
        const matrix_input in = remat_code(p->kern, x, rows, D, temp);

        remat_multiply_packed(p->kern, &in, &of->k, k);
        remat_multiply_packed(p->kern, &in, &of->v, v);
    }
}
