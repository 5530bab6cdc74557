/* encoder.c - a group of texts, its rows one behind the other, layer by layer.
 *
 *   h [rows,D]      text 0      text 1           text 2
 *   k, v            | block 0   | block 1, 2     | block 3        of the layer at hand
 *
 *   KEYS   x = norm h; k, v = x Wk, x Wv; to the text's blocks        | all rows of a layer,
 *   ROWS   x = norm h; q = x Wq; h += attention; h += network         | in pieces; then all
 *                                                                     | rows again
 *
 * x is made twice, which costs a norm a row, and nothing but h waits between the two. A piece's
 * rows are chunks inside blocks, as a step's are, so attention is forward's: a text is a
 * context whose tiles are its blocks and which is appended to by KEYS alone. */
#include "engine/model/encoder.h"

#include <assert.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "engine/model/attention.h"
#include "engine/model/layer.h"
#include "engine/model/product.h"
#include "engine/model/step.h"

enum { LEAST_KEYS = 4096 }; /* that a group has room for: each text begins a block */

typedef struct text {
    size_t n, row, block; /* tokens; its first row and block in the group */
} text;

/* A chunk's text as its context. */
typedef struct text_view {
    context base;
    const encoder *of;
    const text *text;
} text_view;

typedef enum phase { KEYS, ROWS } phase;

struct encoder {
    forward *f;
    size_t longest, rows_most, blocks_most;
    int32_t *ids;   /* [rows_most] */
    float *h;       /* [rows_most,D] */
    float *k, *v;   /* [blocks_most,G,B/16,C,16] [blocks_most,G,B,C] */
    float *vectors; /* [blocks_most,width] */
    text *texts;    /* [blocks_most] */
    size_t n, rows, blocks;
    size_t layer, at; /* where the next piece begins */
    phase phase;
    forward_chunk *chunks; /* [max_rows] of a piece */
    text_view *views;      /* [max_rows] */
};

/* --- room --- */

static size_t larger(size_t a, size_t b)
{
    return a > b ? a : b;
}

static size_t rows_for(size_t longest)
{
    return larger(longest, ENCODER_GROUP_ROWS);
}

static size_t blocks_for(size_t longest, size_t block_tokens)
{
    return larger(longest + block_tokens - 1, LEAST_KEYS) / block_tokens;
}

static size_t width_of(const model *m)
{
    return m->dense[1].data ? m->dense[1].rows : m->dense[0].data ? m->dense[0].rows : m->D;
}

/* Vectors of a model with dense layers may be wider than D: not by more than all else here. */
size_t encoder_measure(const model *m, size_t longest, size_t block_tokens)
{
    const size_t blocks = blocks_for(longest, block_tokens);

    return sizeof(float) * (rows_for(longest) * (m->D + 1) + 2 * blocks * block_tokens * m->E +
                            blocks * larger(width_of(m), m->D));
}

err encoder_open(encoder **out, forward *f, size_t longest)
{
    const model *m = f->m;
    const size_t B = f->block_tokens, D = m->D;
    encoder *e;

    for (size_t i = 0; i < 2; i++) /* a row that is alone has the room of all */
        if (m->dense[i].rows > f->max_rows * m->widest_F) return ERR_RANGE;
    e = calloc(1, sizeof *e);
    if (!e) return ERR_NOMEM;
    *e = (encoder){.f = f, .longest = longest, .rows_most = rows_for(longest)};
    e->blocks_most = blocks_for(longest, B);
    /* pages that no text touches are never there */
    e->ids = malloc(e->rows_most * sizeof *e->ids);
    e->h = malloc(e->rows_most * D * sizeof *e->h);
    e->k = malloc(e->blocks_most * B * m->E * sizeof *e->k);
    e->v = malloc(e->blocks_most * B * m->E * sizeof *e->v);
    e->vectors = malloc(e->blocks_most * larger(width_of(m), D) * sizeof *e->vectors);
    e->texts = calloc(e->blocks_most, sizeof *e->texts);
    e->chunks = calloc(f->max_rows, sizeof *e->chunks);
    e->views = calloc(f->max_rows, sizeof *e->views);
    if (e->ids && e->h && e->k && e->v && e->vectors && e->texts && e->chunks && e->views) {
        *out = e;
        return ERR_OK;
    }
    encoder_close(e);
    return ERR_NOMEM;
}

void encoder_close(encoder *e)
{
    if (!e) return;
    free(e->ids);
    free(e->h);
    free(e->k);
    free(e->v);
    free(e->vectors);
    free(e->texts);
    free(e->chunks);
    free(e->views);
    free(e);
}

size_t encoder_longest(const encoder *e)
{
    return e->longest;
}

size_t encoder_width(const encoder *e)
{
    return width_of(e->f->m);
}

/* --- a group --- */

void encoder_clear(encoder *e)
{
    e->n = e->rows = e->blocks = e->layer = e->at = 0;
    e->phase = KEYS;
}

