/* sizing.c - divides memory between a pool and what it needs beside it.
 *
 *   ram = weights + step buffers + plan + scratch + workspace + pool
 *
 * and of the last three each depends on the pool; measured as cache_open would have them. */
#include "server/cmd/sizing.h"

#include "server/plans.h"

static cache_options options_of(const runtime *r, const sizing_wish *w, const sizing_mode *m,
                                uint64_t pool)
{
    return (cache_options){.mode = m->mode,
                           .plan = m->plan,
                           .budget_bytes = pool,
                           .workspace_bytes = CACHE_AUTO_WORKSPACE,
                           .page_format = cache_choose_page_format(r->weights),
                           .max_running = (int)r->max_running,
                           .team = r->team,
                           .ctx_tokens = w->tokens,
                           .block_tokens = r->block_tokens};
}

static uint64_t less(uint64_t all, uint64_t part)
{
    return all > part ? all - part : 0;
}

err sizing_measure(const runtime *r, const sizing_wish *w, sizing_mode *m)
{
    const model *of = r->weights;
    const uint64_t steps = forward_bytes(r->forward) + 2 * w->tokens * of->C * sizeof(float);
    const uint64_t left = less(w->ram_bytes, of->weight_bytes + steps);
    uint64_t pool = left;

    /* The workspace depends on the pool, the tables a little: this settles at once. The last
     * pool that was measured leaves room for both: it is the first that the room it leaves
     * holds, or a smaller one, and whole pages of the workspace never grow as it shrinks. */
    for (int i = 0; i < 3; i++) {
        const cache_options o = options_of(r, w, m, pool);
        uint64_t room, next;

        TRY(cache_measure(of, &o, &m->sizes));
        room = less(left, m->sizes.scratch_bytes + m->sizes.weight_bytes);
        next = less(room, m->sizes.workspace_bytes);
        if (i > 0 && next >= pool) break;
        pool = next;
        if (i == 0 && pool < room / 8 * 7) pool = room / 8 * 7; /* its share beside a pool */
    }
    m->scratch_bytes = m->sizes.scratch_bytes + steps;
    m->context_bytes = cache_bytes_of(of, &m->sizes, w->tokens);
    m->contexts = m->sizes.pool_bytes / m->context_bytes;
    return ERR_OK;
}

bool sizing_is_near(const sizing_mode *m, const sizing_wish *w)
{
    return m->kl >= 0 && m->kl <= plans_max_kl(w->max_kl);
}

/* Is a to be taken rather than b, both of which are near? One that holds all users; then the
 * one nearest to exact, since what is left over is of no use to anybody. */
static bool is_better(const sizing_mode *a, const sizing_mode *b, const sizing_wish *w)
{
    const bool a_fits = a->contexts >= w->users, b_fits = b->contexts >= w->users;

    if (a_fits != b_fits) return a_fits;
    return a_fits ? a->kl < b->kl : a->contexts > b->contexts;
}

const sizing_mode *sizing_choose(const sizing_mode *modes, size_t n, const sizing_wish *w)
{
    const sizing_mode *best = NULL;

    for (size_t i = 0; i < n; i++)
        if (sizing_is_near(&modes[i], w) && (!best || is_better(&modes[i], best, w)))
            best = &modes[i];
    return best ? best : modes;
}
