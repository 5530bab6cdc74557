/* api_sessions.c - /v1/sessions: which conversations there are, and what of them is cached.
 *
 * A session is seen by its own API key and cache_salt only (the header X-Cache-Salt here). */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "server/api/doors.h"
#include "server/api/routes.h"
#include "server/api/server.h"
#include "server/http/answer.h"
#include "server/json.h"
#include "server/random.h"
#include "server/text.h"

static const char prefix[] = "/v1/sessions/";

/* A request that waits for the scheduler's thread. */
typedef struct visitor {
    http_request *http;
    const server *server;
    tenant who;
    char name[SESSION_NAME_BYTES + 1]; /* empty: all of the tenant's */
    bool deleted;
} visitor;

/* --- what is answered --- */

/* "klt16"; "klt16+klt32" once blocks are degraded, "klt32" if all are. */
static void add_mode(text_builder *t, const cache_stats *c, const session_seen *seen)
{
    const bool any = seen->degraded_blocks > 0, all = seen->degraded_blocks == seen->blocks;

    text_addf(t, ",\"mode\":\"%s%s%s\"", any && all ? "" : c->mode, any && !all ? "+" : "",
              any ? c->degraded_mode : "");
}

static void add_session(text_builder *t, const server *s, const session *of)
{
    const session_seen *seen = &of->seen;
    sched_stats now;
    const cache_stats *c = &now.cache;
    double whole;

    sched_read_stats(s->sched, &now);
    whole = (double)seen->blocks * (double)c->block_bytes;
    text_add_string(t, "{\"id\":");
    text_add_json_string(t, of->name);
    text_addf(t, ",\"object\":\"session\",\"tokens\":%zu,\"cached_tokens\":%zu,\"bytes\":%zu,",
              of->history ? of->history->n : 0, seen->usable * c->block_tokens, seen->bytes);
    text_addf(t, "\"shared_bytes\":%zu,\"ratio\":", seen->shared_bytes);
    /* against fp16 K and V */
    text_add_float(
        t, (float)(16 / c->bits_per_element * (seen->bytes ? whole / (double)seen->bytes : 1)));
    add_mode(t, c, seen);
    text_add_string(t, ",\"parted_at\":");
    if (of->parted_at == SIZE_MAX)
        text_add_string(t, "null");
    else
        text_addf(t, "%zu", of->parted_at);
    text_addf(t, ",\"last_used\":%llu,\"state\":\"%s\",\"pinned\":%s}",
              (unsigned long long)of->last_used_unix, seen->hot ? "hot" : "idle",
              of->pinned ? "true" : "false");
}

/* The same for another tenant's session: whether it exists is nobody else's business. */
static void send_missing(http_request *r)
{
    answer_error(r, 404, "invalid_request_error", "session_not_found", "id",
                 "There is no such session.");
}

static void send_list(const visitor *v, http_request *r)
{
    text_builder t = {0};
    const session *first = sessions_first(v->server->sessions, &v->who);

    text_add_string(&t, "{\"object\":\"list\",\"data\":[");
    for (const session *s = first; s; s = sessions_next(s)) {
        if (s != first) text_add_string(&t, ",");
        add_session(&t, v->server, s);
    }
    text_add_string(&t, "]}");
    answer_json(r, &t);
}

static void send_deleted(const visitor *v, http_request *r)
{
    text_builder t = {0};

    text_add_string(&t, "{\"id\":");
    text_add_json_string(&t, v->name);
    text_add_string(&t, ",\"object\":\"session.deleted\",\"deleted\":true}");
    answer_json(r, &t);
}

static void send_one(const visitor *v, http_request *r)
{
    const session *s = sessions_find(v->server->sessions, &v->who, v->name);
    text_builder t = {0};

    if (!s) {
        send_missing(r);
        return;
    }
    add_session(&t, v->server, s);
    answer_json(r, &t);
}

/* --- the way to the scheduler's thread and back --- */

static void on_gone(http_request *r)
{
    (void)r; /* it is answered all the same */
}

static void on_visited(void *user, err e)
{
    visitor *v = user;
    http_request *r = v->http;

    if (e == ERR_BUSY)
        answer_error(r, 409, "invalid_request_error", "cache_full", NULL,
                     "What is pinned would leave no room for a context of full length.");
    else if (e != ERR_OK)
        answer_err(r, e);
    else if (v->deleted)
        send_deleted(v, r);
    else if (v->name[0])
        send_one(v, r);
    else
        send_list(v, r);
    free(v);
}