bool encoder_add(encoder *e, const int32_t *ids, size_t n)
{
    const size_t B = e->f->block_tokens, blocks = (n + B - 1) / B;

    assert(n > 0 && n <= e->longest);
    if (e->n && e->rows + n > ENCODER_GROUP_ROWS) return false;
    if (e->blocks + blocks > e->blocks_most) return false;
    memcpy(e->ids + e->rows, ids, n * sizeof *ids);
    e->texts[e->n++] = (text){n, e->rows, e->blocks};
    e->rows += n;
    e->blocks += blocks;
    return true;
}

size_t encoder_rows(const encoder *e)
{
    return e->rows;
}

size_t encoder_left(const encoder *e)
{
    return 2 * e->rows * (e->f->m->L - e->layer) - (e->phase == ROWS ? e->rows : 0) - e->at;
}

const float *encoder_vector(const encoder *e, size_t i)
{
    return e->vectors + i * width_of(e->f->m);
}

/* --- a text as a context --- */

static float *keys_of(const encoder *e, size_t block)
{
    return e->k + block * e->f->block_tokens * e->f->m->E;
}

static float *values_of(const encoder *e, size_t block)
{
    return e->v + block * e->f->block_tokens * e->f->m->E;
}

/* What queries come with is nothing: keys and values of the layer are all there. */
static void append_nothing(context *c, int layer, size_t first, const float *x, float *k,
                           const float *v, size_t T)
{
    (void)c, (void)layer, (void)first, (void)x, (void)k, (void)v, (void)T;
}

static size_t give_tile(context *c, int layer, size_t b, int slot, kv_tile *out)
{
    const text_view *view = (const text_view *)c;
    const encoder *e = view->of;
    const size_t B = c->block_tokens, left = view->text->n - b * B,
                 block = view->text->block + b;

    (void)layer, (void)slot;
    *out = kv_stored_tile(KV_FLOAT, keys_of(e, block), values_of(e, block), e->f->m->C, B);
    return left < B ? left : B;
}

static void keep_tile(context *c, int slot)
{
    (void)c, (void)slot;
}

static const context_ops text_ops = {
    .append = append_nothing, .tile = give_tile, .release = keep_tile};

/* --- a piece --- */

/* The text of a row, at or behind number i. */
static size_t text_at(const encoder *e, size_t row, size_t i)
{
    while (row >= e->texts[i].row + e->texts[i].n) i++;
    return i;
}

/* Rows from e->at on as chunks of their texts, each inside a block. */
static void cut(encoder *e, size_t rows)
{
    forward *f = e->f;
    const size_t B = f->block_tokens, end = e->at + rows;

    f->n_chunks = f->n_deferred = 0;
    f->rows = rows;
    f->h = e->h + e->at * f->m->D;
    for (size_t row = e->at, i = 0, T; row < end; row += T) {
        const text *t = &e->texts[i = text_at(e, row, i)];
        const size_t pos = row - t->row, in_block = B - pos % B, in_text = t->n - pos;

        T = in_block < in_text ? in_block : in_text;
        if (T > end - row) T = end - row;
        e->views[f->n_chunks] = (text_view){{&text_ops, B, false}, e, t};
        e->chunks[f->n_chunks] = (forward_chunk){.context = &e->views[f->n_chunks].base,
                                                 .ids = e->ids + row,
                                                 .T = T,
                                                 .pos = pos,
                                                 .sees = f->m->both_ways ? t->n : 0};
        f->chunks[f->n_chunks] = (step_chunk){.in = &e->chunks[f->n_chunks],
                                              .row = row - e->at};
        f->n_chunks++;
    }
}

/* h of a row: its token's embedding, and what stands for its place. */
static void embed_row(const forward *f, const forward_chunk *c, size_t t, float *h)
{
    const model *m = f->m;
    const float *type = m->token_type;

    model_embed(m, c->ids[t], h);
    for (size_t d = 0; type && d < m->D; d++) h[d] += type[d];
    if (m->positions.data) {
        float *place = f->x;

        (void)matrix_read_row(&m->positions, c->pos + t, place); /* checked at load */
        for (size_t d = 0; d < m->D; d++) h[d] += place[d];
    }
    if (m->embed_norm.gain) model_norm_row(m, f->kern, &m->embed_norm, h, h);
}

static void embed(forward *f)
{
    for (size_t i = 0; i < f->n_chunks; i++)
        for (size_t t = 0; t < f->chunks[i].in->T; t++)
            embed_row(f, f->chunks[i].in, t, f->h + (f->chunks[i].row + t) * f->m->D);
}

