/* run.c - the rows that one generation brings to a step, and what it takes from it. */
#include "server/sched/run.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "engine/clock.h"
#include "xcache/rebuild.h"

/* Tokens whose layer inputs are computed: the last one sampled is not. */
static size_t computed_tokens(size_t prompt_tokens, size_t max_tokens)
{
    return prompt_tokens + (max_tokens ? max_tokens - 1 : 0);
}

err run_check(const runtime *r, size_t prompt_tokens, size_t max_tokens, size_t answers)
{
    const cache_request wanted = {.n_ids = prompt_tokens,
                                  .tokens = computed_tokens(prompt_tokens, max_tokens),
                                  .copies = answers - 1};

    assert(answers > 0);
    if (!prompt_tokens) return ERR_EMPTY;
    if (prompt_tokens > r->ctx_size || max_tokens > r->ctx_size - prompt_tokens)
        return ERR_TOOLONG;
    return answers <= r->max_running ? cache_check(r->cache, &wanted) : ERR_NOROOM;
}

static err open_sampler(run *x)
{
    const generation_in *in = &x->generation->in;
    const size_t V = x->runtime->weights->V;

    x->logits = malloc(2 * V * sizeof *x->logits);
    if (!x->logits) return ERR_NOMEM;
    TRY(sampler_new(&x->sampler, V, &in->sample));
    for (size_t i = 0; i < in->n_ids; i++) sampler_see_prompt(x->sampler, in->ids[i]);
    return ERR_OK;
}

err run_open(run *x, runtime *r, generation *g, size_t copies)
{
    const generation_in *in = &g->in;
    const cache_request wanted = {.ids = in->ids,
                                  .n_ids = in->n_ids,
                                  .tokens = computed_tokens(in->n_ids, in->max_tokens),
                                  .copies = copies,
                                  .scope = in->scope,
                                  .scope_bytes = sizeof in->scope};
    err e;

    *x = (run){.runtime = r, .generation = g};
    e = cache_begin(r->cache, &wanted, &x->context);
    if (e != ERR_OK) return e;
    e = open_sampler(x);
    if (e != ERR_OK) {
        run_close(x);
        return e;
    }
    x->read = g->out.cached_tokens = cache_context_tokens(x->context);
    return ERR_OK;
}

err run_open_copy(run *x, run *leader, generation *g)
{
    err e;

    *x = (run){.runtime = leader->runtime, .generation = g};
    e = open_sampler(x);
    if (e != ERR_OK) {
        run_close(x);
        return e;
    }
    x->leader = leader;
    leader->copies++;
    return ERR_OK;
}

bool run_warm(run *x)
{
    return rebuild_pages(x->context, (size_t)x->runtime->team->slots) == 0;
}

bool run_warm_layers(run *x, int layers)
{
    return rebuild_layers(x->context, layers);
}

bool run_is_sealing(const run *x)
{
    return x->context && cache_is_sealing(x->context);
}

bool run_is_ready(const run *x)
{
    return !x->over && x->context && !run_is_sealing(x) && !(x->copies && run_decodes(x));
}

bool run_is_through(const run *x)
{
    return x->over && !x->copies &&
           (!run_is_sealing(x) || x->generation->out.finish == FINISH_ABORT);
}

bool run_decodes(const run *x)
{
    return x->read == x->generation->in.n_ids;
}

static size_t smaller(size_t a, size_t b)
{
    return a < b ? a : b;
}

forward_chunk run_piece(run *x, size_t max_rows)
{
    const generation *g = x->generation;
    const size_t B = x->context->block_tokens, left = g->in.n_ids - x->read;
    forward_chunk p = {.context = x->context, .pos = cache_context_tokens(x->context)};

    if (run_decodes(x)) {
        p.ids = &g->out.tokens[generation_tokens(g) - 1].id;
        p.T = 1;
        p.wanted = 1;
    } else {
        p.ids = g->in.ids + x->read;
        p.T = smaller(max_rows, smaller(B - x->read % B, left));
        p.wanted = p.T == left && g->in.max_tokens;
    }
    p.logits = p.wanted ? x->logits : NULL;
    cache_push(x->context, p.ids, p.T);
    return p;
}

/* Choose the next token. */
static void choose(run *x)
{
    const size_t V = x->runtime->weights->V;
    generation *g = x->generation;
    const uint64_t start = clock_ns();
    int32_t id;

    memcpy(x->logits + V, x->logits, V * sizeof *x->logits);
    id = sampler_pick(x->sampler, x->logits + V);
    sampler_see_answer(x->sampler, id);
    if (!g->out.first_ns) g->out.first_ns = clock_ns();
    x->over = generation_add(g, id, g->in.top >= 0 ? x->logits : NULL);
    x->sample_seconds += clock_seconds_between(start, clock_ns());
}

/* Its prompt is read. */
static void answer(run *x)
{
    if (x->generation->in.max_tokens) {
        choose(x);
    } else {
        generation_end(x->generation, FINISH_LENGTH);
        x->over = true;
    }
}

void run_take(run *x, const forward_chunk *p)
{
    cache_commit_later(x->context);
    if (!run_decodes(x)) x->read += p->T;
    if (run_decodes(x)) answer(x);
}

/* It waits for its leader no longer. */
static void leave(run *x)
{
    if (x->leader) x->leader->copies--;
    x->leader = NULL;
}

bool run_fork(run *x)
{
    run *leader = x->leader;

    if (!run_decodes(leader) && leader->over) run_cancel(x);
    if (!x->leader || !run_decodes(leader) || run_is_sealing(leader)) return false;
    if (cache_fork(leader->context, &x->context) != ERR_OK) return false; /* next time */
    memcpy(x->logits, leader->logits, x->runtime->weights->V * sizeof *x->logits);
    x->read = x->generation->out.cached_tokens = leader->read;
    leave(x);
    answer(x);
    return true;
}

void run_cancel(run *x)
{
    if (x->leader) cache_drop_copy(x->leader->context);
    leave(x);
    generation_end(x->generation, FINISH_ABORT);
    x->over = true;
}

void run_close(run *x)
{
    if (x->context) {
        x->generation->out.cache_bytes = cache_context_bytes(x->context);
        cache_end(x->context);
    }
    sampler_free(x->sampler);
    free(x->logits);
    *x = (run){0};
}
