/* sensitivity.c - a context in front of another one, whose sealed blocks are noisy in one
 * layer.
 *
 *    |<-------- front -------->|<- tail ->|       |    a row: the tail is what is compared,
 *      read once, exactly,       read once             behind a front as long as its turn is
 *      and kept                  for a layer
 *
 *    forward --> noisy: tile of layer l, of the front? yes: its own, made before from x_l
 *                       all else is passed on          no: kv32's
 *
 * What layer l gets as its input is exact whatever is done to its own keys, so its noisy tiles
 * can be made from the recorded inputs before anything runs: raw keys and values, noise, then
 * norms and angles, as a codec does. */
#include "xcache/calibrate/sensitivity.h"

#include <assert.h>
#include <cblas.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "xcache/calibrate/dense.h"
#include "xcache/calibrate/divergence.h"
#include "xcache/codec/projection.h"
#include "xcache/codec/remat.h"
#include "xcache/sink_table.h"

enum { BLOCK = CACHE_BLOCK_TOKENS, TAIL = BLOCK - 1 };

/* Rows of text that are read: nats are a few positions' affair, so it takes a thousand. */
enum { ROWS = 8 };

static const double noise_share = .003; /* of the power of what is coded: 25 dB below */

typedef struct noisy {
    context base;
    context *inner;
    int layer;
    size_t sealed, B, E, C; /* of the front: blocks, all noisy; what a tile needs */
    float *k, *v;           /* [blocks,E*B], [blocks,B,E] */
} noisy;

static noisy *of(context *c)
{
    return (noisy *)(void *)c;
}

static void append(context *c, int layer, size_t first, const float *x, float *k,
                   const float *v, size_t T)
{
    context *inner = of(c)->inner;

    inner->ops->append(inner, layer, first, x, k, v, T);
}

static size_t tile(context *c, int layer, size_t b, int slot, kv_tile *out)
{
    const noisy *n = of(c);
    const size_t tokens = n->inner->ops->tile(n->inner, layer, b, slot, out);

    if (layer != n->layer || b >= n->sealed) return tokens;
    *out = (kv_tile){.format = KV_FLOAT,
                     .k = n->k + b * n->E * n->B,
                     .v = n->v + b * n->E * n->B,
                     .v_stride = n->E,
                     .v_head = n->C};
    return tokens;
}

static void release(context *c, int slot)
{
    context *inner = of(c)->inner;

    inner->ops->release(inner, slot);
}

static const context_ops noisy_ops = {.append = append, .tile = tile, .release = release};

/* Everything that one layer after the other is measured with. */
typedef struct probe {
    const reader_model *r;
    inputs *x;
    const int32_t *row; /* [tokens] ids of the row at work */
    size_t first;       /* its first token in x */
    size_t most, front; /* tokens of whole blocks: of a row, and of those before the tail */
    projection projection;
    forward *forward;
    cache *cache;
    float *exact, *coded; /* logits [TAIL,V] */
    float *unit;          /* [blocks,2G,BLOCK,C] of N(0,1): the same noise in every layer */
    float *shape;         /* [2G,C,C] */
    double *vectors;      /* [C,C] */
    double *values;       /* [C] */
    float *temp;          /* [slots] temp_floats */
    noisy noisy;
} probe;

/* --- noise --- */

/* One of N(0,1) from a hash of a counter: the same on every machine, in any order. */
static double draw(uint64_t *state)
{
    double u[2];

    for (int i = 0; i < 2; i++) {
        uint64_t z = *state += 0x9e3779b97f4a7c15u; /* splitmix64 */

        z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
        z = (z ^ z >> 27) * 0x94d049bb133111ebu;
        u[i] = ((double)((z ^ z >> 31) >> 11) + .5) * 0x1p-53;
    }
    return sqrt(-2 * log(u[0])) * cos(6.283185307179586 * u[1]);
}

/* shape [C,C] = form^(-1/2) of a head, so that noise is as large in every direction of the
 * form.
 */
static err find_shape(const probe *p, const double *form, size_t C, float *shape)
{
    double *v = p->vectors;

    memcpy(v, form, C * C * sizeof *v);
    TRY(dense_eigen(v, C, p->values));
    memset(shape, 0, C * C * sizeof *shape);
    for (size_t e = 0; e < C; e++) {
        const double size = 1 / sqrt(fmax(p->values[e], 1e-6 * p->values[0]));

        for (size_t i = 0; i < C; i++)
            for (size_t j = 0; j < C; j++)
                shape[i * C + j] += (float)(size * v[e * C + i] * v[e * C + j]);
    }
    return ERR_OK;
}

