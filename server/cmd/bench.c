/* bench.c - times steps and rebuilds, and fills pools.
 *
 * A case: contexts read `depth` tokens, unmeasured; then again and again `tokens` more, after
 * being cut back to depth. A rebuild: one context's pages are dropped and rebuilt, taking turns
 * with bare products of the same shape, which are its ceiling. A fill: blocks are sealed under
 * ids of their own until none is free.
 *
 * Contexts of a crowd read different parts of the text, or they would seal the same blocks over
 * and over. The first run warms caches and clock and is not counted. */
#include "server/cmd/bench.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "engine/clock.h"
#include "xcache/codec/codec.h"
#include "xcache/codec/klt.h"
#include "xcache/codec/plan.h"
#include "xcache/codec/rate.h"
#include "xcache/codec/remat.h"
#include "xcache/rebuild.h"

#define GIB (UINT64_C(1) << 30)

/* --- time --- */

static int compare_doubles(const void *a, const void *b)
{
    const double x = *(const double *)a, y = *(const double *)b;

    return (x > y) - (x < y);
}

/* The middle, not the mean: one run that another process met should not show. */
static bench_time summarize(double *seconds, int n)
{
    double middle;

    qsort(seconds, (size_t)n, sizeof *seconds, compare_doubles);
    middle = (seconds[(n - 1) / 2] + seconds[n / 2]) / 2;
    return (bench_time){middle, (seconds[n - 1] - seconds[0]) / middle};
}

/* --- contexts that step together --- */

typedef struct crowd {
    const bench *b;
    cache *cache;
    size_t n;
    context **contexts;    /* [n] */
    forward_chunk *chunks; /* [n] */
    float *logits;         /* [n,V] */
    size_t tokens;         /* the longest a context becomes */
} crowd;

static void close_crowd(crowd *w)
{
    for (size_t i = 0; w->contexts && i < w->n; i++)
        if (w->contexts[i]) cache_end(w->contexts[i]);
    cache_close(w->cache);
    free(w->contexts);
    free(w->chunks);
    free(w->logits);
}

/* n contexts of up to `tokens` tokens. The caller closes, also after a failure. */
static err open_crowd(crowd *w, const bench *b, const reader_mode *mode, size_t n,
                      size_t tokens)
{
    const runtime *r = b->runtime;
    const reader_model parts = {r->weights, &r->kern, r->team, r->block_tokens};
    const reader_room room = {
        .contexts = n, .tokens = tokens, .page_format = cache_choose_page_format(r->weights)};
    const cache_request wanted = {.tokens = tokens};

    assert(tokens <= BENCH_CTX && b->n_ids >= BENCH_CTX);
    *w = (crowd){.b = b, .n = n, .tokens = tokens};
    w->contexts = calloc(n, sizeof *w->contexts);
    w->chunks = calloc(n, sizeof *w->chunks);
    w->logits = malloc(n * r->weights->V * sizeof *w->logits);
    if (!w->contexts || !w->chunks || !w->logits) return ERR_NOMEM;
    TRY(reader_open_cache(&parts, mode, &room, &w->cache));
    for (size_t i = 0; i < n; i++) TRY(cache_begin(w->cache, &wanted, &w->contexts[i]));
    return ERR_OK;
}

/* Context i reads the text from a place of its own, as far as the text goes. */
static const int32_t *text_of(const crowd *w, size_t i)
{
    return w->b->ids + i * w->tokens % (w->b->n_ids - w->tokens + 1);
}

/* Steps until n contexts from `first` on, which hold `from` tokens, hold `to`. */
static void read_text(crowd *w, size_t first, size_t n, size_t from, size_t to, size_t most)
{
    const size_t V = w->b->runtime->weights->V;

    for (size_t i = first; i < first + n; i++)
        w->chunks[i] = (forward_chunk){.context = w->contexts[i],
                                       .ids = text_of(w, i) + from,
                                       .logits = w->logits + i * V};
    reader_run(w->b->runtime->forward, w->chunks + first, n, to - from, most);
}

/* Back to `depth` tokens, and nothing left to be found again: a run that found its blocks
 * cached would be timed without its work. */
static err rewind_all(crowd *w, size_t depth)
{
    for (size_t i = 0; i < w->n; i++) TRY(cache_truncate(w->contexts[i], depth));
    cache_evict(w->cache, SIZE_MAX);
    return ERR_OK;
}

