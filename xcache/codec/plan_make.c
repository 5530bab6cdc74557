/* plan_make.c - packs factors, lays a plan out in memory, and writes it.
 *
 * What is made is checked by the reader's own checks before anyone has it: what can be made can
 * be opened anywhere. */
#include <assert.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

#include "engine/new_file.h"
#include "xcache/codec/plan.h"
#include "xcache/codec/plan_file.h"

enum { CODE_MAX = 127, SHARE_MAX = 255 };

/* --- packing --- */

static double largest(const double *row, size_t n)
{
    double most = 0;

    for (size_t i = 0; i < n; i++) most = fmax(most, fabs(row[i]));
    return most;
}

/* One group, n values: codes of up to 127, in units of `unit` times the share that is returned.
 */
static uint8_t pack_group(const double *x, size_t n, double unit, int8_t *code)
{
    /* up, so that no code has to be cut; a group far below the row's largest gets one unit */
    const double share = unit > 0 ? ceil(largest(x, n) / (unit * CODE_MAX) - 1e-9) : 0;

    for (size_t i = 0; i < n; i++)
        code[i] = (int8_t)(share > 0 ? nearbyint(x[i] / (unit * share)) : 0);
    return (uint8_t)share;
}

void plan_pack(size_t D, const double *rows, const plan_matrix *out)
{
    const size_t groups = plan_groups(D);

    for (size_t r = 0; r < out->rows; r++, rows += D) {
        /* a scale a row: rows are components, whose magnitudes differ by orders; and shares of
         * it, for channels of real models differ by as much */
        const double unit = largest(rows, D) / (CODE_MAX * (double)SHARE_MAX);

        out->scale[r] = (float)unit;
        for (size_t g = 0; g < groups; g++) {
            const size_t at = g * PLAN_GROUP, n = D - at < PLAN_GROUP ? D - at : PLAN_GROUP;

            out->share[r * groups + g] = pack_group(rows + at, n, unit, out->code + r * D + at);
        }
    }
}

void plan_unpack(size_t D, const plan_matrix *m, float *rows)
{
    const size_t groups = plan_groups(D);

    for (size_t r = 0; r < m->rows; r++)
        for (size_t i = 0; i < D; i++)
            rows[r * D + i] = m->scale[r] * (float)(m->share[r * groups + i / PLAN_GROUP] *
                                                    m->code[r * D + i]);
}

void plan_pack_form(size_t C, const double *rows, const plan_form *out)
{
    for (size_t r = 0; r < out->rows; r++, rows += C) {
        const double most = largest(rows, C);

        /* to 1 at most: sensitivities have any magnitude, which a half could not hold */
        out->scale[r] = (float)most;
        for (size_t i = 0; i < C; i++)
            out->half[r * C + i] = kern_half(most > 0 ? (float)(rows[i] / most) : 0);
    }
}

void plan_unpack_form(const kern *k, size_t C, const plan_form *f, float *rows)
{
    k->half_to_float(f->half, f->rows * C, rows);
    for (size_t r = 0; r < f->rows; r++)
        for (size_t i = 0; i < C; i++) rows[r * C + i] *= f->scale[r];
}

/* --- making --- */

/* The sum is over the header that will be written, checksum aside: it is put in last. */
static void seal(plan *p)
{
    p->header.checksum = 0;
    memcpy(p->owned, &p->header, sizeof p->header);
    p->header.checksum = XXH3_64bits(p->owned + PLAN_SUMMED_FROM, p->n - PLAN_SUMMED_FROM);
    memcpy(p->owned, &p->header, sizeof p->header);
}

/* Layer 0 has no part: it is free, coded from the token's embedding. */
static size_t count_bytes(const plan_parts *in)
{
    size_t bytes = plan_find_places(&in->about).layers;

    for (size_t l = 1; l < in->about.L; l++) bytes += plan_layer_bytes(&in->about, in->n[l]);
    return bytes;
}

static void copy_parts(plan *p, const plan_parts *in)
{
    const plan_about *a = &in->about;
    const plan_places to = plan_find_places(a);
    uint32_t *counts = (uint32_t *)(void *)(p->owned + to.counts);
    size_t at = to.layers;

    memcpy(p->owned + to.rates, in->rates.step, a->steps * sizeof(float));
    memcpy(p->owned + to.rates + a->steps * sizeof(float), in->rates.bits,
           a->steps * a->L * sizeof(float));
    memcpy(p->owned + to.tables, in->tables.frequency,
           PLAN_TABLES * sizeof *in->tables.frequency);
    memcpy(p->owned + to.tables + PLAN_TABLES * sizeof *in->tables.frequency, in->tables.bias,
           PLAN_TABLES * sizeof(float));
    for (size_t l = 1; l < a->L; l++) {
        const size_t bytes = plan_layer_bytes(a, in->n[l]);

        counts[l] = (uint32_t)in->n[l];
        memcpy(p->owned + at, in->layers[l], bytes);
        at += bytes;
    }
}

static plan_header describe(const plan_about *a, size_t file_bytes)
{
    return (plan_header){.magic = {'X', 'P', 'L', 'N'},
                         .version = PLAN_VERSION,
                         .file_bytes = file_bytes,
                         .model = a->model,
                         .layers = (uint32_t)a->L,
                         .width = (uint32_t)a->D,
                         .kv_width = (uint32_t)a->E,
                         .head_width = (uint32_t)a->C,
                         .predictor = (uint32_t)a->predictor.kind,
                         .rank = (uint32_t)a->predictor.rank,
                         .steps = (uint32_t)a->steps,
                         .measured = (uint32_t)a->measured,
                         .plain = (uint32_t)a->plain};
}

err plan_make(plan **out, const plan_parts *in)
{
    plan *p = calloc(1, sizeof *p);
    err e = ERR_NOMEM;

    if (!p) return e;
    p->n = count_bytes(in);
    p->owned = calloc(1, p->n);
    if (p->owned) {
        p->bytes = p->owned;
        p->header = describe(&in->about, p->n);
        copy_parts(p, in);
        seal(p);
        /* No blame: what is wrong here is a bug of whoever made the parts, not a file of a
         * person. */
        e = plan_check(p, NULL);
    }
    if (e != ERR_OK) {
        plan_close(p);
        return e;
    }
    *out = p;
    return ERR_OK;
}

void plan_record(plan *p, const plan_measured *list, const plan_plain *plain, size_t tokens)
{
    const plan_about a = plan_read_about(p);
    const plan_places at = plan_find_places(&a);

    /* a mapped plan is read-only, and its sum would no longer be the file's */
    assert(p->owned);
    memcpy(p->owned + at.measured, list, a.measured * sizeof *list);
    if (a.plain) memcpy(p->owned + at.plain, plain, a.plain * sizeof *plain);
    p->header.kl_tokens = (uint32_t)tokens;
    seal(p);
}

/* --- writing --- */

/* Asked before minutes of calibration, not after them. */
err plan_try_path(const char *path)
{
    new_file f;
    const err e = new_file_open(&f, path);

    new_file_drop(&f);
    return e;
}

err plan_write(const plan *p, const char *path)
{
    new_file f;
    err e = new_file_open(&f, path);

    if (e == ERR_OK) e = new_file_write(&f, p->bytes, p->n);
    if (e == ERR_OK) e = new_file_keep(&f);
    new_file_drop(&f);
    return e;
}
