/* sensitivity.c - a context in front of another one, whose sealed blocks are noisy in one
 * layer.
 *
 *    forward --> noisy: tile of layer l, block sealed? yes: its own, made before from x_l
 *                       all else is passed on         no: kv32's
 *
 * What layer l gets as its input is exact whatever is done to its own keys, so its noisy tiles
 * can be made from the recorded inputs before anything runs: raw keys and values, noise, then
 * norms and angles, as a codec does. */
#include "xcache/calibrate/sensitivity.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "xcache/calibrate/dense.h"
#include "xcache/calibrate/divergence.h"
#include "xcache/codec/projection.h"
#include "xcache/codec/remat.h"
#include "xcache/sink_table.h"

enum { BLOCK = CACHE_BLOCK_TOKENS };

static const double noise_share = .003; /* of the power of what is coded: 25 dB below */

typedef struct noisy {
    context base;
    context *inner;
    int layer;
    size_t sealed, B, E, C; /* blocks that are noisy */
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
    const int32_t *ids;
    size_t tokens, blocks;
    projection projection;
    forward *forward;
    cache *cache;
    float *exact, *coded; /* logits [tokens,V], [BLOCK,V] */
    float *rows;          /* [BLOCK,D] */
    float *raw;           /* [BLOCK,E] */
    float *temp;          /* of products */
    double *shape;        /* [C,C] */
    double *values;       /* [C] */
    noisy noisy;
} probe;

/* --- noise --- */

/* Two of N(0,1) from a hash of a counter: the same on every machine, in any order. */
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

/* shape = form^(-1/2) of a head, so that noise is as large in every direction of the form. */
static err find_shape(probe *p, const double *form, size_t C)
{
    double *v = p->shape + C * C;

    memcpy(v, form, C * C * sizeof *v);
    TRY(dense_eigen(v, C, p->values));
    for (size_t i = 0; i < C; i++)
        p->values[i] = 1 / sqrt(fmax(p->values[i], 1e-6 * p->values[0]));
    memset(p->shape, 0, C * C * sizeof *v);
    for (size_t e = 0; e < C; e++)
        for (size_t i = 0; i < C; i++)
            for (size_t j = 0; j < C; j++)
                p->shape[i * C + j] += p->values[e] * v[e * C + i] * v[e * C + j];
    return ERR_OK;
}

/* Add noise of `size` to a head of rows y [BLOCK,E]. */
static void add_noise(const probe *p, size_t C, size_t E, double size, uint64_t seed, float *y)
{
    double g[512];

    for (size_t t = 0; t < BLOCK; t++, y += E) {
        for (size_t c = 0; c < C; c++) g[c] = size * draw(&seed);
        for (size_t c = 0; c < C; c++) {
            double sum = 0;

            for (size_t i = 0; i < C; i++) sum += p->shape[c * C + i] * g[i];
            y[c] += (float)sum;
        }
    }
}

/* Noise for all heads of a block's raw keys or values. */
static err disturb(probe *p, const sensitivity_layer *of_layer, size_t b, int values, float *y)
{
    const model *m = p->r->m;
    /* y^T form y of this noise is its size squared times 2E, on average */
    const double size = sqrt(noise_share * of_layer->power / (2 * (double)m->E));

    for (size_t g = 0; g < m->G; g++) {
        const size_t head = (size_t)values * m->G + g;

        TRY(find_shape(p, of_layer->form + head * m->C * m->C, m->C));
        add_noise(p, m->C, m->E, size, (uint64_t)(b * 2 * m->G + head) << 32, y + g * m->C);
    }
    return ERR_OK;
}

/* The first tokens of a context stay exact in every mode: put raw rows back. */
static void keep_sinks(size_t b, size_t E, const float *exact, float *y)
{
    if (b == 0) memcpy(y, exact, SINK_TOKENS * E * sizeof *y);
}

/* Noisy tiles of layer l, block b. */
static err make_tile(probe *p, size_t l, const sensitivity_layer *of_layer, size_t b)
{
    const model *m = p->r->m;
    float *v = p->noisy.v + b * BLOCK * m->E;
    float kept[2][SINK_TOKENS * 4096];
    const size_t sinks = SINK_TOKENS * m->E * sizeof(float);
    const remat_turned to = {m->layers[l].rope, KV_FLOAT, p->noisy.k + b * BLOCK * m->E, BLOCK,
                             0};

    inputs_read(p->x, l, b * BLOCK, BLOCK, p->rows);
    projection_run(&p->projection, l, p->rows, BLOCK, p->temp, p->raw, v);
    memcpy(kept[0], p->raw, sinks);
    memcpy(kept[1], v, sinks);
    TRY(disturb(p, of_layer, b, 0, p->raw));
    TRY(disturb(p, of_layer, b, 1, v));
    keep_sinks(b, m->E, kept[0], p->raw);
    keep_sinks(b, m->E, kept[1], v);
    model_finish_kv(m, p->r->kern, l, p->raw, v, BLOCK);
    remat_turn(m, p->r->kern, p->raw, BLOCK, b * BLOCK, &to);
    return ERR_OK;
}

/* --- reading --- */