static err time_case(crowd *w, const bench_case *what, const stage *s, double *seconds)
{
    const size_t end = what->depth + what->tokens;
    const int runs = 1 + w->b->repeat;

    for (size_t i = 0; i < w->n; i++)
        read_text(w, i, 1, 0, what->depth, w->b->runtime->block_tokens);
    for (int run = 0; run < runs; run++) {
        double start;

        TRY(rewind_all(w, what->depth));
        start = clock_seconds();
        read_text(w, 0, w->n, what->depth, end, what->step);
        /* The first run is not counted: it brings pages and caches to where later ones find
         * them. */
        if (run) seconds[run - 1] = clock_seconds() - start;
        stage_tell(s, (double)(run + 1) / runs);
    }
    return ERR_OK;
}

err bench_speed(const bench *b, const reader_mode *mode, const bench_case *what, const stage *s,
                bench_time *out)
{
    double seconds[BENCH_REPEAT_MAX];
    crowd w;
    err e;

    assert(b->repeat >= 1 && b->repeat <= BENCH_REPEAT_MAX);
    assert(what->batch * what->step <= forward_max_rows(b->runtime->forward));
    e = open_crowd(&w, b, mode, what->batch, what->depth + what->tokens);
    if (e == ERR_OK) e = time_case(&w, what, s, seconds);
    close_crowd(&w);
    if (e == ERR_OK) *out = summarize(seconds, b->repeat);
    return e;
}

/* --- the ceiling of a rebuild --- */

enum { CEILING_TASKS = 16 /* for each worker, so that none waits long for another */ };
#define CEILING_FLOP 1e10 /* of a run: a tenth of a second, more or less */

/* Products y = x w^T of a block's rows, as many as a run needs. */
typedef struct products {
    float *x, *w, *y; /* [rows,inputs], [outputs,inputs], [slots,rows,outputs] */
    size_t rows, inputs, outputs;
    int tasks, times; /* each task multiplies so often */
} products;

static void close_products(products *p)
{
    free(p->x);
    free(p->w);
    free(p->y);
}

/* Numbers between -1 and 1; NULL: out of memory. */
static float *make_numbers(size_t n)
{
    float *x = malloc(n * sizeof *x);
    uint32_t state = 1;

    for (size_t i = 0; x && i < n; i++) {
        state = state * 1664525u + 1013904223u;
        x[i] = (float)(int32_t)state / 2147483648.0f;
    }
    return x;
}

static double product_flop(const products *p)
{
    return 2.0 * (double)p->rows * (double)p->inputs * (double)p->outputs;
}

/* As many products as take a tenth of a second, so that the clock and the start do not count.
 */
static err open_products(products *p, const bench *b, size_t inputs)
{
    const int slots = b->runtime->team->slots;

    *p = (products){.rows = b->runtime->block_tokens,
                    .inputs = inputs,
                    .outputs = b->runtime->weights->E,
                    .tasks = CEILING_TASKS * slots};
    p->times = (int)(CEILING_FLOP / product_flop(p) / p->tasks) + 1;
    p->x = make_numbers(p->rows * p->inputs);
    p->w = make_numbers(p->outputs * p->inputs);
    p->y = make_numbers((size_t)slots * p->rows * p->outputs);
    return p->x && p->w && p->y ? ERR_OK : ERR_NOMEM;
}

static void multiply(void *arg, int i, int slot)
{
    const products *p = arg;
    float *y = p->y + (size_t)slot * p->rows * p->outputs;

    (void)i;
    for (int n = 0; n < p->times; n++)
        remat_multiply(p->x, p->rows, p->inputs, p->w, p->outputs, y, 0);
}

static double time_products(team *t, products *p)
{
    const double start = clock_seconds();

    t->run(t, multiply, p, p->tasks);
    return clock_seconds() - start;
}

/* --- attaching --- */

static double flop_xq(const model *m, const reader_mode *mode)
{
    (void)mode;
    return 4.0 * (double)((model_is_mha(m) ? m->D : m->E) * m->E * m->L);
}

static double flop_cl(const model *m, const reader_mode *mode)
{
    const size_t N = 2 * m->E < m->D ? 2 * m->E : m->D;
    const size_t widened = model_is_mha(m) || m->L < 3 ? 0 : m->L - 3; /* layers */

    (void)mode;
    return 4.0 * (double)(m->D * m->E * m->L) + 2.0 * (double)(m->D * N * widened);
}