/* Of all heads, for noise with its share of the layer's power. */
static err find_shapes(const probe *p, const sensitivity_layer *of_layer)
{
    const model *m = p->r->m;
    const size_t square = m->C * m->C;
    /* y^T form y of a unit of it is 2E, on average */
    const double size = sqrt(noise_share * of_layer->power / (2 * (double)m->E));

    for (size_t h = 0; h < 2 * m->G; h++) {
        float *shape = p->shape + h * square;

        TRY(find_shape(p, of_layer->form + h * square, m->C, shape));
        for (size_t i = 0; i < square; i++) shape[i] *= (float)size;
    }
    return ERR_OK;
}

/* y [BLOCK,E] += noise, head by head; but the first tokens of a context stay exact in every
 * mode. */
static void disturb(const probe *p, size_t b, int values, float *y)
{
    const model *m = p->r->m;
    const size_t G = m->G, C = m->C, from = b ? 0 : SINK_TOKENS;

    for (size_t g = 0; g < G; g++) {
        const size_t head = (size_t)values * G + g;
        const float *unit = p->unit + ((b * 2 * G + head) * BLOCK + from) * C;

        cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasNoTrans, (int)(BLOCK - from), (int)C,
                    (int)C, 1.0f, unit, (int)C, p->shape + head * C * C, (int)C, 1.0f,
                    y + from * m->E + g * C, (int)m->E);
    }
}

/* Scratch of a slot: inputs, raw keys, and what products need. */
static size_t temp_floats(const model *m)
{
    return BLOCK * (m->D + m->E) + remat_code_floats(BLOCK, m->D);
}

/* Noisy tiles of the layer, block b. */
static void make_tile(void *arg, int b, int slot)
{
    const probe *p = arg;
    const model *m = p->r->m;
    const size_t l = (size_t)p->noisy.layer, at = (size_t)b * BLOCK;
    float *x = p->temp + (size_t)slot * temp_floats(m), *raw = x + BLOCK * m->D;
    float *v = p->noisy.v + at * m->E;
    const remat_turned to = {m->layers[l].rope, KV_FLOAT, p->noisy.k + at * m->E, BLOCK, 0};

    inputs_read(p->x, l, p->first + at, BLOCK, x);
    projection_run(&p->projection, l, x, BLOCK, raw + BLOCK * m->E, raw, v);
    disturb(p, (size_t)b, 0, raw);
    disturb(p, (size_t)b, 1, v);
    model_finish_kv(m, p->r->kern, l, raw, v, BLOCK);
    remat_turn(m, p->r->kern, raw, BLOCK, at, &to);
}

/* --- reading --- */

/* Nats, summed over the tail. */
static double compare(const probe *p, const int32_t *next)
{
    const size_t V = p->r->m->V;
    double sum = 0;

    for (size_t t = 0; t < TAIL; t++) {
        const float *exact = p->exact + t * V, *coded = p->coded + t * V;

        sum += divergence_of(exact, coded, V, next[t]).kl;
    }
    return sum;
}

/* T tokens from pos on, their logits to `logits` [T,V]; NULL: nobody wants them. */
static void step(probe *p, context *c, context *inner, size_t pos, size_t T, float *logits)
{
    const forward_chunk chunk = {.context = c,
                                 .ids = p->row + pos,
                                 .T = T,
                                 .pos = pos,
                                 .wanted = logits ? T : 0,
                                 .logits = logits};

    cache_push(inner, p->row + pos, T);
    forward_step(p->forward, &chunk, 1);
    cache_commit(inner);
}

/* The row up to its tail, once: what comes later finds its blocks. */
static err read_front(probe *p)
{
    context *c;

    TRY(cache_begin(p->cache, &(cache_request){.tokens = p->most}, &c));
    for (size_t pos = 0; pos < p->front; pos += BLOCK) step(p, c, c, pos, BLOCK, NULL);
    cache_end(c);
    return ERR_OK;
}

/* The tail behind the front, with or without the noise of one layer. It does not fill its
 * block, so nothing of it is kept. */
static err read_tail(probe *p, bool with_noise, float *logits)
{
    const cache_request found = {.ids = p->row, .n_ids = p->front + TAIL, .tokens = p->most};
    context *c;

    TRY(cache_begin(p->cache, &found, &c));
    /* nothing else is in this cache that could have evicted the front */
    assert(cache_context_tokens(c) == p->front);
    p->noisy.inner = c;
    step(p, with_noise ? &p->noisy.base : c, c, p->front, TAIL, logits);
    cache_end(c);
    return ERR_OK;
}

