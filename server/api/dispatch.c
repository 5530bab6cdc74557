/* dispatch.c - from a request to its handler.
 *
 * A walk over a table of some fifteen rows: a hash would be more to read and no faster. */
#include "server/api/dispatch.h"

#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include "server/api/doors.h"
#include "server/api/loading.h"
#include "server/api/routes.h"
#include "server/api/server.h"
#include "server/http/answer.h"

enum { ALLOW_BYTES = 64 };

/* {id} may hold slashes, so it is what prefix and suffix leave. */
static bool path_matches(const char *pattern, const char *path)
{
    static const char mark[] = "{id}";
    const char *id = strstr(pattern, mark), *suffix;
    const size_t bytes = strlen(path), before = id ? (size_t)(id - pattern) : 0;
    size_t after;

    if (!id) return strcmp(pattern, path) == 0;
    suffix = id + sizeof mark - 1;
    after = strlen(suffix);
    return bytes > before + after && strncmp(pattern, path, before) == 0 &&
           strcmp(path + bytes - after, suffix) == 0;
}

/* libmicrohttpd leaves out the body of a HEAD itself. */
static bool method_matches(const char *route_method, const char *method)
{
    if (strcmp(route_method, "GET") == 0 && strcmp(method, "HEAD") == 0) return true;
    return strcmp(route_method, method) == 0;
}

/* "GET, HEAD, OPTIONS": what this path can do on this listener; empty: no such path. */
/* Per listener: what the admin one does not serve is unknown there. */
static void list_allowed(const char *path, unsigned listener, char allow[ALLOW_BYTES])
{
    bool get = false, post = false, delete = false;
    size_t n;
    const route *table = routes_table(&n);

    for (size_t i = 0; i < n; i++) {
        if (!(table[i].listeners & listener) || !path_matches(table[i].path, path)) continue;
        if (strcmp(table[i].method, "GET") == 0) get = true;
        if (strcmp(table[i].method, "POST") == 0) post = true;
        if (strcmp(table[i].method, "DELETE") == 0) delete = true;
    }
    snprintf(allow, ALLOW_BYTES, "%s%s%s%s", get ? "GET, HEAD, " : "", post ? "POST, " : "",
             delete ? "DELETE, " : "", get || post || delete ? "OPTIONS" : "");
}

/* 404 and 405 differ: a known path with a wrong method says which ones it takes. */
static void answer_unmatched(http_request *r, unsigned listener)
{
    char allow[ALLOW_BYTES];

    http_set_route(r, "other");
    list_allowed(http_path(r), listener, allow);
    if (strcmp(http_path(r), "*") == 0) /* OPTIONS of the server itself: RFC 9110, 9.3.7 */
        snprintf(allow, sizeof allow, "GET, HEAD, POST, DELETE, OPTIONS");
    if (!allow[0]) {
        answer_error(r, 404, "invalid_request_error", "unknown_url", NULL,
                     "There is nothing at this URL. The base URL of a client ends in /v1; "
                     "GET /v1/models is a good start.");
        return;
    }
    if (strcmp(http_method(r), "OPTIONS") == 0) {
        doors_answer_options(r, allow);
        return;
    }
    http_add_header(r, "Allow", allow);
    answer_error(r, 405, "invalid_request_error", NULL, NULL,
                 "This URL does not take that method; see the Allow header.");
}

/* Here and not in each handler: a drain must not miss one. Reading goes on until the end. */
static void call(const route *to, http_request *r)
{
    const server *s = http_server(r);

    http_set_route(r, to->path);
    if (s && !s->loaded && !(to->listeners & ROUTES_EARLY)) {
        loading_answer(r);
    } else if (s && s->draining && strcmp(to->method, "POST") == 0) {
        metrics_count_rejected(s->metrics, REJECT_DRAINING);
        answer_err(r, ERR_DRAINING);
    } else if (s && s->changed && strcmp(to->method, "POST") == 0) {
        answer_err(r, ERR_CHANGED);
    } else {
        to->handler(r);
    }
}

/* The first row that matches counts: with {id} several may. */
static void dispatch(http_request *r, unsigned listener)
{
    size_t n;
    const route *table = routes_table(&n);

    for (size_t i = 0; i < n; i++) {
        const route *to = &table[i];

        if (!(to->listeners & listener) || !path_matches(to->path, http_path(r)) ||
            !method_matches(to->method, http_method(r)))
            continue;
        if (doors_pass(r, to, listener)) call(to, r);
        return;
    }
    if (doors_pass(r, NULL, listener)) answer_unmatched(r, listener);
}

void dispatch_api(http_request *r)
{
    dispatch(r, ROUTES_API);
}

void dispatch_admin(http_request *r)
{
    dispatch(r, ROUTES_ADMIN);
}
