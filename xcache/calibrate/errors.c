/* errors.c - one layer's findings after the other.
 *
 *    influence (attention, rows shared out by layers)  -> forms F, weights of tokens
 *    sensitivity (noise, a layer at a time)            -> a factor a layer
 *    form = factor (F + base) -> metric;   weights, x -> salience */
#include "xcache/calibrate/errors.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "xcache/calibrate/dense.h"
#include "xcache/calibrate/influence.h"
#include "xcache/calibrate/salience.h"
#include "xcache/calibrate/sensitivity.h"

/* Layers that a prediction is made for besides its own, and what they count. */
enum { AHEAD = 3 };
static const double ahead_share = .5;

/* What everything here works on. */
typedef struct work {
    errors *s;
    const reader_model *r;
    inputs *text;
    size_t rows;
    const int32_t *ids;
    algebra *algebra;
    float *x; /* [N,D] */
} work;

static size_t form_numbers(const errors *s)
{
    return 2 * s->E * s->C;
}

double *errors_form(const errors *s, size_t l)
{
    return s->forms + l * form_numbers(s);
}

float *errors_salience(const errors *s, size_t l)
{
    return s->saliences + l * (s->D + 1);
}

metric errors_metric(const errors *s, size_t l)
{
    double *a = s->metrics + 2 * l * s->D * s->D;

    return (metric){a, a + s->D * s->D, s->floors[l]};
}

/* --- forms --- */

/* The forms are ours, the weights [L,2,N] the caller's. */
static void lay_out_influence(const work *w, influence *list, float *weights)
{
    const size_t N = w->rows * w->text->row_tokens;

    for (size_t l = 0; l < w->s->L; l++)
        list[l] = (influence){.form = errors_form(w->s, l),
                              .key = weights + 2 * l * N,
                              .value = weights + (2 * l + 1) * N};
}

/* Neighbours are much alike, and what one text says of each is not exact: in logarithms a layer
 * counts half, its neighbours a quarter. But not where a norm stands behind attention: a form
 * is in units of what that norm divides by, and in Gemma 3 270M these differ by 100 from one
 * layer to the next. */
static void smooth(const model *m, double *x)
{
    double before = x[1];

    for (size_t l = 1; l < m->L && !m->layers[l].attn_post; l++) {
        const double here = x[l], next = l + 1 < m->L ? x[l + 1] : here;

        x[l] = sqrt(here * sqrt(before * next));
        before = here;
    }
}

/* Forms get their base and then, by what noise in them does, one unit in all layers. */
static err scale_forms(const work *w, influence *list, const stage *p)
{
    const errors *s = w->s;
    sensitivity_layer *layers = calloc(s->L, sizeof *layers);
    double *factor = calloc(s->L, sizeof *factor);
    err e = layers && factor ? ERR_OK : ERR_NOMEM;

    for (size_t l = 0; l < s->L && e == ERR_OK; l++) {
        metric_mix(&list[l], s->E, s->C);
        layers[l] = (sensitivity_layer){list[l].form, list[l].power};
    }
    if (e == ERR_OK) e = sensitivity_find(w->r, w->text, w->ids, layers, factor, p);
    if (e == ERR_OK) smooth(w->r->m, factor);
    /* half the second derivative is what KL is of a small error */
    for (size_t l = 0; l < s->L && e == ERR_OK; l++)
        for (size_t i = 0; i < form_numbers(s); i++) list[l].form[i] *= 2 * factor[l];
    free(layers);
    free(factor);
    return e;
}

static err find_saliences(const work *w, const influence *list)
{
    /* Layer 0 is never coded, so no token of it weighs anything. */
    memset(errors_salience(w->s, 0), 0, (w->s->D + 1) * sizeof(float));
    for (size_t l = 1; l < w->s->L; l++) {
        inputs_read_rows(w->text, l, 0, w->rows, w->x);
        TRY(salience_fit(w->algebra, w->text, w->rows, w->x, &list[l], errors_salience(w->s, l),
                         NULL));
    }
    return ERR_OK;
}

