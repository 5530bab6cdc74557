/* response_store.c - a list under a lock, the newest first.
 *
 *   first -> [id | who | texts] -> [ ... ] -> last     bytes <= limit
 *            used: to the front                ^ the first to go
 *
 * A walk finds an answer: of so few bytes there are some hundreds, and a request has one walk.
 */
#include "server/api/response_store.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

enum { DIGITS = 32 /* of an id, behind its prefix */ };

typedef struct entry {
    struct entry *next;
    response_kept kept;
    size_t bytes;
} entry;

struct response_store {
    pthread_mutex_t lock; /* workers read, the loop writes */
    entry *first;
    size_t bytes, limit;
};

void response_kept_free(response_kept *kept)
{
    free(kept->answer);
    free(kept->items);
    free(kept->output);
    *kept = (response_kept){0};
}

static void entry_free(entry *e)
{
    response_kept_free(&e->kept);
    free(e);
}

err response_store_open(response_store **out, size_t limit)
{
    response_store *s = calloc(1, sizeof *s);

    if (!s) return ERR_NOMEM;
    pthread_mutex_init(&s->lock, NULL);
    s->limit = limit;
    *out = s;
    return ERR_OK;
}

void response_store_close(response_store *s)
{
    entry *e = s ? s->first : NULL, *next;

    for (; e; e = next) {
        next = e->next;
        entry_free(e);
    }
    if (s) pthread_mutex_destroy(&s->lock);
    free(s);
}

/* --- under the lock --- */

/* Item ids have the digits of their response's, and one or two more. */
static const char *digits_of(const char *id)
{
    const char *mark = strchr(id, '_');

    return mark ? mark + 1 : id;
}

static bool is_it(const entry *e, const tenant *who, const char *id)
{
    const char *digits = digits_of(id);

    if (strncmp(id, "resp_", 5) == 0 && strcmp(id, e->kept.id) != 0) return false;
    /* the salt's scope counts too: a conversation is of one salt, as its blocks are */
    return e->kept.who.id == who->id && e->kept.who.scope[0] == who->scope[0] &&
           e->kept.who.scope[1] == who->scope[1] && strlen(digits) >= DIGITS &&
           strncmp(digits_of(e->kept.id), digits, DIGITS) == 0;
}

/* The place that points to it; *place NULL: there is none. */
static entry **find(response_store *s, const tenant *who, const char *id)
{
    entry **place = &s->first;

    while (*place && !is_it(*place, who, id)) place = &(*place)->next;
    return place;
}

static entry *unlink_at(response_store *s, entry **place)
{
    entry *e = *place;

    *place = e->next;
    s->bytes -= e->bytes;
    return e;
}

static void push(response_store *s, entry *e)
{
    e->next = s->first;
    s->first = e;
    s->bytes += e->bytes;
}

/* From the end on, as few as must go. */
static void shrink(response_store *s)
{
    while (s->bytes > s->limit) {
        entry **last = &s->first;

        while ((*last)->next) last = &(*last)->next;
        entry_free(unlink_at(s, last));
    }
}

/* --- calls --- */

void response_store_put(response_store *s, response_kept *kept)
{
    entry *e = calloc(1, sizeof *e);

    if (!e) { /* then it is not found, as one that was forgotten */
        response_kept_free(kept);
        return;
    }
    e->kept = *kept;
    e->bytes = sizeof *e + strlen(kept->answer) + strlen(kept->items) + strlen(kept->output);
    *kept = (response_kept){0};
    pthread_mutex_lock(&s->lock);
    push(s, e);
    shrink(s);
    pthread_mutex_unlock(&s->lock);
}

/* Copied under the lock: the answer may be forgotten while a worker reads it. */
static bool copy_texts(const response_kept *from, response_kept *to)
{
    *to = *from;
    to->answer = strdup(from->answer);
    to->items = strdup(from->items);
    to->output = strdup(from->output);
    if (to->answer && to->items && to->output) return true;
    response_kept_free(to);
    return false;
}

bool response_store_get(response_store *s, const tenant *who, const char *id,
                        response_kept *out, err *e)
{
    entry **place;
    bool good = false;

    pthread_mutex_lock(&s->lock);
    place = find(s, who, id);
    *e = *place ? ERR_OK : ERR_MISSING;
    if (*place) {
        push(s, unlink_at(s, place));
        good = copy_texts(&s->first->kept, out);
        if (!good) *e = ERR_NOMEM;
    }
    pthread_mutex_unlock(&s->lock);
    return good;
}

bool response_store_delete(response_store *s, const tenant *who, const char *id)
{
    entry **place, *e = NULL;

    pthread_mutex_lock(&s->lock);
    place = find(s, who, id);
    if (*place) e = unlink_at(s, place);
    pthread_mutex_unlock(&s->lock);
    if (e) entry_free(e);
    return e != NULL;
}
