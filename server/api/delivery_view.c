/* delivery_view.c - what is told of a delivery as a whole: its sums, which of its answers are
 * the likeliest, and, to others, that it is under way. */
#include <stdlib.h>
#include <string.h>

#include "server/api/delivery_state.h"

static uint64_t larger(uint64_t a, uint64_t b)
{
    return a > b ? a : b;
}

/* A prompt counts once, whatever n: it was computed once. Choices take their time side by side,
 * so the longest of them is what it took. */
reply_usage delivery_usage(const delivery *d)
{
    reply_usage sum = {0};

    for (size_t i = 0; i < d->n; i++) {
        const reply_usage one = reply_usage_of(&d->choices[i].reply);

        sum.completion += one.completion;
        sum.reasoning += one.reasoning;
        sum.prompt_ns = larger(sum.prompt_ns, one.prompt_ns);
        sum.completion_ns = larger(sum.completion_ns, one.completion_ns);
        if (!d->choices[i].reads) continue;
        sum.prompt += one.prompt;
        sum.cached += one.cached;
        sum.rewound += one.rewound;
    }
    return sum;
}

/* best_of: what the model thought of its own tokens, by and large. */
static double mean_logprob(const choice *c)
{
    const generation_out *out = &c->generation->out;
    double sum = 0;

    for (size_t i = 0; i < out->n_tokens; i++) sum += (double)out->tokens[i].logprob;
    return out->n_tokens ? sum / (double)out->n_tokens : 0;
}

/* The likeliest first; of equals, the one that was drawn first. */
static int by_likelihood(const void *a, const void *b)
{
    const choice *x = a, *y = b;
    const double p = mean_logprob(x), q = mean_logprob(y);

    if (p > q || p < q) return p > q ? -1 : 1;
    return x->reply.index < y->reply.index ? -1 : 1;
}

/* Of each prompt's answers those that are told come first. Once all have ended nobody else
 * looks for a choice. */
void delivery_order(delivery *d)
{
    const size_t n = d->request.n, told = d->request.told;

    for (size_t i = 0; i < d->n; i += n)
        qsort(d->choices + i, n, sizeof *d->choices, by_likelihood);
    for (size_t i = 0; i < d->n; i++) {
        d->choices[i].reply.index = i / n * told + i % n;
        d->choices[i].reply.blocks = &d->choices[i].blocks;
    }
}

/* --- those under way --- */

void delivery_list(delivery *d)
{
    server *s = d->server;

    d->next = s->deliveries;
    if (d->next) d->next->prev = d;
    s->deliveries = d;
}

/* Also of one that was never listed. */
void delivery_unlist(delivery *d)
{
    if (d->next) d->next->prev = d->prev;
    if (d->prev)
        d->prev->next = d->next;
    else if (d->server && d->server->deliveries == d)
        d->server->deliveries = d->next;
    d->next = d->prev = NULL;
}

static void fill(delivery_view *v, const delivery *d, const choice *c)
{
    const generation *g = c->generation;

    *v = (delivery_view){.id = c->reply.id,
                         .session = d->request.session,
                         .tenant = d->request.who.id,
                         .prompt = g->in.n_ids,
                         .max_tokens = g->in.max_tokens,
                         .temperature = g->in.sample.temperature,
                         .stream = d->request.stream,
                         .of = d,
                         .i = v->i};
    v->decoded = atomic_load_explicit(&g->out.published, memory_order_acquire);
}

bool delivery_next(const server *s, delivery_view *v)
{
    const delivery *d = v->of ? v->of : s->deliveries;

    for (; d; d = d->next, v->i = 0)
        while (v->i < d->n) {
            const choice *c = &d->choices[v->i++];

            if (!c->runs) continue;
            fill(v, d, c);
            return true;
        }
    return false;
}
