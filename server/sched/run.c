/* run.c - the rows of one generation in a step, and what it takes from it.
 *
 * A run is a state machine; its state is in what it holds, so there is no field that could
 * disagree with it:
 *
 *   run_open      -> REBUILD   the workspace lacks pages of the cached prefix
 *                      |  run_rebuild: true
 *                    PREFILL   prefilled < n_ids: a chunk of the prompt a step
 *                      |  the last chunk is in, its logits sampled
 *                    DECODE    prefilled == n_ids: the last token, a row a step
 *                      |  an end token, a stop string, max_tokens, cancel
 *                    OVER      -> run_is_finished -> run_close
 *
 *   run_open_copy -> FOLLOW    leader set, no context
 *                      |  run_fork: the leader's prefill is done     | its leader is canceled
 *                    DECODE                                        OVER
 *
 * An answer that is held to a form is MASKING between its logits and its token: the mask may
 * take longer than others can wait, so batch has it made in pieces, and the run takes part in
 * no step until then (run_make_mask). Most are made at once, behind the step.
 *
 * A run whose texts become vectors is in none of these states, and never ready: embed.c ends
 * it.
 *
 * Beside it, SEALING: a block became full in the last step. From PREFILL, DECODE and OVER
 * alike; the run takes part in no step until batch has had it sealed (run_is_ready). A leader
 * whose copies still follow waits at the end of PREFILL, since they must find the prompt and
 * nothing else in its context. A canceled run drops a half-sealed block; one that ended well
 * does not, for the next turn will look it up. */
#include "server/sched/run.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "engine/clock.h"
#include "xcache/rebuild.h"

/* Tokens whose layer inputs are computed: the last one sampled is not, since nothing is asked
 * after it. */
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

/* Before the first step, since a step does not allocate. Penalties count the prompt too. */
static err open_sampler(run *x)
{
    const generation_in *in = &x->generation->in;
    const size_t V = x->runtime->weights->V;

    x->logits = malloc(2 * V * sizeof *x->logits);
    if (!x->logits) return ERR_NOMEM;
    TRY(sampler_new(&x->sampler, V, &in->sample));
    for (size_t i = 0; i < in->n_ids; i++) sampler_see_prompt(x->sampler, in->ids[i]);
    if (!in->program) return ERR_OK;
    return matcher_new(&x->matcher, in->program, generation_begins_text(x->generation, 0));
}