/* One row: nats of each layer to sum [L]. */
static err measure_row(probe *p, const sensitivity_layer *layers, double *sum)
{
    p->noisy.sealed = p->front / BLOCK;
    TRY(read_front(p));
    TRY(read_tail(p, false, p->exact));
    for (size_t l = 1; l < p->r->m->L; l++) {
        p->noisy.layer = (int)l;
        TRY(find_shapes(p, &layers[l]));
        p->r->team->run(p->r->team, make_tile, p, (int)p->noisy.sealed);
        TRY(read_tail(p, true, p->coded));
        sum[l] += compare(p, p->row + p->front + 1);
    }
    return ERR_OK;
}

/* --- opening --- */

static err open_cache(probe *p)
{
    static const reader_mode exact = {"kv32", NULL};
    const reader_room room = {.contexts = 1, .tokens = p->most, .page_format = KV_FLOAT};

    TRY(reader_open_cache(p->r, &exact, &room, &p->cache));
    return forward_open(&p->forward, p->r->m, p->r->kern, p->r->team, BLOCK, BLOCK);
}

static err take_memory(probe *p)
{
    const model *m = p->r->m;
    const size_t square = m->C * m->C, slots = (size_t)p->r->team->slots;

    p->exact = malloc(2 * TAIL * m->V * sizeof(float));
    p->unit = malloc(4 * p->most * m->E * sizeof(float));
    p->shape = malloc(2 * m->G * square * sizeof(float));
    p->vectors = malloc((square + m->C) * sizeof(double));
    p->temp = malloc(slots * temp_floats(m) * sizeof(float));
    return p->exact && p->unit && p->shape && p->vectors && p->temp ? ERR_OK : ERR_NOMEM;
}

static err open_probe(probe *p)
{
    const model *m = p->r->m;
    const size_t numbers = 2 * p->most * m->E;
    uint64_t state = 1;

    TRY(projection_open(&p->projection, m, p->r->kern));
    TRY(take_memory(p));
    p->coded = p->exact + TAIL * m->V;
    p->values = p->vectors + m->C * m->C;
    for (size_t i = 0; i < numbers; i++) p->unit[i] = (float)draw(&state);
    p->noisy = (noisy){.base = {.ops = &noisy_ops, .block_tokens = BLOCK},
                       .B = BLOCK,
                       .E = m->E,
                       .C = m->C,
                       .k = p->unit + numbers};
    p->noisy.v = p->noisy.k + p->most * m->E;
    return open_cache(p);
}

static void close_probe(probe *p)
{
    projection_close(&p->projection);
    forward_close(p->forward);
    cache_close(p->cache);
    free(p->exact);
    free(p->unit);
    free(p->shape);
    free(p->vectors);
    free(p->temp);
}

/* Blocks in front of the tail of a row: of the rows together every depth, as the forms are of
 * queries at every depth. Attention of a layer that looks at everything thins out with it, and
 * so does what noise does there: tails at the end alone had a fourth for layers 3 to 10 of
 * SmolLM2 against the others. */
static size_t find_front(size_t blocks, size_t row, size_t rows)
{
    const size_t front = (2 * row + 1) * blocks / (2 * rows);

    return front < 1 ? 1 : front < blocks ? front : blocks - 1;
}

err sensitivity_find(const reader_model *r, inputs *x, const int32_t *ids,
                     const sensitivity_layer *layers, double *out, const stage *p)
{
    const size_t L = r->m->L, rows = x->rows < ROWS ? x->rows : ROWS;
    const double positions = (double)(rows * TAIL);
    probe at = {.r = r, .x = x, .most = x->row_tokens / BLOCK * BLOCK};
    err e;

    for (size_t l = 0; l < L; l++) out[l] = 0;
    if (at.most < 2 * BLOCK) return ERR_EMPTY;
    e = open_probe(&at);
    for (size_t row = 0; row < rows && e == ERR_OK; row++) {
        at.first = row * x->row_tokens;
        at.row = ids + at.first;
        at.front = find_front(at.most / BLOCK, row, rows) * BLOCK;
        e = measure_row(&at, layers, out);
        stage_tell(p, (double)(row + 1) / (double)rows);
    }
    close_probe(&at);
    /* a layer that seems to move nothing is not free: it may on another text */
    for (size_t l = 1; l < L; l++)
        out[l] = fmax(out[l] / positions, 1e-9) / (noise_share * layers[l].power);
    return e;
}
