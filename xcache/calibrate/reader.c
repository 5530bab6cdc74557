/* reader.c - contexts of one row, stepped side by side where they are compared. */
#include "xcache/calibrate/reader.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { BLOCK = CACHE_BLOCK_TOKENS };

/* One cache mode, ready to read rows. */
typedef struct lane {
    cache *cache;
    forward *forward;
    context *context; /* of the row that is read */
} lane;

static void close_lane(lane *l)
{
    forward_close(l->forward);
    cache_close(l->cache);
}

/* Room for one context, in the mode that needs most: kv32. */
static err open_lane(lane *l, const reader_model *r, size_t row_tokens, const char *mode,
                     const struct plan *plan)
{
    const size_t blocks = row_tokens / BLOCK + 1;
    const size_t block_bytes = BLOCK * (2 * r->m->E * r->m->L * sizeof(float) + 64);
    const cache_options o = {.mode = mode,
                             .plan = plan,
                             .budget_bytes = blocks * block_bytes,
                             .max_running = 1,
                             .workspace_bytes = CACHE_AUTO_WORKSPACE,
                             .page_format = KV_FLOAT,
                             .team = r->team,
                             .ctx_tokens = row_tokens};

    TRY(cache_open(&l->cache, r->m, r->kern, &o));
    return forward_open(&l->forward, r->m, r->kern, r->team, BLOCK, BLOCK);
}

static size_t smaller(size_t a, size_t b)
{
    return a < b ? a : b;
}

/* A step of T tokens at position pos; `through` is the context that forward sees. */
static void step(lane *l, context *through, const int32_t *ids, size_t pos, size_t T,
                 float *logits)
{
    const forward_chunk p = {.context = through,
                             .ids = ids,
                             .T = T,
                             .pos = pos,
                             .wanted = logits ? T : 0,
                             .logits = logits};

    cache_push(l->context, ids, T);
    forward_step(l->forward, &p, 1);
    cache_commit(l->context);
}

/* --- layer inputs --- */

/* A context that passes everything on and keeps what it is told. */
typedef struct recorder {
    context base;
    context *inner;
    float *x; /* [L,tokens,D] */
    size_t tokens, at, D;
} recorder;

static recorder *of(context *c)
{
    return (recorder *)(void *)c;
}

static void append(context *c, int layer, size_t first, const float *x, float *k,
                   const float *v, size_t T)
{
    const recorder *r = of(c);

    memcpy(r->x + ((size_t)layer * r->tokens + r->at + first) * r->D, x, T * r->D * sizeof *x);
    r->inner->ops->append(r->inner, layer, first, x, k, v, T);
}

static size_t tile(context *c, int layer, size_t b, int slot, kv_tile *out)
{
    context *inner = of(c)->inner;

    return inner->ops->tile(inner, layer, b, slot, out);
}

static void release(context *c, int slot)
{
    context *inner = of(c)->inner;

    inner->ops->release(inner, slot);
}

static const context_ops recorder_ops = {.append = append, .tile = tile, .release = release};

static err record_row(lane *l, recorder *r, const reader_text *text, size_t row)
{
    const size_t n = text->row_tokens;
    const int32_t *ids = text->ids + row * n;

    TRY(cache_begin(l->cache, &(cache_request){.tokens = n}, &l->context));
    r->inner = l->context;
    for (size_t pos = 0; pos < n; pos += BLOCK) {
        const size_t T = smaller(BLOCK, n - pos);

        r->at = row * n + pos;
        step(l, &r->base, ids + pos, pos, T, NULL);
    }
    cache_end(l->context);
    return ERR_OK;
}

err reader_record(const reader_model *r, const reader_text *text, const stage *p, float *x)
{
    recorder to = {.base = {.ops = &recorder_ops, .block_tokens = BLOCK},
                   .x = x,
                   .tokens = text->rows * text->row_tokens,
                   .D = r->m->D};
    lane l = {0};
    err e = open_lane(&l, r, text->row_tokens, "kv32", NULL);

    for (size_t row = 0; e == ERR_OK && row < text->rows; row++) {
        e = record_row(&l, &to, text, row);
        stage_tell(p, (double)(row + 1) / (double)text->rows);
    }
    close_lane(&l);
    return e;
}

/* --- divergence --- */

typedef struct comparison {
    lane lanes[2];    /* exact, coded */
    float *logits[2]; /* [BLOCK,V] each */
    double kl[BLOCK];
    size_t V;
} comparison;

static double log_sum(const float *x, size_t V)
{
    double top = x[0], sum = 0;

    for (size_t i = 1; i < V; i++)
        if (x[i] > top) top = x[i];
    for (size_t i = 0; i < V; i++) sum += exp(x[i] - top);
    return top + log(sum);
}

static void compare_row(void *arg, int t, int slot)
{
    comparison *c = arg;
    const float *a = c->logits[0] + (size_t)t * c->V, *b = c->logits[1] + (size_t)t * c->V;
    const double za = log_sum(a, c->V), zb = log_sum(b, c->V);
    double kl = 0;

    (void)slot;
    for (size_t i = 0; i < c->V; i++) kl += exp(a[i] - za) * ((a[i] - za) - (b[i] - zb));
    c->kl[t] = kl;
}

static err compare_text_row(comparison *c, const reader_model *r, const int32_t *ids, size_t n,
                            const stage *p, double *total)
{
    const cache_request wanted = {.tokens = n};
    err e = cache_begin(c->lanes[0].cache, &wanted, &c->lanes[0].context);

    if (e != ERR_OK) return e;
    e = cache_begin(c->lanes[1].cache, &wanted, &c->lanes[1].context);
    for (size_t pos = 0; e == ERR_OK && pos < n; pos += BLOCK) {
        const size_t T = smaller(BLOCK, n - pos);

        for (int i = 0; i < 2; i++)
            step(&c->lanes[i], c->lanes[i].context, ids + pos, pos, T, c->logits[i]);
        r->team->run(r->team, compare_row, c, (int)T);
        for (size_t t = 0; t < T && pos + t + 1 < n; t++) *total += c->kl[t];
        stage_tell(p, (double)(pos + T) / (double)n);
    }
    cache_end(c->lanes[0].context);
    if (e == ERR_OK) cache_end(c->lanes[1].context);
    return e;
}

static err open_comparison(comparison *c, const reader_model *r, size_t row_tokens,
                           const char *mode, const struct plan *plan)
{
    c->V = r->m->V;
    for (int i = 0; i < 2; i++) {
        TRY(open_lane(&c->lanes[i], r, row_tokens, i ? mode : "kv32", i ? plan : NULL));
        c->logits[i] = malloc(BLOCK * c->V * sizeof(float));
        if (!c->logits[i]) return ERR_NOMEM;
    }
    return ERR_OK;
}

err reader_divergence(const reader_model *r, const reader_text *text, const char *mode,
                      const struct plan *plan, const stage *p, double *kl)
{
    const double rows = (double)text->rows;
    comparison c = {0};
    double total = 0;
    err e = open_comparison(&c, r, text->row_tokens, mode, plan);

    for (size_t i = 0; e == ERR_OK && i < text->rows; i++) {
        const stage part = stage_part(p, (double)i / rows, 1 / rows);

        e = compare_text_row(&c, r, text->ids + i * text->row_tokens, text->row_tokens, &part,
                             &total);
    }
    if (e == ERR_OK) *kl = total / (rows * (double)(text->row_tokens - 1));
    for (int i = 0; i < 2; i++) {
        close_lane(&c.lanes[i]);
        free(c.logits[i]);
    }
    return e;
}