static double flop_klt(const model *m, const reader_mode *mode)
{
    const plan_predictor r = plan_read_about(mode->plan).predictor;
    const size_t p = r.kind == PLAN_NONE ? 0 : m->D; /* factors are multiplied out */
    const double step = rate_step(mode->plan, CACHE_BLOCK_TOKENS, codec_ratio(mode->name));
    size_t stored = 0;

    for (size_t l = 1; l < m->L; l++) {
        const plan_layer layer = plan_read_layer(mode->plan, l);

        stored += klt_count(&layer, step); /* of those there are */
    }
    return 2.0 * (double)(m->D * (p * m->L + stored + 2 * m->E * m->L));
}

/* What a family of modes multiplies. */
typedef struct family {
    const char *name;
    bool latents; /* with grouped heads, E wide instead of D */
    double (*flop)(const model *, const reader_mode *);
} family;

/* NULL: nothing. */
static const family *find_family(const char *mode)
{
    static const family families[] = {
        {"xq", true, flop_xq}, {"cl", false, flop_cl}, {"klt", false, flop_klt}};

    for (size_t i = 0; i < sizeof families / sizeof families[0]; i++)
        if (strncmp(mode, families[i].name, strlen(families[i].name)) == 0) return &families[i];
    return NULL;
}

double bench_flop(const model *m, const reader_mode *mode)
{
    const family *f = find_family(mode->name);

    return f ? f->flop(m, mode) : 0;
}

static double time_rebuild(const crowd *w)
{
    double start;

    rebuild_drop_pages(w->cache);
    start = clock_seconds();
    while (rebuild_pages(w->contexts[0], SIZE_MAX)) {}
    return clock_seconds() - start;
}

/* Rebuilds and the products that are their ceiling take turns: what else the machine does
 * meets both. */
static void time_turns(const crowd *w, products *p, const stage *s, bench_attach *out)
{
    double rebuild[BENCH_REPEAT_MAX], product[BENCH_REPEAT_MAX];
    const int repeat = w->b->repeat;

    (void)time_rebuild(w);
    (void)time_products(w->b->runtime->team, p);
    for (int i = 0; i < repeat; i++) {
        rebuild[i] = time_rebuild(w);
        product[i] = time_products(w->b->runtime->team, p);
        stage_tell(s, (double)(i + 1) / repeat);
    }
    out->time = summarize(rebuild, repeat);
    out->ceiling_gflops = product_flop(p) * p->tasks * p->times * 1e-9 /
                          summarize(product, repeat).seconds;
}

static err measure_attach(crowd *w, const reader_mode *mode, const stage *s, bench_attach *out)
{
    const model *m = w->b->runtime->weights;
    const family *f = find_family(mode->name);
    cache_stats stats;
    products p;
    err e;

    *out = (bench_attach){0};
    cache_read_stats(w->cache, &stats);
    if (!stats.workspace_bytes) return ERR_OK;
    read_text(w, 0, 1, 0, w->tokens, w->b->runtime->block_tokens);
    e = open_products(&p, w->b, f && f->latents && !model_is_mha(m) ? m->E : m->D);
    if (e == ERR_OK) time_turns(w, &p, s, out);
    close_products(&p);
    if (e != ERR_OK) return e;
    out->rebuilds = true;
    out->gflops = bench_flop(m, mode) * (double)w->tokens * 1e-9 / out->time.seconds;
    return ERR_OK;
}

err bench_reattach(const bench *b, const reader_mode *mode, size_t tokens, const stage *s,
                   bench_attach *out)
{
    bench_attach found;
    crowd w;
    err e;

    assert(tokens && tokens % b->runtime->block_tokens == 0);
    e = open_crowd(&w, b, mode, 1, tokens);
    if (e == ERR_OK) e = measure_attach(&w, mode, s, &found);
    close_crowd(&w);
    if (e == ERR_OK) *out = found;
    return e;
}

/* --- filling a pool --- */

/* The ids of block `number`: like no other's. */
static void name_block(const bench *b, size_t number, int32_t *ids)
{
    const size_t B = b->runtime->block_tokens, V = b->runtime->weights->V;

    memcpy(ids, b->ids, B * sizeof *ids);
    ids[0] = (int32_t)(number % V);
    ids[1] = (int32_t)(number / V % V);
}

/* Seal block `number` of the pool as the next of x. The open page of the only context is
 * always the same, and keeps what the first block left in it. */
static void seal_block(const bench *b, context *x, size_t number, int32_t *ids)
{
    const size_t B = b->runtime->block_tokens;
    const forward_chunk p = {.context = x, .ids = ids, .T = B};

    name_block(b, number, ids);
    cache_push(x, ids, B);
    if (number == 0) forward_step(b->runtime->forward, &p, 1);
    cache_commit(x);
}

