/* sessions_visit.c - visits of the scheduler's thread, whose the blocks are.
 *
 * A visit carries a copy of what it needs from one to the other and back (sched_ask): it holds
 * each session and its history, looks up every session's blocks, acts on one of them, and
 * brings home what it has seen. `links->pin` is the scheduler's thread's alone, while there is
 * one. */
#include "server/api/sessions_state.h"

#include <stdlib.h>
#include <string.h>

#include "xcache/cache.h"

/* A session as the scheduler's thread sees it. */
typedef struct visit_row {
    session *session; /* held */
    session_history *history;
    uint32_t *blocks; /* into visit.blocks */
    session_seen seen;
} visit_row;

typedef struct visit {
    sched_call call; /* first */
    session_act act;
    size_t of; /* its row; n_rows: none */
    size_t n_rows;
    visit_row *rows;
    uint32_t *blocks;  /* those of all rows */
    unsigned *holders; /* [numbers of blocks] sessions that have it */
    err result;
    void (*then)(void *user, err e);
    void *user;
} visit;

/* Lookups hold nothing: numbers stand for these blocks until this call of the thread ends. */
static void look(visit *v, cache *c)
{
    for (size_t i = 0; i < v->n_rows; i++) {
        visit_row *r = &v->rows[i];
        const cache_request q = {.ids = r->history ? r->history->ids : NULL,
                                 .n_ids = r->history ? r->history->n : 0,
                                 .scope = r->session->who.scope,
                                 .scope_bytes = sizeof r->session->who.scope};

        r->seen.blocks = cache_lookup(c, &q, r->blocks);
        r->seen.usable = cache_usable(c, r->blocks, r->seen.blocks);
        for (size_t b = 0; b < r->seen.blocks; b++) v->holders[r->blocks[b]]++;
    }
}

/* After the act: what a pin or a delete has changed shows in what is answered. */
static void judge(visit *v, const cache *c)
{
    for (size_t i = 0; i < v->n_rows; i++) {
        visit_row *r = &v->rows[i];

        r->seen.hot = r->seen.blocks > 0;
        for (size_t b = 0; b < r->seen.blocks; b++) {
            const size_t bytes = cache_bytes_of_block(c, r->blocks[b]);

            r->seen.bytes += bytes;
            if (v->holders[r->blocks[b]] > 1) r->seen.shared_bytes += bytes;
            r->seen.degraded_blocks += cache_block_is_degraded(c, r->blocks[b]);
            r->seen.hot &= cache_block_is_hot(c, r->blocks[b]);
        }
    }
}

/* What was pinned with the session, not what is cached of it now: those may differ. */
static void let_go(visit_row *r, cache *c)
{
    pin *p = &r->session->links->pin;

    cache_unpin(c, p->blocks, p->n);
    p->n = 0;
}

/* The new ones first: what stays pinned is not let go of in between. */
static err keep(visit_row *r, cache *c)
{
    pin *p = &r->session->links->pin;
    const pin old = *p;
    uint32_t *blocks = malloc((r->seen.blocks + 1) * sizeof *blocks);
    err e;

    if (!blocks) return ERR_NOMEM;
    memcpy(blocks, r->blocks, r->seen.blocks * sizeof *blocks);
    e = cache_pin(c, blocks, r->seen.blocks);
    if (e != ERR_OK) {
        free(blocks);
        return e;
    }
    *p = (pin){blocks, r->seen.blocks};
    cache_unpin(c, old.blocks, old.n);
    free(old.blocks);
    return ERR_OK;
}

/* From the end, as far as nobody else has them. */
static void forget(visit_row *r, const visit *v, cache *c)
{
    let_go(r, c);
    while (r->seen.blocks && v->holders[r->blocks[r->seen.blocks - 1]] == 1)
        cache_forget(c, r->blocks[--r->seen.blocks]);
    r->seen = (session_seen){0};
}

/* Scheduler's thread, between two steps. Linear in the ids of all sessions: a block is shared
 * if another session has it, and only the cache knows who has which. */
static void work(sched_call *call, cache *c)
{
    visit *v = (visit *)call;
    visit_row *of = v->of < v->n_rows ? &v->rows[v->of] : NULL;

    look(v, c);
    if (v->act == SESSION_PIN) v->result = keep(of, c);
    if (v->act == SESSION_UNPIN) let_go(of, c);
    if (v->act == SESSION_DELETE) forget(of, v, c);
    judge(v, c);
}

/* Also of a visit that was never filled. */
static void free_visit(visit *v)
{
    for (size_t i = 0; i < v->n_rows && v->rows; i++) {
        sessions_history_drop(v->rows[i].history);
        if (v->rows[i].session) sessions_unref(v->rows[i].session);
    }
    free(v->rows);
    free(v->blocks);
    free(v->holders);
    free(v);
}

/* Loop again: sessions are its own, so what was seen is written here. */
static void done(sched_call *call)
{
    visit *v = (visit *)call;
    visit_row *of = v->of < v->n_rows ? &v->rows[v->of] : NULL;

    for (size_t i = 0; i < v->n_rows; i++) v->rows[i].session->seen = v->rows[i].seen;
    if (v->act == SESSION_PIN) {
        of->session->pinned |= v->result == ERR_OK;
        of->session->links->wants_pin = of->session->pinned;
    }
    if (v->act == SESSION_UNPIN) of->session->pinned = false;
    v->then(v->user, v->result);
    free_visit(v);
}

/* Room for the blocks that each session could have. */
static err allocate(visit *v, const sessions *t)
{
    const size_t blocks = t->ids / t->block_tokens + t->count + 1;

    v->rows = calloc(t->count + 1, sizeof *v->rows);
    v->blocks = malloc(blocks * sizeof *v->blocks);
    v->holders = calloc(t->block_numbers, sizeof *v->holders);
    return v->rows && v->blocks && v->holders ? ERR_OK : ERR_NOMEM;
}

/* Holds every session and its history, for both may go while the scheduler's thread reads. */
static void fill(visit *v, const sessions *t, const session *of)
{
    uint32_t *blocks = v->blocks;

    for (session *s = t->newest; s; s = s->links->older) {
        visit_row *r = &v->rows[v->n_rows];

        if (s == of) v->of = v->n_rows;
        v->n_rows++;
        s->links->refs++;
        *r = (visit_row){.session = s, .history = sessions_history_hold(s->history)};
        r->blocks = blocks;
        blocks += sessions_length(s) / t->block_tokens;
    }
}

err sessions_act(sessions *t, session_act act, session *of, void (*then)(void *user, err e),
                 void *user)
{
    visit *v;

    if (act == SESSION_PIN && !sessions_may_pin(t, of)) return ERR_BUSY;
    v = calloc(1, sizeof *v);
    if (!v) return ERR_NOMEM;
    *v = (visit){.call = {.work = work, .done = done},
                 .act = act,
                 .of = SIZE_MAX,
                 .then = then,
                 .user = user};
    if (allocate(v, t) != ERR_OK) {
        free_visit(v);
        return ERR_NOMEM;
    }
    fill(v, t, of);
    if (act == SESSION_PIN)
        of->links->wants_pin = true; /* now: may_pin counts those on the way */
    if (act == SESSION_UNPIN) of->links->wants_pin = false;
    if (act == SESSION_DELETE) sessions_remove(t, of); /* the visit holds it */
    sched_ask(t->sched, &v->call);
    return ERR_OK;
}
