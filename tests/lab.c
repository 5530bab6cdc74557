/* lab.c - the engine and the cache put together as a command would, for tests. */
#include "tests/lab.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/kern/cpu.h"
#include "engine/model/model_load.h"
#include "server/plans.h"
#include "server/threads.h"
#include "xcache/cache_state.h"

static void must(err e, const char *what, const fault *why)
{
    if (e == ERR_OK) return;
    fprintf(stderr, "%s: %s: %s\n", what, why ? why->field : "", err_text(e));
    abort();
}

void lab_open(lab *l, const char *path, const char *mode, int threads)
{
    lab_open_for(l, path, mode, threads, 0);
}

void lab_open_for(lab *l, const char *path, const char *mode, int threads, size_t ctx)
{
    fault why = {0};
    cache_options o = {.mode = mode, .budget_bytes = 256u << 20, .max_running = 4};

    *l = (lab){0};
    kern_init(&l->kern, cpu_flags());
    must(gguf_open(&l->file, path, &why), path, &why);
    must(tokenizer_new(&l->tokens, l->file, &why), path, &why);
    must(model_open(&l->m, l->file, ctx, &why), path, &why);
    must(threads_open(&l->team, threads), "threads", NULL);
    o.team = l->team;
    o.ctx_tokens = l->m->ctx;
    must(plans_open(path, mode, l->file, &l->plan, &why), mode, &why);
    o.plan = l->plan;
    must(cache_open(&l->cache, l->m, &l->kern, &o), mode, NULL);
    must(forward_open(&l->forward, l->m, &l->kern, l->team, CACHE_BLOCK_TOKENS,
                      CACHE_BLOCK_TOKENS),
         "forward", NULL);
}

void lab_close(lab *l)
{
    forward_close(l->forward);
    cache_close(l->cache);
    plan_close(l->plan);
    threads_close(l->team);
    model_close(l->m);
    tokenizer_free(l->tokens);
    gguf_close(l->file);
}

static size_t piece_length(size_t room, uint32_t cuts, uint32_t *state)
{
    if (cuts == LAB_BLOCKS) return room;
    if (cuts == LAB_SINGLES) return 1;
    *state = *state * 1664525u + 1013904223u;
    return 1 + (*state >> 16) % (room < LAB_LONGEST_CUT ? room : LAB_LONGEST_CUT);
}

context *lab_read(lab *l, const int32_t *ids, size_t n, uint32_t cuts, float *logits)
{
    context *c = NULL;
    uint32_t state = cuts;
    size_t T;

    must(cache_begin(l->cache, &(cache_request){.tokens = l->m->ctx}, &c), "cache_begin", NULL);
    for (size_t at = 0; at < n; at += T) {
        const size_t room = CACHE_BLOCK_TOKENS - at % CACHE_BLOCK_TOKENS;
        forward_chunk p = {.context = c, .ids = ids + at, .pos = at};

        T = piece_length(room < n - at ? room : n - at, cuts, &state);
        p.T = T;
        p.wanted = logits ? T : 0;
        p.logits = logits ? logits + at * l->m->V : NULL;
        cache_push(c, ids + at, T);
        forward_step(l->forward, &p, 1);
        cache_commit(c);
    }
    return c;
}

void lab_step(lab *l, context *c, const int32_t *ids, size_t T, float *logits)
{
    const forward_chunk p = {.context = c,
                             .ids = ids,
                             .T = T,
                             .pos = cache_context_tokens(c),
                             .wanted = 1,
                             .logits = logits};

    cache_push(c, ids, T);
    forward_step(l->forward, &p, 1);
    cache_commit(c);
}

void lab_forget_sinks(cache *c)
{
    sink_table *t = &c->sinks.table;
    const uint32_t n = (uint32_t)t->resting.count;
    uint32_t taken[64];

    if (n > sizeof taken / sizeof taken[0]) abort();
    /* as many other beginnings as there are entries to take; none is ever stored */
    for (uint32_t i = 0; i < n; i++) {
        const int32_t ids[SINK_TOKENS] = {-1, (int32_t)i};

        taken[i] = sink_hold(t, ids);
    }
    for (uint32_t i = 0; i < n; i++) sink_drop(t, taken[i]);
}

static double log_sum(const float *x, size_t V)
{
    double top = x[0], sum = 0;

    for (size_t i = 1; i < V; i++)
        if (x[i] > top) top = x[i];
    for (size_t i = 0; i < V; i++) sum += exp(x[i] - top);
    return top + log(sum);
}

double lab_kl(const float *a, const float *b, size_t n, size_t V)
{
    double total = 0;

    for (size_t t = 0; t < n; t++, a += V, b += V) {
        const double za = log_sum(a, V), zb = log_sum(b, V);

        for (size_t i = 0; i < V; i++) total += exp(a[i] - za) * ((a[i] - za) - (b[i] - zb));
    }
    return total / (double)n;
}

static size_t best(const float *x, size_t V)
{
    size_t at = 0;

    for (size_t i = 1; i < V; i++)
        if (x[i] > x[at]) at = i;
    return at;
}

double lab_agreement(const float *a, const float *b, size_t n, size_t V)
{
    size_t same = 0;

    for (size_t t = 0; t < n; t++) same += best(a + t * V, V) == best(b + t * V, V);
    return (double)same / (double)n;
}

bool lab_text_ids(const lab *l, const char *path, int32_t *ids, size_t n)
{
    const size_t bytes = n * 16;
    char *text = malloc(bytes);
    int32_t *all = malloc(tokenizer_most_ids(l->tokens, bytes) * sizeof *all);
    FILE *f = fopen(path, "r");
    size_t got = 0, count = 0;

    if (f && text && all) {
        got = fread(text, 1, bytes, f);
        must(tokenizer_encode(l->tokens, text, got, TOKENIZER_PLAIN, all, &count), path, NULL);
    }
    if (f) fclose(f);
    if (count + 1 >= n) {
        ids[0] = tokenizer_bos(l->tokens);
        memcpy(ids + 1, all, (n - 1) * sizeof *ids);
    }
    free(text);
    free(all);
    return count + 1 >= n;
}