static err fill_context(const bench *b, cache *c, size_t first, size_t blocks, int32_t *ids)
{
    const cache_request wanted = {.tokens = blocks * b->runtime->block_tokens};
    context *x = NULL;

    TRY(cache_begin(c, &wanted, &x));
    for (size_t i = 0; i < blocks; i++) seal_block(b, x, first + i, ids);
    cache_end(x);
    return ERR_OK;
}

/* Contexts of BENCH_CTX tokens, the last one shorter, until no block is free. */
static err fill_all(const bench *b, cache *c, const stage *s)
{
    const size_t each = BENCH_CTX / b->runtime->block_tokens;
    int32_t *ids = malloc(b->runtime->block_tokens * sizeof *ids);
    err e = ids ? ERR_OK : ERR_NOMEM;
    cache_stats at;

    cache_read_stats(c, &at);
    while (e == ERR_OK && at.free_bytes >= at.block_bytes) {
        const size_t left = at.free_bytes / at.block_bytes;

        e = fill_context(b, c, at.sealed_blocks, left < each ? left : each, ids);
        cache_read_stats(c, &at);
        stage_tell(s, 1 - (double)at.free_bytes / (double)at.capacity_bytes);
    }
    free(ids);
    return e;
}

/* What a server with a pool of 1 GiB would reserve, and hold. Opened and not filled: a pool is
 * mapped lazily, so this costs no gigabyte. */
static err count_server(const bench *b, const reader_mode *mode, bench_fill *out)
{
    const runtime *r = b->runtime;
    const cache_options o = {.mode = mode->name,
                             .plan = mode->plan,
                             .budget_bytes = GIB,
                             .workspace_bytes = CACHE_AUTO_WORKSPACE,
                             .page_format = cache_choose_page_format(r->weights),
                             .max_running = b->max_running,
                             .team = r->team,
                             .ctx_tokens = r->weights->ctx_train,
                             .block_tokens = r->block_tokens};
    cache_stats s;
    cache *c = NULL;

    TRY(cache_open(&c, r->weights, &r->kern, &o));
    cache_read_stats(c, &s);
    cache_close(c);
    out->gib_blocks = s.capacity_tokens / s.block_tokens;
    out->gib_memory = s.capacity_bytes + s.workspace_bytes + s.scratch_bytes + s.weight_bytes +
                      forward_bytes(r->forward);
    return ERR_OK;
}

static err count_filled(const bench *b, cache *c, const stage *s, bench_fill *out)
{
    cache_stats at;
    uint64_t used;

    TRY(fill_all(b, c, s));
    cache_read_stats(c, &at);
    used = at.codes_bytes + at.scales_bytes + at.index_bytes;
    out->pool_bytes = at.capacity_bytes;
    out->blocks = (at.active_tokens + at.idle_tokens) / at.block_tokens;
    out->block_tokens = at.block_tokens;
    out->block_bytes = at.block_bytes;
    out->ratio = (double)at.fp16_bytes / (double)used;
    return at.evicted_blocks ? ERR_NOROOM : ERR_OK;
}

err bench_fill_pool(const bench *b, const reader_mode *mode, uint64_t pool_bytes,
                    const stage *s, bench_fill *out)
{
    const runtime *r = b->runtime;
    const cache_options o = {.mode = mode->name,
                             .plan = mode->plan,
                             .budget_bytes = pool_bytes,
                             .workspace_bytes = CACHE_STREAMING, /* nothing is read back */
                             .max_running = 1,
                             .team = r->team,
                             .ctx_tokens = BENCH_CTX,
                             .block_tokens = r->block_tokens};
    bench_fill found;
    cache *c = NULL;
    err e;

    TRY(cache_open(&c, r->weights, &r->kern, &o));
    e = count_filled(b, c, s, &found);
    cache_close(c);
    if (e == ERR_OK) e = count_server(b, mode, &found);
    if (e == ERR_OK) *out = found;
    return e;
}

/* An open block is in a page and not in the pool, so the tokens after the last whole block take
 * nothing of it. */
bench_capacity bench_count(const bench_fill *f, size_t tokens)
{
    const size_t each = tokens / f->block_tokens;
    const double contexts = (double)f->blocks / (double)each;
    const double of_all = (double)f->gib_blocks / (double)each;

    return (bench_capacity){.contexts = contexts,
                            .bytes_per_context = each * f->block_bytes,
                            .per_gib = contexts * (double)GIB / (double)f->pool_bytes,
                            .per_gib_of_all = of_all * (double)GIB / (double)f->gib_memory};
}
