/* sessions.c - a tree by name, a list by use, and visits to the scheduler's thread.
 *
 * The table is the loop's, blocks are the scheduler's. A visit carries a copy of what it needs
 * from one to the other and back (sched_ask): it holds each session and its history, looks up
 * every session's blocks, acts on one of them, and brings home what it has seen. `links->pin`
 * is the scheduler's thread's alone, while there is one. */
#include "server/api/sessions.h"

#include <assert.h>
#include <search.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "xcache/cache.h"

/* What is pinned of a session; the scheduler's thread alone looks inside. */
typedef struct pin {
    uint32_t *blocks; /* [n] */
    size_t n;
} pin;

struct session_links {
    session *older, *newer; /* by use */
    unsigned refs;          /* the table's, and visits' */
    bool gone;              /* no longer in the table */
    bool wants_pin;
    pin pin;
};

struct sessions {
    sched *sched;
    void *by_name; /* tsearch's */
    session *oldest, *newest;
    size_t count, ids, limit_ids;
    size_t block_tokens, blocks; /* of the pool */
    size_t block_numbers;
};

/* --- histories --- */

session_history *sessions_history_hold(session_history *h)
{
    if (h) h->refs++;
    return h;
}

void sessions_history_drop(session_history *h)
{
    if (h && --h->refs == 0) free(h);
}

/* One allocation, ids behind the head. Never changed once made: a worker may be reading it. */
static session_history *new_history(const int32_t *a, size_t n_a, const int32_t *b, size_t n_b)
{
    session_history *h = malloc(sizeof *h + (n_a + n_b) * sizeof *h->ids);

    if (!h) return NULL;
    h->refs = 1;
    h->n = n_a + n_b;
    memcpy(h->ids, a, n_a * sizeof *a);
    if (n_b) memcpy(h->ids + n_a, b, n_b * sizeof *b);
    return h;
}

static size_t length(const session *s)
{
    return s->history ? s->history->n : 0;
}

/* --- one session --- */

/* Of one tenant first: the same name of two tenants is two sessions. */
static int by_name(const void *a, const void *b)
{
    const session *x = a, *y = b;
    int order = memcmp(&x->who, &y->who, sizeof x->who);

    return order ? order : strcmp(x->name, y->name);
}

/* A visit may hold one that the table has forgotten. */
static void session_unref(session *s)
{
    if (--s->links->refs) return;
    assert(!s->links->pin.n);
    sessions_history_drop(s->history);
    free(s->links->pin.blocks);
    free(s->links);
    free((char *)s->name);
    free(s);
}

static session *new_session(const tenant *who, const char *name)
{
    session *s = calloc(1, sizeof *s);

    if (!s) return NULL;
    s->who = *who;
    s->name = strdup(name);
    s->links = calloc(1, sizeof *s->links);
    if (s->name && s->links) {
        s->links->refs = 1;
        return s;
    }
    free((char *)s->name);
    free(s->links);
    free(s);
    return NULL;
}

/* --- the table --- */

static void link_newest(sessions *t, session *s)
{
    s->links->newer = NULL;
    s->links->older = t->newest;
    if (t->newest)
        t->newest->links->newer = s;
    else
        t->oldest = s;
    t->newest = s;
}

static void unlink_used(sessions *t, session *s)
{
    session *older = s->links->older, *newer = s->links->newer;

    if (older)
        older->links->newer = newer;
    else
        t->oldest = newer;
    if (newer)
        newer->links->older = older;
    else
        t->newest = older;
}

/* The list is in the order of use, so the one to forget is found without looking. */
static void use(sessions *t, session *s)
{
    s->last_used_unix = (uint64_t)time(NULL);
    unlink_used(t, s);
    link_newest(t, s);
}

static void remove_session(sessions *t, session *s)
{
    tdelete(s, &t->by_name, by_name);
    unlink_used(t, s);
    t->count--;
    t->ids -= length(s);
    s->links->gone = true;
    session_unref(s);
}

/* What a session costs besides its ids is taken for a block of them. */
static bool is_over_full(const sessions *t)
{
    return t->ids + t->count * t->block_tokens > t->limit_ids;
}

static bool is_kept(const session *s)
{
    return s->pinned || s->links->wants_pin;
}

/* A pinned session is passed over; the newest is who the room is for. */
static void make_room(sessions *t)
{
    for (session *s = t->oldest, *newer; s != t->newest && is_over_full(t); s = newer) {
        newer = s->links->newer;
        if (!is_kept(s)) remove_session(t, s);
    }
}

