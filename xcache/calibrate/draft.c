/* draft.c - layers in memory of their own, laid out as a plan has them.
 *
 * The number of components of a layer is known only when its spectrum is, so each is allocated
 * by itself, and plan_make copies them side by side. */
#include "xcache/calibrate/draft.h"

#include <stdlib.h>
#include <string.h>

err draft_open(draft *d, const plan_about *about)
{
    *d = (draft){.about = *about};
    d->n = calloc(about->L, sizeof *d->n);
    d->layers = calloc(about->L, sizeof *d->layers);
    return d->n && d->layers ? ERR_OK : ERR_NOMEM;
}

void draft_close(draft *d)
{
    for (size_t l = 0; d->layers && l < d->about.L; l++) free(d->layers[l]);
    free(d->n);
    free(d->layers);
    *d = (draft){0};
}

static void copy_matrix(size_t D, const plan_matrix *from, const plan_matrix *to)
{
    memcpy(to->scale, from->scale, from->rows * sizeof *to->scale);
    memcpy(to->share, from->share, from->rows * plan_groups(D));
    memcpy(to->code, from->code, from->rows * D * sizeof *to->code);
}

err draft_add(draft *d, size_t l, const plan_layer *base, size_t n, plan_layer *out)
{
    const plan_about *a = &d->about;
    void *bytes = calloc(1, plan_layer_bytes(a, n));

    if (!bytes) return ERR_NOMEM;
    free(d->layers[l]);
    d->n[l] = n;
    d->layers[l] = bytes;
    *out = plan_lay_out(bytes, a, n);
    /* n moves everything behind sigma: so part by part */
    memcpy(out->c, base->c, a->D * sizeof *out->c);
    memcpy(out->diagonal, base->diagonal, a->D * sizeof *out->diagonal);
    memcpy(out->salience, base->salience, (a->D + 1) * sizeof *out->salience);
    *out->floor = *base->floor;
    memcpy(out->form.scale, base->form.scale, out->form.rows * sizeof *out->form.scale);
    memcpy(out->form.half, base->form.half, out->form.rows * a->C * sizeof *out->form.half);
    copy_matrix(a->D, &base->down, &out->down);
    copy_matrix(a->D, &base->up, &out->up);
    return ERR_OK;
}

plan_layer draft_layer(const draft *d, size_t l)
{
    return plan_lay_out(d->layers[l], &d->about, d->n[l]);
}
