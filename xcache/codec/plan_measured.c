/* plan_measured.c - how far from exact the modes of a model are, as its plan has measured it.
 *
 *   measured  klt at some ratios: one between two is at least as good as the larger
 *   plain     modes that need no plan, each for itself
 *
 * The worst of the texts counts. What is not in either list is unknown, never good. */
#include <math.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include "xcache/codec/plan.h"
#include "xcache/codec/plan_file.h"

/* A part of the file; of a mapped one it is read-only. */
const plan_measured *plan_read_measured(const plan *p)
{
    const plan_about a = plan_read_about(p);

    return (const void *)(p->bytes + plan_find_places(&a).measured);
}

const plan_plain *plan_read_plain(const plan *p)
{
    const plan_about a = plan_read_about(p);

    return (const void *)(p->bytes + plan_find_places(&a).plain);
}

const plan_measured *plan_measured_at(const plan *p, size_t i, char mode[16])
{
    const size_t ratios = p->header.measured;
    const plan_plain *plain;

    if (i < ratios) {
        const plan_measured *m = plan_read_measured(p) + i;

        snprintf(mode, 16, "klt%g", (double)m->ratio);
        return m;
    }
    if (i - ratios >= p->header.plain) return NULL;
    plain = plan_read_plain(p) + (i - ratios);
    snprintf(mode, 16, "%s", plain->mode);
    return &plain->measured;
}

/* --- checks --- */

static err check_one(const plan_measured *m, fault *why)
{
    const float *x = (const float *)m;

    /* so written that a NaN is refused, too */
    if (!(m->ratio >= 0 && m->ratio <= PLAN_RATIO_MAX))
        return err_blame(why, ERR_PLAN, "ratio");
    for (size_t i = 0; i < sizeof *m / sizeof *x; i++)
        if (!isfinite(x[i])) return err_blame(why, ERR_PLAN, "kl");
    return ERR_OK;
}

err plan_check_measured(const plan *p, fault *why)
{
    const plan_measured *m = plan_read_measured(p);
    const plan_plain *plain = plan_read_plain(p);

    for (size_t i = 0; i < p->header.measured; i++) {
        TRY(check_one(&m[i], why));
        if (i && m[i].ratio < m[i - 1].ratio) return err_blame(why, ERR_PLAN, "ratio");
    }
    for (size_t i = 0; i < p->header.plain; i++) {
        if (!memchr(plain[i].mode, '\0', sizeof plain[i].mode))
            return err_blame(why, ERR_PLAN, "mode");
        TRY(check_one(&plain[i].measured, why));
    }
    return ERR_OK;
}

/* --- what is known --- */

/* The largest of the texts that were measured. */
static double worst(const plan_measured *m)
{
    double kl = -1;

    for (int i = 0; i < PLAN_TEXTS; i++) kl = fmax(kl, (double)m->kl[i]);
    return kl;
}

static bool is_near(const plan_measured *m, double max_kl)
{
    const double kl = worst(m);

    return kl >= 0 && kl <= max_kl && m->ratio > 0;
}

double plan_kl(const plan *p, double ratio)
{
    const plan_measured *m = plan_read_measured(p);

    for (size_t i = 0; i < p->header.measured; i++)
        if ((double)m[i].ratio >= ratio) return worst(&m[i]);
    return -1;
}

double plan_plain_kl(const plan *p, const char *mode)
{
    const plan_plain *plain = plan_read_plain(p);

    for (size_t i = 0; i < p->header.plain; i++)
        if (strcmp(plain[i].mode, mode) == 0) return worst(&plain[i].measured);
    return -1;
}

double plan_best_ratio(const plan *p, double max_kl)
{
    const plan_measured *m = plan_read_measured(p);
    double best = 0;

    for (size_t i = 0; i < p->header.measured; i++)
        if (is_near(&m[i], max_kl)) best = (double)m[i].ratio;
    return best;
}

bool plan_best_mode(const plan *p, double max_kl, char mode[16])
{
    const plan_plain *plain = plan_read_plain(p);
    double best = plan_best_ratio(p, max_kl);

    if (best > 0) snprintf(mode, 16, "klt%g", best);
    for (size_t i = 0; i < p->header.plain; i++) {
        const plan_measured *m = &plain[i].measured;

        if (!is_near(m, max_kl) || (double)m->ratio <= best) continue;
        best = (double)m->ratio;
        snprintf(mode, 16, "%s", plain[i].mode);
    }
    return best > 0;
}