static double compare(const probe *p, size_t pos)
{
    const size_t V = p->r->m->V;
    double sum = 0;

    for (size_t t = 0; t < BLOCK; t++)
        sum += divergence_of(p->exact + (pos + t) * V, p->coded + t * V, V, p->ids[pos + t]).kl;
    return sum;
}

/* One block, its logits to `logits` [BLOCK,V]. */
static void step(probe *p, context *c, context *inner, size_t pos, float *logits)
{
    const forward_chunk chunk = {.context = c,
                                 .ids = p->ids + pos,
                                 .T = BLOCK,
                                 .pos = pos,
                                 .wanted = BLOCK,
                                 .logits = logits};

    cache_push(inner, p->ids + pos, BLOCK);
    forward_step(p->forward, &chunk, 1);
    cache_commit(inner);
}

/* The text without noise, for all layers. */
static err read_exact(probe *p)
{
    context *c;

    TRY(cache_begin(p->cache, &(cache_request){.tokens = p->tokens}, &c));
    for (size_t pos = 0; pos < p->tokens; pos += BLOCK)
        step(p, c, c, pos, p->exact + pos * p->r->m->V);
    cache_end(c);
    return ERR_OK;
}

/* The text with it: nats a position, of those that read something noisy. */
static err read_noisy(probe *p, double *kl)
{
    noisy *n = &p->noisy;
    /* a scope of its own: blocks of the same tokens without this noise are others */
    const cache_request alone = {
        .tokens = p->tokens, .scope = &n->layer, .scope_bytes = sizeof n->layer};

    TRY(cache_begin(p->cache, &alone, &n->inner));
    *kl = 0;
    for (size_t pos = 0; pos < p->tokens; pos += BLOCK) {
        n->sealed = pos / BLOCK;
        step(p, &n->base, n->inner, pos, p->coded);
        if (pos) *kl += compare(p, pos);
    }
    *kl /= (double)(p->tokens - BLOCK);
    cache_end(n->inner);
    return ERR_OK;
}

static err measure(probe *p, size_t l, const sensitivity_layer *of_layer, double *out)
{
    double kl = 0;

    p->noisy.layer = (int)l;
    for (size_t b = 0; b + 1 < p->blocks; b++) TRY(make_tile(p, l, of_layer, b));
    TRY(read_noisy(p, &kl));
    /* a layer that seems to move nothing is not free: it may on another text */
    *out = fmax(kl, 1e-9) / (noise_share * of_layer->power);
    return ERR_OK;
}

/* --- opening --- */

static err open_cache(probe *p)
{
    static const reader_mode exact = {"kv32", NULL};
    const reader_room room = {.contexts = 1, .tokens = p->tokens, .page_format = KV_FLOAT};

    TRY(reader_open_cache(p->r, &exact, &room, &p->cache));
    return forward_open(&p->forward, p->r->m, p->r->kern, p->r->team, BLOCK, BLOCK);
}

static err open_probe(probe *p)
{
    const model *m = p->r->m;
    const size_t tile = p->blocks * BLOCK * m->E;

    if (m->C > 512 || m->E > 4096) return ERR_MODEMODEL;
    TRY(projection_open(&p->projection, m, p->r->kern));
    p->exact = malloc((p->tokens + BLOCK) * m->V * sizeof(float));
    p->rows = malloc((BLOCK * (m->D + m->E) + 2 * tile + remat_code_floats(BLOCK, m->D)) *
                     sizeof(float));
    p->shape = malloc((2 * m->C * m->C + m->C) * sizeof(double));
    if (!p->exact || !p->rows || !p->shape) return ERR_NOMEM;
    p->coded = p->exact + p->tokens * m->V;
    p->raw = p->rows + BLOCK * m->D;
    p->noisy = (noisy){.base = {.ops = &noisy_ops, .block_tokens = BLOCK},
                       .B = BLOCK,
                       .E = m->E,
                       .C = m->C,
                       .k = p->raw + BLOCK * m->E};
    p->noisy.v = p->noisy.k + tile;
    p->temp = p->noisy.v + tile;
    p->values = p->shape + 2 * m->C * m->C;
    return open_cache(p);
}

static void close_probe(probe *p)
{
    projection_close(&p->projection);
    forward_close(p->forward);
    cache_close(p->cache);
    free(p->exact);
    free(p->rows);
    free(p->shape);
}

err sensitivity_find(const reader_model *r, inputs *x, const int32_t *ids,
                     const sensitivity_layer *layers, double *out, const stage *p)
{
    const size_t most = x->row_tokens < SENSITIVITY_TOKENS ? x->row_tokens : SENSITIVITY_TOKENS;
    probe at = {.r = r, .x = x, .ids = ids, .blocks = most / BLOCK};
    const size_t L = r->m->L;
    err e;

    at.tokens = at.blocks * BLOCK;
    out[0] = 0;
    e = at.blocks < 2 ? ERR_EMPTY : open_probe(&at);
    if (e == ERR_OK) e = read_exact(&at);
    for (size_t l = 1; l < L && e == ERR_OK; l++) {
        e = measure(&at, l, &layers[l], &out[l]);
        stage_tell(p, (double)l / (double)(L - 1));
    }
    close_probe(&at);
    return e;
}
