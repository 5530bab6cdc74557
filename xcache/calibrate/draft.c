/* draft.c - layers in memory of their own, laid out as a plan has them.
 *
 * The number of components of a layer is known only when its spectrum is, so each is allocated
 * by itself, and plan_make copies them side by side. */
#include "xcache/calibrate/draft.h"

#include <stdlib.h>
#include <string.h>

err draft_open(draft *d, const plan_about *about)
{
    *d = (draft){.D = about->D, .L = about->L, .predictor = about->predictor};
    d->budget = plan_budget(about->E, about->L, about->ratio);
    d->n = calloc(d->L, sizeof *d->n);
    d->layers = calloc(d->L, sizeof *d->layers);
    return d->n && d->layers ? ERR_OK : ERR_NOMEM;
}

void draft_restart(draft *d, double theta)
{
    for (size_t l = 0; d->layers && l < d->L; l++) {
        free(d->layers[l]);
        d->layers[l] = NULL;
    }
    /* n is written anew with each layer */
    d->code_bits = 0;
    d->theta = theta;
}

void draft_close(draft *d)
{
    draft_restart(d, 0);
    free(d->n);
    free(d->layers);
    *d = (draft){0};
}

static void copy_matrix(size_t D, const plan_matrix *from, const plan_matrix *to)
{
    memcpy(to->scale, from->scale, from->rows * sizeof *to->scale);
    memcpy(to->half, from->half, from->rows * D * sizeof *to->half);
}

err draft_add(draft *d, size_t l, const plan_layer *base, size_t n, plan_layer *out)
{
    void *bytes = calloc(1, plan_layer_bytes(d->D, d->predictor, n));

    if (!bytes) return ERR_NOMEM;
    d->n[l] = n;
    d->layers[l] = bytes;
    *out = plan_lay_out(bytes, d->D, d->predictor, n);
    /* the predictor is laid out before the components, and n moves everything behind the
     * scales: so part by part */
    memcpy(out->c, base->c, d->D * sizeof *out->c);
    copy_matrix(d->D, &base->down, &out->down);
    copy_matrix(d->D, &base->up, &out->up);
    return ERR_OK;
}

bool draft_fits(const draft *d)
{
    return d->code_bits <= d->budget;
}

void draft_swap(draft *a, draft *b)
{
    const draft old = *a;

    *a = *b;
    *b = old;
}
