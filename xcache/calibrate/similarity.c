/* similarity.c - every layer's inputs, keys and values beside those of the layer before. */
#include "xcache/calibrate/similarity.h"

#include <math.h>
#include <stdlib.h>

#include "xcache/codec/remat.h"

/* Keys and values are made for a few tokens at a time: of all layers of all tokens they would
 * be as large as the inputs twice over. */
enum { ROWS = 128 /* tokens at once */ };

/* Some tokens of one layer. */
typedef struct view {
    const float *x; /* [rows,D] */
    float *k, *v;   /* [rows,E] */
} view;

typedef struct work {
    const model *m;
    float *x;       /* [L,tokens,D] */
    float *weights; /* [L,2,E,D] */
    float *kv;      /* [2,2,ROWS,E]: of even and odd layers */
    size_t tokens;
} work;

/* Sum over rows of the cosine of a and b [rows,width]; 0 where one is 0. */
static double add_cosines(const float *a, const float *b, size_t rows, size_t width)
{
    double sum = 0;

    for (size_t t = 0; t < rows; t++, a += width, b += width) {
        double ab = 0, aa = 0, bb = 0;

        for (size_t i = 0; i < width; i++) {
            ab += (double)a[i] * (double)b[i];
            aa += (double)a[i] * (double)a[i];
            bb += (double)b[i] * (double)b[i];
        }
        if (aa > 0 && bb > 0) sum += ab / sqrt(aa * bb);
    }
    return sum;
}

static view view_layer(const work *w, size_t layer, size_t at, size_t rows)
{
    const model *m = w->m;
    /* two rooms in turn: a layer is compared with the one before it */
    const float *wk = w->weights + layer * 2 * m->E * m->D;
    const view out = {.x = w->x + (layer * w->tokens + at) * m->D,
                      .k = w->kv + layer % 2 * 2 * ROWS * m->E,
                      .v = w->kv + (layer % 2 * 2 + 1) * ROWS * m->E};

    /* before biases, norms and angles: what the weights make of neighbouring inputs */
    remat_multiply(out.x, rows, m->D, wk, m->E, out.k, 0);
    remat_multiply(out.x, rows, m->D, wk + m->E * m->D, m->E, out.v, 0);
    return out;
}

static void add_rows(const work *w, size_t at, size_t rows, similarity *sums)
{
    view before = view_layer(w, 0, at, rows);

    for (size_t l = 1; l < w->m->L; l++, sums++) {
        const view here = view_layer(w, l, at, rows);

        sums->x += add_cosines(before.x, here.x, rows, w->m->D);
        sums->k += add_cosines(before.k, here.k, rows, w->m->E);
        sums->v += add_cosines(before.v, here.v, rows, w->m->E);
        before = here;
    }
}

static err measure(work *w, const reader_model *r, const reader_text *text, similarity *out)
{
    const double n = (double)w->tokens;
    const stage silent = {0};

    w->x = malloc(w->m->L * w->tokens * w->m->D * sizeof *w->x);
    w->weights = remat_weights(w->m);
    w->kv = malloc(4 * ROWS * w->m->E * sizeof *w->kv);
    if (!w->x || !w->weights || !w->kv) return ERR_NOMEM;
    /* the whole text first: neighbours in depth are far apart in time */
    TRY(reader_record(r, text, &silent, w->x));
    for (size_t l = 0; l + 1 < w->m->L; l++) out[l] = (similarity){0, 0, 0};
    for (size_t at = 0; at < w->tokens; at += ROWS)
        add_rows(w, at, w->tokens - at < ROWS ? w->tokens - at : ROWS, out);
    for (size_t l = 0; l + 1 < w->m->L; l++)
        out[l] = (similarity){out[l].x / n, out[l].k / n, out[l].v / n};
    return ERR_OK;
}

err similarity_measure(const reader_model *r, const reader_text *text, similarity *out)
{
    work w = {.m = r->m, .tokens = text->rows * text->row_tokens};
    const err e = measure(&w, r, text, out);

    free(w.x);
    free(w.weights);
    free(w.kv);
    return e;
}
