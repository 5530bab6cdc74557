/* sessions.c - a tree by name, and a list by use.
 *
 * The table is the loop's; what it asks of the cache is sessions_visit.c's. */
#include "server/api/sessions_state.h"

#include <assert.h>
#include <search.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

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

size_t sessions_length(const session *s)
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
void sessions_unref(session *s)
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

void sessions_remove(sessions *t, session *s)
{
    tdelete(s, &t->by_name, by_name);
    unlink_used(t, s);
    t->count--;
    t->ids -= sessions_length(s);
    s->links->gone = true;
    sessions_unref(s);
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
        if (!is_kept(s)) sessions_remove(t, s);
    }
}

/* Even sessions without blocks: no more may be pinned than the pool has blocks. */
bool sessions_may_pin(const sessions *t, const session *of)
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
        sessions_unref(s);
        return ERR_NOMEM;
    }
    s->last_used_unix = (uint64_t)time(NULL);
    s->parted_at = SIZE_MAX;
    link_newest(t, s);
    t->count++;
    *out = s;
    return ERR_OK;
}

/* Takes h. */
/* Counted before room is made, so that the limit holds at any time but inside this call. */
static void set_history(sessions *t, session *s, session_history *h)
{
    t->ids += h->n - sessions_length(s);
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
        sessions_remove(t, t->oldest);
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

/* Where a prompt leaves the turn before it, or SIZE_MAX where it begins with all of that. */
static size_t parted_at(const session_history *h, const int32_t *prompt, size_t n)
{
    size_t i = 0;

    if (!h) return SIZE_MAX;
    while (i < h->n && i < n && h->ids[i] == prompt[i]) i++;
    return i < h->n ? i : SIZE_MAX;
}

/* What was to be kept until now. When others take their turn is soon enough: nobody else wants
 * the room. */
static void let_go(sessions *t)
{
    const uint64_t now = (uint64_t)time(NULL);

    for (session *s = t->newest; s; s = s->links->older) {
        if (!s->pinned_until_unix || s->pinned_until_unix > now) continue;
        if (sessions_act(t, SESSION_UNPIN, s, ignore, NULL) == ERR_OK) s->pinned_until_unix = 0;
    }
}

/* One that is pinned for good stays so. */
err sessions_retain(sessions *t, session *s, uint64_t until_unix)
{
    const bool for_good = s->links->wants_pin && !s->pinned_until_unix;

    if (for_good) return ERR_OK;
    s->pinned_until_unix = until_unix;
    return s->links->wants_pin ? ERR_OK : sessions_act(t, SESSION_PIN, s, ignore, NULL);
}

/* A pinned session's new blocks are pinned by a visit of their own; who sent the turn does not
 * wait for it. */
err sessions_note(sessions *t, const tenant *who, const char *name, const int32_t *prompt,
                  size_t n_prompt, const int32_t *answer, size_t n_answer)
{
    session *s = sessions_find(t, who, name);
    session_history *h = new_history(prompt, n_prompt, answer, n_answer);
    err e = h ? ERR_OK : ERR_NOMEM;

    let_go(t);
    if (e == ERR_OK && !s) e = add_session(t, who, name, &s);
    if (e != ERR_OK) {
        sessions_history_drop(h);
        return e;
    }
    use(t, s);
    s->parted_at = parted_at(s->history, prompt, n_prompt);
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