/* Row t of a chunk to its place in the text's blocks: keys turned, and in panels of 16. */
static void store_row(const encoder *e, const step_chunk *p, size_t t)
{
    const forward *f = e->f;
    const model *m = f->m;
    const text *of = ((const text_view *)p->in->context)->text;
    const size_t B = f->block_tokens, C = m->C, pos = p->in->pos + t, j = pos % B;
    float *from = f->k + (p->row + t) * m->E, *kt = keys_of(e, of->block + pos / B);
    float *v = values_of(e, of->block + pos / B);

    rope_turn(m->layers[e->layer].rope, f->kern, from, m->G, C, pos);
    for (size_t g = 0; g < m->G; g++) {
        f->kern->transpose(from + g * C, m->E, 1, C,
                           kt + (g * B + j / KERN_PANEL * KERN_PANEL) * C + j % KERN_PANEL,
                           KERN_PANEL);
        memcpy(v + (g * B + j) * C, f->v + (p->row + t) * m->E + g * C, C * sizeof *v);
    }
}

static void store_chunk(void *arg, int i, int slot)
{
    const encoder *e = arg;
    const step_chunk *p = &e->f->chunks[i];

    (void)slot;
    for (size_t t = 0; t < p->in->T; t++) store_row(e, p, t);
}

static void make_keys(encoder *e)
{
    forward *f = e->f;
    const model_layer *layer = &f->m->layers[e->layer];
    const product kv[] = {{&layer->k, f->k}, {&layer->v, f->v}};

    if (!e->layer) embed(f);
    product_run(f, product_add_norm(f, &layer->attn_norm, kv, 2), kv, 2);
    model_finish_kv(f->m, f->kern, e->layer, f->k, f->v, f->rows);
    f->team->run(f->team, store_chunk, e, (int)f->n_chunks);
}

static void make_rows(encoder *e)
{
    forward *f = e->f;
    const model_layer *layer = &f->m->layers[e->layer];
    const product q = {&layer->q, f->q};

    attention_plan(f);
    product_run(f, product_add_norm(f, &layer->attn_norm, &q, 1), &q, 1);
    model_finish_q(f->m, f->kern, e->layer, f->q, f->rows);
    layer_attend(f, e->layer);
    layer_network(f, e->layer);
    product_add_norm(f, NULL, NULL, 0);
}

/* --- the end --- */

/* y [D] = the row, or the mean of the rows, that stand for a text. Rows are added in their
 * order. */
static void pool(const encoder *e, const text *t, float *y)
{
    const model *m = e->f->m;
    const size_t first = m->pooling == MODEL_LAST ? t->n - 1 : 0,
                 end = m->pooling == MODEL_FIRST ? 1 : t->n;
    float *row = e->f->x;

    memset(y, 0, m->D * sizeof *y);
    for (size_t i = first; i < end; i++) {
        model_norm_row(m, e->f->kern, &m->output_norm, e->h + (t->row + i) * m->D, row);
        for (size_t d = 0; d < m->D; d++) y[d] += row[d];
    }
    for (size_t d = 0; d < m->D; d++) y[d] /= (float)(end - first);
}

/* y = W y. The buffers of a step have room for wide rows where one goes through alone. */
static void go_through(forward *f, const matrix *w, float *y)
{
    const product one = {w, f->gate};

    memcpy(f->x, y, w->cols * sizeof *y);
    product_run(f, (product_source){f->x, 1, false}, &one, 1);
    memcpy(y, f->gate, w->rows * sizeof *y);
}

/* A row of zeros has no direction, and stays. */
static void set_length(float *y, size_t n)
{
    double sum = 0;

    for (size_t i = 0; i < n; i++) sum += (double)y[i] * (double)y[i];
    for (size_t i = 0; sum > 0 && i < n; i++) y[i] = (float)((double)y[i] / sqrt(sum));
}

static void make_vector(encoder *e, size_t i)
{
    const model *m = e->f->m;
    float *y = e->f->up, *out = e->vectors + i * width_of(m);

    pool(e, &e->texts[i], y);
    for (size_t k = 0; k < 2; k++)
        if (m->dense[k].data) go_through(e->f, &m->dense[k], y);
    set_length(y, width_of(m));
    memcpy(out, y, width_of(m) * sizeof *y);
}

/* The next piece begins behind this one. */
static void advance(encoder *e, size_t rows)
{
    e->at += rows;
    if (e->at < e->rows) return;
    e->at = 0;
    e->layer += e->phase == ROWS;
    e->phase = e->phase == KEYS ? ROWS : KEYS;
}

bool encoder_step(encoder *e, size_t rows)
{
    forward *f = e->f;
    float *const own = f->h; /* forward's, whose rows are not ours */
    const size_t left = e->rows - e->at;

    assert(e->n > 0 && rows > 0 && e->layer < f->m->L);
    if (rows > left) rows = left;
    if (rows > f->max_rows) rows = f->max_rows;
    cut(e, rows);
    if (e->phase == KEYS)
        make_keys(e);
    else
        make_rows(e);
    f->h = own;
    advance(e, rows);
    if (e->layer < f->m->L) return false;
    for (size_t i = 0; i < e->n; i++) make_vector(e, i);
    return true;
}