/* Even what only reads goes to the scheduler's thread: what is cached changes between two
 * steps, and is its own. */
static void visit(visitor *v, session_act act, session *of)
{
    err e;

    v->deleted = act == SESSION_DELETE;
    http_hold(v->http, on_gone, v);
    e = sessions_act(v->server->sessions, act, of, on_visited, v);
    if (e != ERR_OK) on_visited(v, e);
}

/* --- who asks for which --- */

/* A name that is too long stays empty, and is found by nobody. The name in the path: what
 * stands between the prefix and the suffix. */
static void read_name(visitor *v, const char *suffix)
{
    const char *path = http_path(v->http) + strlen(prefix);
    const size_t n = strlen(path) - strlen(suffix);

    if (n <= SESSION_NAME_BYTES) snprintf(v->name, sizeof v->name, "%.*s", (int)n, path);
}

/* NULL: it has been answered. */
static visitor *visitor_new(http_request *r)
{
    const server *s = http_server(r);
    visitor *v = calloc(1, sizeof *v);

    if (!v) {
        answer_err(r, ERR_NOMEM);
        return NULL;
    }
    v->http = r;
    v->server = s;
    v->who = tenant_make(doors_tenant(r), http_header(r, "X-Cache-Salt"),
                         s->config->share_prefixes);
    return v;
}

/* The session of the path, or NULL: it has been answered, v is freed. */
/* Looked up here, on the loop: only the loop changes the table. */
static session *subject_of(visitor *v, const char *suffix)
{
    session *s;

    read_name(v, suffix);
    s = sessions_find(v->server->sessions, &v->who, v->name);
    if (s) return s;
    send_missing(v->http);
    free(v);
    return NULL;
}

/* By hand it is pinned for good, or no more. */
static void act_on(http_request *r, session_act act, const char *suffix)
{
    visitor *v = visitor_new(r);
    session *s = v ? subject_of(v, suffix) : NULL;

    if (s && (act == SESSION_PIN || act == SESSION_UNPIN)) s->pinned_until_unix = 0;
    if (s) visit(v, act, s);
}

/* --- the routes --- */

void api_sessions(http_request *r)
{
    visitor *v = visitor_new(r);

    if (v) visit(v, SESSION_LOOK, NULL);
}

void api_session(http_request *r)
{
    act_on(r, SESSION_LOOK, "");
}

void api_session_delete(http_request *r)
{
    act_on(r, SESSION_DELETE, "");
}

void api_session_pin(http_request *r)
{
    act_on(r, SESSION_PIN, "/pin");
}

void api_session_unpin(http_request *r)
{
    act_on(r, SESSION_UNPIN, "/unpin");
}

/* {"id": NAME}, or nothing: then a name is made. */
/* Without a body, or without an id in it, the name is one that nobody has. */
static bool read_fork(visitor *v, fault *why)
{
    size_t n = 0;
    const char *text = http_body(v->http, &n), *name = "";
    cJSON *body = NULL;
    bool good;

    if (n && !json_parse(&body, text, n, why)) return false;
    good = !body || cJSON_IsObject(body) ||
           fault_refuse(why, ERR_INVALID, NULL, "The body must be a JSON object.");
    good = good && (!body || json_get_string(body, "id", &name, why));
    if (good && strlen(name) > SESSION_NAME_BYTES)
        good = fault_refuse(why, ERR_INVALID, "id", "'id' may have %d bytes at most.",
                            (int)SESSION_NAME_BYTES);
    if (good && name[0])
        snprintf(v->name, sizeof v->name, "%s", name);
    else if (good)
        random_id(v->name, "session-");
    cJSON_Delete(body);
    return good;
}

/* The name of the new session is read into the visitor: from then on it is the subject. */
static void fork_it(visitor *v, session *of)
{
    http_request *r = v->http;
    fault why = {0};
    session *s = NULL;
    err e = ERR_OK;

    if (!read_fork(v, &why)) {
        answer_fault(r, &why);
        free(v);
        return;
    }
    e = sessions_fork(v->server->sessions, of, v->name, &s);
    if (e == ERR_OK) {
        visit(v, SESSION_LOOK, s);
        return;
    }
    free(v);
    if (e == ERR_BUSY)
        answer_error(r, 409, "invalid_request_error", "session_exists", "id",
                     "There is a session of that name.");
    else
        answer_err(r, e);
}

void api_session_fork(http_request *r)
{
    visitor *v = visitor_new(r);
    session *s = v ? subject_of(v, "/fork") : NULL;

    if (s) fork_it(v, s);
}