err run_open(run *x, runtime *r, generation *g, size_t copies, bool modest)
{
    const generation_in *in = &g->in;
    const cache_request wanted = {.ids = in->ids,
                                  .n_ids = in->n_ids,
                                  .tokens = computed_tokens(in->n_ids, in->max_tokens),
                                  .fresh = in->reads_prompt,
                                  .copies = copies,
                                  .modest = modest,
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
    x->prefilled = g->out.cached_tokens = cache_context_tokens(x->context);
    g->out.rewound_tokens = cache_context_rewound(x->context);
    return ERR_OK;
}

err run_check_texts(const runtime *r, const size_t *ends, size_t n)
{
    size_t first = 0;

    for (size_t i = 0; i < n; first = ends[i++]) {
        if (ends[i] == first) return ERR_EMPTY;
        if (ends[i] - first > encoder_longest(r->encoder)) return ERR_TOOLONG;
    }
    return ERR_OK;
}

void run_open_texts(run *x, runtime *r, generation *g)
{
    *x = (run){.runtime = r, .generation = g};
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

bool run_rebuild(run *x)
{
    return rebuild_pages(x->context, (size_t)x->runtime->team->slots) == 0;
}

bool run_rebuild_layers(run *x, int layers)
{
    return rebuild_layers(x->context, layers);
}

bool run_is_sealing(const run *x)
{
    return x->context && cache_is_sealing(x->context);
}

bool run_is_ready(const run *x)
{
    return !x->over && !x->masking && x->context && !run_is_sealing(x) &&
           !(x->copies && run_is_decoding(x));
}

/* A run that others follow stays until they have forked, even when it has ended itself. */
bool run_is_finished(const run *x)
{
    return x->over && !x->copies &&
           (!run_is_sealing(x) || x->generation->out.finish == FINISH_ABORT);
}

bool run_is_decoding(const run *x)
{
    return x->prefilled == x->generation->in.n_ids;
}

static size_t smaller(size_t a, size_t b)
{
    return a < b ? a : b;
}

/* Row i of a chunk of the prompt says what comes behind it. */
static void read_prompt(void *user, size_t i, const float *logits)
{
    run *x = user;

    generation_read_prompt(x->generation, x->prefilled + i + 1, logits);
}

forward_chunk run_next_chunk(run *x, size_t max_rows)
{
    const generation *g = x->generation;
    const size_t B = x->context->block_tokens, left = g->in.n_ids - x->prefilled;
    forward_chunk c = {.context = x->context, .pos = cache_context_tokens(x->context)};

    if (run_is_decoding(x)) {
        c.ids = &g->out.tokens[generation_tokens(g) - 1].id;
        c.T = 1;
        c.wanted = 1;
    } else {
        c.ids = g->in.ids + x->prefilled;
        /* within a block: it must be sealed before the next one begins */
        c.T = smaller(max_rows, smaller(B - x->prefilled % B, left));
        c.wanted = c.T == left && g->in.max_tokens;
        c.see = g->in.reads_prompt ? read_prompt : NULL;
        c.user = x;
    }
    c.logits = c.wanted ? x->logits : NULL;
    cache_push(x->context, c.ids, c.T);
    return c;
}

/* What was drawn; or, where biases have banned all that the form allows, the best of that. The
 * form comes first: an answer that breaks it is worth nothing to who asked for it. */
static int32_t pick(run *x, const uint64_t *mask)
{
    const size_t V = x->runtime->weights->V;
    float *logits = x->logits + V;
    int32_t id;

    memcpy(logits, x->logits, V * sizeof *logits);
    if (mask) matcher_apply(mask, logits, V);
    id = sampler_pick(x->sampler, logits);
    if (!mask || matcher_allows(mask, id)) return id;
    memcpy(logits, x->logits, V * sizeof *logits);
    matcher_apply(mask, logits, V);
    id = sample_best_id(logits, V);
    return matcher_allows(mask, id) ? id : matcher_first(mask, V);
}

/* Add the token; an answer that its form lets go no further is complete, as is one that may end
 * here and has used up its tokens. */
static bool add(run *x, int32_t id)
{
    generation *g = x->generation;
    const float *logits = g->in.top >= 0 || g->in.scored ? x->logits : NULL;
    const bool last = generation_tokens(g) + 1 == g->in.max_tokens;

    if (!x->matcher || !matcher_accept(x->matcher, id)) return generation_add(g, id, logits);
    if (!matcher_is_complete(x->matcher) &&
        (g->in.may_be_cut || !(last && matcher_may_end(x->matcher))))
        return generation_add(g, id, logits);
    generation_add_last(g, id, logits);
    return true;
}

/* Choose the next token. The sampler changes the logits it is given, and logprobs are of those
 * before any rule: so it gets a copy, in the second half. */
static void sample(run *x, const uint64_t *mask)
{
    generation *g = x->generation;
    const uint64_t start = clock_ns();
    const int32_t id = pick(x, mask);

    sampler_see_answer(x->sampler, id);
    if (!g->out.first_ns) g->out.first_ns = clock_ns();
    x->over = add(x, id);
    x->sample_seconds += clock_seconds_between(start, clock_ns());
}

/* A form that allows nothing more ends the answer: with an error of a bound only, or where the
 * vocabulary has no end token. */
bool run_make_mask(run *x, uint64_t until_ns)
{
    generation *g = x->generation;
    const uint64_t start = clock_ns();
    const size_t left = g->in.max_tokens - generation_tokens(g) - 1;
    const uint64_t *mask;

    x->masking = !matcher_prepare(x->matcher, g->in.may_be_cut ? GRAMMAR_NEVER : left, until_ns,
                                  &mask);
    x->sample_seconds += clock_seconds_between(start, clock_ns());
    if (x->masking) return false;
    if (mask) {
        sample(x, mask);
    } else {
        generation_end(g, matcher_may_end(x->matcher) ? FINISH_STOP : FINISH_LENGTH);
        x->over = true;
    }
    return true;
}

/* Its prefill is done, or it decoded one more row. max_tokens 0 only fills the cache. */
static void answer(run *x)
{
    if (x->generation->in.max_tokens) {
        x->masking = x->matcher;
        if (!x->masking) sample(x, NULL);
    } else {
        generation_end(x->generation, FINISH_LENGTH);
        x->over = true;
    }
}

void run_commit(run *x, const forward_chunk *c)
{
    cache_commit_later(x->context);
    if (!run_is_decoding(x)) x->prefilled += c->T;
    if (run_is_decoding(x)) answer(x);
}

void run_take_back(run *x)
{
    cache_take_back(x->context);
}

/* It follows its leader no longer. */
static void leave(run *x)
{
    if (x->leader) x->leader->copies--;
    x->leader = NULL;
}

bool run_fork(run *x)
{
    run *leader = x->leader;

    if (!run_is_decoding(leader) && leader->over) run_cancel(x);
    if (!x->leader || !run_is_decoding(leader) || run_is_sealing(leader)) return false;
    if (cache_fork(leader->context, &x->context) != ERR_OK)
        return false; /* no memory: the next
                       step tries again */
    generation_share_prompt(x->generation, leader->generation);
    memcpy(x->logits, leader->logits, x->runtime->weights->V * sizeof *x->logits);
    x->prefilled = x->generation->out.cached_tokens = leader->prefilled;
    leave(x);
    answer(x);
    return true;
}

/* What was reserved for a copy is the leader's until it forks, so it is given back there. */
void run_cancel(run *x)
{
    if (x->leader) cache_drop_copy(x->leader->context);
    leave(x);
    generation_end(x->generation, FINISH_ABORT);
    x->masking = false;
    x->over = true;
}

void run_close(run *x)
{
    if (x->context) {
        x->generation->out.cache_bytes = cache_context_bytes(x->context);
        cache_end(x->context);
    }
    sampler_free(x->sampler);
    matcher_free(x->matcher);
    free(x->logits);
    *x = (run){0};
}