static err find_influence(const work *w, const stage *p)
{
    /* Rough shares of the time, for the bar alone. */
    const stage look = stage_part(p, 0, 0.4), noise = stage_part(p, 0.4, 0.6);
    float *weights = malloc(2 * w->s->L * w->rows * w->text->row_tokens * sizeof *weights);
    influence *list = calloc(w->s->L, sizeof *list);
    err e = weights && list ? ERR_OK : ERR_NOMEM;

    if (e == ERR_OK) {
        lay_out_influence(w, list, weights);
        e = influence_find(w->r, w->text, w->rows, list, &look);
    }
    if (e == ERR_OK) e = scale_forms(w, list, &noise);
    if (e == ERR_OK) e = find_saliences(w, list);
    free(list);
    free(weights);
    return e;
}

/* --- metrics --- */

/* The mean square of an element of A x, of some tokens: a hundredth of them is enough. */
static double weigh_layer(const work *w, const metric *m)
{
    const size_t D = w->s->D, apart = 97;
    double sum = 0;
    size_t n = 0;

    for (size_t t = 0; t < w->rows * w->text->row_tokens; t += apart, n++)
        for (size_t i = 0; i < D; i++) {
            double y = 0;

            for (size_t j = 0; j < D; j++) y += m->a[i * D + j] * (double)w->x[t * D + j];
            sum += y * y;
        }
    return sum / (double)(n * D);
}

static err find_metrics(const work *w)
{
    const model *m = w->r->m;
    float *weights = malloc(2 * m->E * m->D * sizeof *weights);
    double sum = 0;
    err e = weights ? ERR_OK : ERR_NOMEM;

    for (size_t l = 1; e == ERR_OK && l < m->L; l++) {
        metric out = errors_metric(w->s, l);

        model_read_kv(m->layers[l].k_file, weights);
        model_read_kv(m->layers[l].v_file, weights + m->E * m->D);
        e = metric_find(w->algebra, weights, errors_form(w->s, l), m->E, m->C, &out);
        w->s->floors[l] = out.floor;
        inputs_read_rows(w->text, l, 0, w->rows, w->x);
        if (e == ERR_OK) sum += weigh_layer(w, &out);
    }
    w->s->scale = 0.5 * log2(fmax(sum / (double)m->L, 1e-30));
    free(weights);
    return e;
}

/* out += share A^2 / tr A^2 of a layer. */
static void add_weight(const errors *s, team *t, size_t l, double share, double *temp,
                       double *out)
{
    const size_t D = s->D;
    const double *a = errors_metric(s, l).a;
    double trace = 0;

    dense_multiply(t, a, D, D, a, D, false, temp);
    for (size_t i = 0; i < D; i++) trace += temp[i * D + i];
    for (size_t i = 0; i < D * D; i++) out[i] += share / trace * temp[i];
}

void errors_weight(const errors *s, team *t, size_t l, double *temp, double *out)
{
    memset(out, 0, s->D * s->D * sizeof *out);
    add_weight(s, t, l, 1, temp, out);
    for (size_t next = l + 1; next < s->L && next <= l + AHEAD; next++)
        add_weight(s, t, next, ahead_share, temp, out);
}

/* --- opening --- */

static err take_memory(errors *s)
{
    const size_t forms = s->L * form_numbers(s) * sizeof *s->forms;
    const size_t metrics = 2 * s->L * s->D * s->D * sizeof *s->metrics;
    const size_t saliences = s->L * (s->D + 1) * sizeof *s->saliences;

    s->bytes = forms + metrics + saliences;
    s->forms = malloc(forms);
    s->metrics = malloc(metrics);
    s->saliences = malloc(saliences);
    s->floors = calloc(s->L, sizeof *s->floors);
    return s->forms && s->metrics && s->saliences && s->floors ? ERR_OK : ERR_NOMEM;
}

err errors_open(errors *out, const reader_model *r, inputs *text, size_t rows,
                const int32_t *ids, algebra *a, float *x, const stage *p)
{
    const model *m = r->m;
    const work w = {out, r, text, rows, ids, a, x};

    *out = (errors){.L = m->L, .D = m->D, .E = m->E, .C = m->C};
    TRY(take_memory(out));
    TRY(find_influence(&w, p));
    TRY(find_metrics(&w));
    return inputs_check(text);
}

void errors_close(errors *s)
{
    free(s->forms);
    free(s->metrics);
    free(s->saliences);
    free(s->floors);
    *s = (errors){0};
}
