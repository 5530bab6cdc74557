/* run.c - the steps of one generation. */
#include "server/run.h"

#include <stdlib.h>
#include <string.h>
#include <uv.h>

/* Tokens whose layer inputs are computed: the last one sampled is not. */
static size_t computed_tokens(size_t prompt_tokens, size_t max_tokens)
{
    return prompt_tokens + (max_tokens ? max_tokens - 1 : 0);
}

err run_check(const runtime *r, size_t prompt_tokens, size_t max_tokens)
{
    if (!prompt_tokens) return ERR_EMPTY;
    if (prompt_tokens > r->ctx_size || max_tokens > r->ctx_size - prompt_tokens)
        return ERR_TOOLONG;
    return cache_check(r->cache, computed_tokens(prompt_tokens, max_tokens));
}

err run_open(run *x, runtime *r, generation *g)
{
    const generation_in *in = &g->in;
    const size_t V = r->weights->V;
    const cache_request wanted = {.ids = in->ids,
                                  .n_ids = in->n_ids,
                                  .tokens = computed_tokens(in->n_ids, in->max_tokens)};
    err e;

    *x = (run){.runtime = r, .generation = g};
    x->logits = malloc(2 * V * sizeof *x->logits);
    if (!x->logits) return ERR_NOMEM;
    e = sampler_new(&x->sampler, V, &in->sample);
    if (e == ERR_OK) e = cache_begin(r->cache, &wanted, &x->context);
    if (e != ERR_OK) {
        run_close(x);
        return e;
    }
    x->read = g->out.cached_tokens = cache_context_tokens(x->context);
    for (size_t i = 0; i < in->n_ids; i++) sampler_see_prompt(x->sampler, in->ids[i]);
    return ERR_OK;
}

/* T tokens go through the network; logits of the last one if wanted. */
static void compute(run *x, const int32_t *ids, size_t T, bool wanted)
{
    const forward_piece p = {.context = x->context,
                             .ids = ids,
                             .T = T,
                             .pos = cache_context_tokens(x->context),
                             .wanted = wanted,
                             .logits = wanted ? x->logits : NULL};

    cache_push(x->context, ids, T);
    forward_step(x->runtime->forward, &p, 1);
    cache_settle(x->context);
}

/* Choose the next token. True when it was the last. */
static bool choose(run *x)
{
    const size_t V = x->runtime->weights->V;
    generation *g = x->generation;
    const uint64_t start = uv_hrtime();
    int32_t id;
    bool last;

    memcpy(x->logits + V, x->logits, V * sizeof *x->logits);
    id = sampler_pick(x->sampler, x->logits + V);
    sampler_see_answer(x->sampler, id);
    if (!g->out.first_ns) g->out.first_ns = uv_hrtime();
    last = generation_add(g, id, g->in.top >= 0 ? x->logits : NULL);
    x->sample_seconds += (double)(uv_hrtime() - start) * 1e-9;
    return last;
}

/* The next piece of the prompt: up to its block's end. */
static bool read_piece(run *x)
{
    const generation_in *in = &x->generation->in;
    const size_t room = x->context->block_tokens - x->read % x->context->block_tokens;
    const size_t left = in->n_ids - x->read, T = room < left ? room : left;
    const bool last = T == left;

    compute(x, in->ids + x->read, T, last && in->max_tokens);
    x->read += T;
    if (!last) return false;
    if (in->max_tokens) return choose(x);
    generation_end(x->generation, FINISH_LENGTH);
    return true;
}

bool run_step(run *x)
{
    generation *g = x->generation;

    if (atomic_load(&g->cancel)) {
        generation_end(g, FINISH_ABORT);
        return true;
    }
    if (cache_rebuild(x->context, (size_t)x->runtime->team->slots)) return false;
    if (x->read < g->in.n_ids) return read_piece(x);
    compute(x, &g->out.tokens[generation_tokens(g) - 1].id, 1, true);
    return choose(x);
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