/* Even sessions without blocks: no more may be pinned than the pool has blocks. */
static bool may_pin(const sessions *t, const session *of)
{
    size_t n = 0;

    for (const session *s = t->newest; s; s = s->links->older) n += is_kept(s);
    return is_kept(of) || n < t->blocks;
}

static err add_session(sessions *t, const tenant *who, const char *name, session **out)
{
    session *s = new_session(who, name);

    if (!s) return ERR_NOMEM;
    if (!tsearch(s, &t->by_name, by_name)) {
        session_unref(s);
        return ERR_NOMEM;
    }
    s->last_used_unix = (uint64_t)time(NULL);
    link_newest(t, s);
    t->count++;
    *out = s;
    return ERR_OK;
}

/* Takes h. */
/* Counted before room is made, so that the limit holds at any time but inside this call. */
static void set_history(sessions *t, session *s, session_history *h)
{
    t->ids += h->n - length(s);
    sessions_history_drop(s->history);
    s->history = h;
    make_room(t);
}

err sessions_open(sessions **out, sched *s, size_t limit_ids)
{
    sessions *t = calloc(1, sizeof *t);
    sched_stats now;

    if (!t) return ERR_NOMEM;
    sched_read_stats(s, &now);
    t->sched = s;
    t->limit_ids = limit_ids;
    t->block_tokens = now.cache.block_tokens;
    t->blocks = now.cache.capacity_tokens / now.cache.block_tokens;
    t->block_numbers = now.cache.block_numbers;
    *out = t;
    return ERR_OK;
}

/* The scheduler is closed by then: no visit is left, and no pin needs to be undone. */
void sessions_close(sessions *t)
{
    if (!t) return;
    while (t->oldest) {
        t->oldest->links->pin.n = 0; /* the cache goes too */
        remove_session(t, t->oldest);
    }
    free(t);
}

session *sessions_find(const sessions *t, const tenant *who, const char *name)
{
    const session wanted = {.who = *who, .name = name};
    session *const *found = tfind(&wanted, &t->by_name, by_name);

    return found ? *found : NULL;
}

/* Linear in the sessions used since: lists are asked for by people. */
static session *from_here(session *s, const tenant *who)
{
    while (s && memcmp(&s->who, who, sizeof *who) != 0) s = s->links->older;
    return s;
}

session *sessions_first(const sessions *t, const tenant *who)
{
    return from_here(t->newest, who);
}

session *sessions_next(const session *s)
{
    return from_here(s->links->older, &s->who);
}

/* As they were when last looked at: the loop cannot ask the cache. */
size_t sessions_count(const sessions *t, size_t *hot)
{
    *hot = 0;
    for (const session *s = t->newest; s; s = s->links->older) *hot += s->seen.hot;
    return t->count;
}

/* --- turns --- */

static void ignore(void *user, err e)
{
    (void)user, (void)e;
}

/* A pinned session's new blocks are pinned by a visit of their own; who sent the turn does not
 * wait for it. */
err sessions_note(sessions *t, const tenant *who, const char *name, const int32_t *prompt,
                  size_t n_prompt, const int32_t *answer, size_t n_answer)
{
    session *s = sessions_find(t, who, name);
    session_history *h = new_history(prompt, n_prompt, answer, n_answer);
    err e = h ? ERR_OK : ERR_NOMEM;

    if (e == ERR_OK && !s) e = add_session(t, who, name, &s);
    if (e != ERR_OK) {
        sessions_history_drop(h);
        return e;
    }
    use(t, s);
    set_history(t, s, h);
    return s->links->wants_pin ? sessions_act(t, SESSION_PIN, s, ignore, NULL) : ERR_OK;
}

/* Shares the history: it is immutable, and a fork costs no ids. */
err sessions_fork(sessions *t, const session *of, const char *name, session **out)
{
    if (sessions_find(t, &of->who, name)) return ERR_BUSY;
    TRY(add_session(t, &of->who, name, out));
    (*out)->seen = of->seen;
    if (of->history) set_history(t, *out, sessions_history_hold(of->history));
    return ERR_OK;
}

/* --- visits --- */

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
        if (v->rows[i].session) session_unref(v->rows[i].session);
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
        blocks += length(s) / t->block_tokens;
    }
}

err sessions_act(sessions *t, session_act act, session *of, void (*then)(void *user, err e),
                 void *user)
{
    visit *v;

    if (act == SESSION_PIN && !may_pin(t, of)) return ERR_BUSY;
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
    if (act == SESSION_DELETE) remove_session(t, of); /* the visit holds it */
    sched_ask(t->sched, &v->call);
    return ERR_OK;
}
