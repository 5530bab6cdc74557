/* rebuild.c - fills pages of the workspace from sealed blocks, whole blocks or some layers at a
 * time. */
#include "xcache/rebuild.h"
#include "engine/clock.h"

#include "xcache/cache_state.h"

/* Some layers of one block into its page; what a codec carries stays in `state`. */
static void rebuild_block(const xcontext *x, size_t b, int from, int to, float *state, int slot)
{
    const context_shared *s = x->shared;
    const size_t B = s->codec.block_tokens;

    for (int l = from; l < to; l++) {
        codec_place place = context_place(s, l, x->blocks[b], b * B);
        kv_tile tile;

        if (!context_has_layer(s, l, x->blocks[b])) continue; /* nobody will read it */
        place.scratch = &s->slots[slot];
        place.state = state;
        context_decode(x, l, x->blocks[b], &place, &tile);
        workspace_write(s->workspace, x->blocks[b], l, &tile);
    }
}

/* Blocks of a context to be rebuilt, one a task: layers from .. to - 1. */
typedef struct rebuild_job {
    const xcontext *x;
    const size_t *list; /* places in x->blocks */
    int from, to;
    float *states; /* [n,B,D] what each carries to the next job; NULL: nothing */
    double seconds[REBUILDS_AT_ONCE];
} rebuild_job;

static void rebuild_task(void *arg, int i, int slot)
{
    rebuild_job *job = arg;
    const codec_state *c = &job->x->shared->codec;
    const size_t one = c->block_tokens * c->m->D;
    const double start = clock_seconds();

    rebuild_block(
        job->x, job->list[i], job->from, job->to,
        job->states ? job->states + (size_t)i * one : job->x->shared->slots[slot].state, slot);
    job->seconds[i] = clock_seconds() - start;
}

static void run_rebuild(cache *c, rebuild_job *job, size_t n)
{
    if (n) c->team->run(c->team, rebuild_task, job, (int)n);
    for (size_t i = 0; i < n; i++) c->rebuild_seconds += job->seconds[i];
}

/* The first up to `most` blocks without a page; *lacking: all of them. */
static size_t list_lacking(const xcontext *x, size_t most, size_t *list, size_t *lacking)
{
    size_t n = 0;

    *lacking = 0;
    for (size_t b = 0; b < x->n_blocks; b++) {
        if (workspace_has(x->shared->workspace, x->blocks[b])) continue;
        if (n < most) list[n++] = b;
        ++*lacking;
    }
    return n;
}

/* List up to `most` that lack a page, and give them one. Returns how many lack one still. */
static size_t add_pages(const xcontext *x, size_t most, size_t *list, size_t *n)
{
    workspace *w = x->shared->workspace;
    size_t lacking;

    *n = list_lacking(x, most < REBUILDS_AT_ONCE ? most : REBUILDS_AT_ONCE, list, &lacking);
    for (size_t i = 0; i < *n; i++) workspace_add(w, x->blocks[list[i]]);
    return lacking - *n;
}

/* Pages that are not whole are no pages. */
static void drop_begun(cache *c)
{
    rebuild_state *w = &c->rebuilding;

    /* the page would be found by the next context that holds the block, with layers missing */
    for (size_t i = 0; w->x && i < w->n; i++)
        workspace_drop(c->shared.workspace, w->x->blocks[w->list[i]]);
    *w = (rebuild_state){0};
}

void rebuild_again(xcontext *x, size_t b)
{
    const context_shared *s = x->shared;

    rebuild_block(x, b, 0, (int)s->codec.m->L, s->slots[0].state, 0);
}

void rebuild_stop(cache *c, const xcontext *x)
{
    if (c->rebuilding.x == x) drop_begun(c);
}

size_t rebuild_pages(context *base, size_t most)
{
    xcontext *x = context_of(base);
    cache *c = x->cache;
    size_t list[REBUILDS_AT_ONCE], n, left;
    rebuild_job job = {.x = x, .list = list, .to = (int)c->shared.codec.m->L};

    if (!c->shared.workspace) return 0;
    drop_begun(c);
    left = add_pages(x, most, list, &n);
    run_rebuild(c, &job, n);
    return left;
}

/* Where blocks that are rebuilt layer by layer keep what they carry: in the rows of the open
 * page, which has none yet. */
static float *carried_states(const xcontext *x)
{
    return x->shared->codec.codec->carries ? x->page->x : NULL;
}

/* Can its blocks be rebuilt layer by layer? */
static bool can_cut(const xcontext *x)
{
    const codec *kind = x->shared->codec.codec;

    return x->n_tokens % x->base.block_tokens == 0 && x->sealing == PREFIX_NONE &&
           (!kind->carries || kind->keeps_x);
}

/* Blocks at once: one a worker, and as many as there is room for what they carry. */
static size_t blocks_at_once(const cache *c)
{
    const size_t L = c->shared.codec.m->L, slots = (size_t)c->team->slots;

    return slots < L ? slots : L;
}

bool rebuild_layers(context *base, int layers)
{
    xcontext *x = context_of(base);
    cache *c = x->cache;
    const int L = (int)c->shared.codec.m->L;
    rebuild_state *w = &c->rebuilding;
    rebuild_job job = {.x = x, .list = w->list, .states = carried_states(x)};

    if (!c->shared.workspace) return true;
    /* an open page in use has no room for states: then whole blocks, one a worker */
    if (!can_cut(x)) return rebuild_pages(base, blocks_at_once(c)) == 0;
    if (w->x != x) drop_begun(c);
    while (layers > 0) {
        if (!w->x) {
            add_pages(x, blocks_at_once(c), w->list, &w->n);
            if (!w->n) return true;
            w->x = x;
        }
        job.from = w->layer;
        job.to = layers < L - w->layer ? w->layer + layers : L;
        run_rebuild(c, &job, w->n);
        layers -= job.to - job.from;
        w->layer = job.to;
        /* whole: they are pages like others */
        if (w->layer == L) *w = (rebuild_state){0};
    }
    return !w->x && list_lacking(x, 0, w->list, &w->n) == 0 && w->n == 0;
}

void rebuild_drop_pages(cache *c)
{
    c->rebuilding = (rebuild_state){0};
    for (size_t b = 0; c->shared.workspace && b < pool_numbers(c->shared.pool); b++)
        workspace_drop(c->shared.workspace, (pool_block)b);
}
