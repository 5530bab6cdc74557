/* importance.c - listens to every product of a forward pass.
 *
 *   input          heard at               serves
 *   of attention   q                      attn_q, attn_k, attn_v, attn_qkv
 *   of heads       o                      attn_output
 *   of a network   its gate               gate, up; of experts one for each
 *   of its middle  its down               down
 *   of the output  output                 output, or the embedding that it is
 *
 * Sums are in double: squares of a long text differ by many magnitudes. */
#include "xcache/calibrate/importance.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* One input: the matrix that it is heard at. */
typedef struct entry {
    const matrix *at;
    double *sum; /* [at->cols] */
    float *mean; /* the same, when all is read */
    size_t rows;
} entry;

struct importance {
    const model *m;
    entry *list; /* [n] by address */
    size_t n;
};

/* --- entries --- */

static int by_address(const void *a, const void *b)
{
    const matrix *const x = ((const entry *)a)->at, *const y = ((const entry *)b)->at;

    return (x > y) - (x < y);
}

static entry *find(const importance *i, const matrix *at)
{
    const entry key = {.at = at};

    return at ? bsearch(&key, i->list, i->n, sizeof key, by_address) : NULL;
}

static void add(importance *i, const matrix *at)
{
    if (at->data) i->list[i->n++].at = at;
}

static void add_network(importance *i, const model_ffn *ffn)
{
    add(i, &ffn->gate);
    add(i, &ffn->down);
}

static err list_inputs(importance *i)
{
    const model *m = i->m;

    i->list = calloc(m->L * (6 + 2 * m->X) + 1, sizeof *i->list);
    if (!i->list) return ERR_NOMEM;
    for (size_t l = 0; l < m->L; l++) {
        const model_layer *layer = &m->layers[l];

        add(i, &layer->q);
        add(i, &layer->o);
        add_network(i, &layer->ffn);
        add_network(i, &layer->shared);
        for (size_t e = 0; layer->experts && e < m->X; e++) add_network(i, &layer->experts[e]);
    }
    add(i, &m->output);
    qsort(i->list, i->n, sizeof *i->list, by_address);
    for (size_t e = 0; e < i->n; e++) {
        i->list[e].sum = calloc(i->list[e].at->cols, sizeof *i->list[e].sum);
        i->list[e].mean = calloc(i->list[e].at->cols, sizeof *i->list[e].mean);
        if (!i->list[e].sum || !i->list[e].mean) return ERR_NOMEM;
    }
    return ERR_OK;
}

/* --- reading --- */

static void hear(void *arg, const matrix *at, const float *x, size_t T)
{
    const importance *i = arg;
    entry *e = find(i, at);

    if (!e) return;
    for (size_t t = 0; t < T; t++, x += at->cols)
        for (size_t c = 0; c < at->cols; c++) e->sum[c] += (double)x[c] * (double)x[c];
    e->rows += T;
}

/* The output is multiplied only where logits are asked for. */
static void ignore(void *arg, size_t row, const float *logits)
{
    (void)arg;
    (void)row;
    (void)logits;
}

static err read_row(cache *c, forward *f, const int32_t *ids, const reader_model *r, size_t n)
{
    forward_chunk chunk = {.ids = ids, .see = ignore};

    TRY(cache_begin(c, &(cache_request){.tokens = n}, &chunk.context));
    for (size_t at = 0; at < n; at += chunk.T, chunk.ids += chunk.T) {
        chunk.T = n - at < r->block_tokens ? n - at : r->block_tokens;
        reader_step(f, &chunk, 1);
    }
    cache_end(chunk.context);
    return ERR_OK;
}

/* With exact keys and values: what a model is quantized for is the model. */
static err read_text(importance *i, const reader_model *r, const reader_text *text,
                     const stage *p)
{
    static const reader_mode exact = {"kv32", NULL};
    const reader_room room = {
        .contexts = 1, .tokens = text->row_tokens, .page_format = KV_FLOAT};
    forward *f = NULL;
    cache *c = NULL;
    err e = reader_open_cache(r, &exact, &room, &c);

    if (e == ERR_OK)
        e = forward_open(&f, r->m, r->kern, r->team, r->block_tokens, r->block_tokens);
    if (e == ERR_OK) forward_hear(f, hear, i);
    for (size_t row = 0; e == ERR_OK && row < text->rows; row++) {
        e = read_row(c, f, text->ids + row * text->row_tokens, r, text->row_tokens);
        stage_tell(p, (double)(row + 1) / (double)text->rows);
    }
    forward_close(f);
    cache_close(c);
    return e;
}

/* A channel that is never used still gets a little, or its weights could become anything. */
static void finish(entry *e)
{
    double all = 0;

    for (size_t c = 0; c < e->at->cols; c++) all += e->sum[c];
    for (size_t c = 0; c < e->at->cols; c++)
        e->mean[c] = (float)((e->sum[c] + 1e-4 * all / (double)e->at->cols) /
                             (double)(e->rows + 1));
    if (!(all > 0)) e->rows = 0;
}

err importance_open(importance **out, const reader_model *r, const reader_text *text,
                    const stage *p)
{
    importance *i = calloc(1, sizeof *i);
    err e = i ? ERR_OK : ERR_NOMEM;

    if (e != ERR_OK) return e;
    i->m = r->m;
    e = list_inputs(i);
    if (e == ERR_OK) e = read_text(i, r, text, p);
    if (e != ERR_OK) {
        importance_close(i);
        return e;
    }
    for (size_t k = 0; k < i->n; k++) finish(&i->list[k]);
    *out = i;
    return ERR_OK;
}

void importance_close(importance *i)
{
    if (!i) return;
    for (size_t k = 0; k < i->n; k++) {
        free(i->list[k].sum);
        free(i->list[k].mean);
    }
    free(i->list);
    free(i);
}

/* --- by name --- */

static bool begins(const char *text, const char *with)
{
    return strncmp(text, with, strlen(with)) == 0;
}

static const matrix *matrix_of(const model *m, size_t l, const char *part, size_t plane)
{
    const model_layer *layer = &m->layers[l];
    const bool expert = strstr(part, "_exps.") != NULL;
    const model_ffn *ffn = strstr(part, "_shexp.") ? &layer->shared : &layer->ffn;

    if (expert && (!layer->experts || plane >= m->X)) return NULL;
    if (expert) ffn = &layer->experts[plane];
    if (begins(part, "attn_output.")) return &layer->o;
    if (begins(part, "attn_")) return &layer->q;
    if (begins(part, "ffn_down")) return &ffn->down;
    return begins(part, "ffn_gate") || begins(part, "ffn_up") ? &ffn->gate : NULL;
}

const float *importance_find(const importance *i, const char *tensor, size_t plane)
{
    const matrix *at = NULL;
    const entry *e;
    size_t layer;
    int prefix = 0;

    if (sscanf(tensor, "blk.%zu.%n", &layer, &prefix) == 1 && prefix && layer < i->m->L)
        at = matrix_of(i->m, layer, tensor + prefix, plane);
    else if (begins(tensor, "output.") || begins(tensor, "token_embd."))
        at = &i->m->output; /* of an embedding only where it is the output: the caller knows */
    e = find(i, at);
    return e && e->rows ? e->mean : NULL;
}
