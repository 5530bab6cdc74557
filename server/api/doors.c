/* doors.c - who is let in: hosts, origins, content types, keys, in this order.
 *
 * A browser asks on behalf of whatever page is open; what it may ask is decided before the key
 * is, so that a page learns nothing of keys. Probes need no key: they come from orchestrators,
 * and answer nothing but yes or no. */
#include "server/api/doors.h"

#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "server/api/server.h"
#include "server/api/tenant.h"
#include "server/http/answer.h"

enum { HEADERS_BYTES = 512 };

#define INVALID "invalid_request_error"

/* For pages of the listed origins alone; what they may read besides the usual headers. */
static void add_cors_headers(http_request *r, const char *origin)
{
    http_add_header(r, "Access-Control-Allow-Origin", origin);
    http_add_header(r, "Access-Control-Expose-Headers", "x-request-id, retry-after");
    /* A cache must not hand one origin's permission to another. */
    http_add_header(r, "Vary", "Origin");
}

static bool host_is_ours(http_request *r, const origin_policy *p)
{
    if (origin_host_is_allowed(p, http_header(r, "Host"))) return true;
    answer_error(r, 403, INVALID, "host_not_allowed", NULL,
                 "This server does not go by the name in the Host header; --allowed-hosts "
                 "lists the names that it does.");
    return false;
}

static bool changes_something(const char *method)
{
    return strcmp(method, "GET") != 0 && strcmp(method, "HEAD") != 0 &&
           strcmp(method, "OPTIONS") != 0;
}

static bool origin_may(http_request *r, const origin_policy *p)
{
    const char *origin = http_header(r, "Origin");

    if (origin_is_listed(p, origin)) add_cors_headers(r, origin);
    /* Reading needs no check: without the CORS headers the browser keeps the answer from the
     * page. A POST has had its effect by then. */
    if (!changes_something(http_method(r)) ||
        origin_may_post(p, origin, http_header(r, "Host")))
        return true;
    answer_error(r, 403, INVALID, "origin_not_allowed", NULL,
                 "Pages of this origin may not use this server; --cors-origin lists those "
                 "that may.");
    return false;
}

/* `application/json; charset=utf-8` too. A form or a plain text is what any page may send to
 * anywhere without being asked. */
static bool is_json(const char *content_type)
{
    static const char json[] = "application/json";
    const size_t n = sizeof json - 1;

    return content_type && strncasecmp(content_type, json, n) == 0 &&
           (content_type[n] == '\0' || strchr("; \t", content_type[n]));
}

static bool body_is_json(http_request *r)
{
    size_t n;

    http_body(r, &n);
    if (n == 0 || is_json(http_header(r, "Content-Type"))) return true;
    answer_error(r, 415, INVALID, "unsupported_media_type", NULL,
                 "The body must come with Content-Type: application/json.");
    return false;
}

key *doors_key(const http_request *r)
{
    const server *s = http_server(r);

    if (!s->keys) return NULL;
    return keys_find(s->keys, http_header(r, "Authorization"), http_header(r, "x-api-key"));
}

uint64_t doors_tenant(const http_request *r)
{
    const key *x = doors_key(r);

    return x ? keys_tenant(x) : TENANT_OF_ALL;
}

static bool key_is_known(http_request *r)
{
    const bool shown = http_header(r, "Authorization") || http_header(r, "x-api-key");

    if (doors_key(r)) return true;
    http_add_header(r, "WWW-Authenticate", "Bearer");
    answer_error(r, 401, INVALID, "invalid_api_key", NULL,
                 shown ? "Incorrect API key provided."
                       : "You did not provide an API key: send `Authorization: Bearer KEY` or "
                         "`x-api-key: KEY`.");
    return false;
}

bool doors_pass(http_request *r, const route *to, unsigned listener)
{
    const server *s = http_server(r);
    const bool api = listener == ROUTES_API;

    if (!s) return true; /* a test of the table alone */
    if (!host_is_ours(r, api ? &s->origins : &s->admin_origins)) return false;
    if (!origin_may(r, api ? &s->origins : &s->admin_origins)) return false;
    if (!body_is_json(r)) return false;
    return !api || !s->keys || !to || (to->listeners & ROUTES_OPEN) || key_is_known(r);
}

/* Headers that a page asks for are allowed as it asks: what they do is ours to judge later. */
static void add_preflight_headers(http_request *r, const char *allow)
{
    const char *asked = http_header(r, "Access-Control-Request-Headers");

    http_add_header(r, "Access-Control-Allow-Methods", allow);
    if (asked && strlen(asked) < HEADERS_BYTES &&
        asked[strspn(asked,
                     "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_, ")] ==
            '\0')
        http_add_header(r, "Access-Control-Allow-Headers", asked);
    /* Browsers ask anew after ten minutes: a list of origins that was cut takes effect by then.
     */
    http_add_header(r, "Access-Control-Max-Age", "600");
}

void doors_answer_options(http_request *r, const char *allow)
{
    const server *s = http_server(r);
    const char *origin = http_header(r, "Origin");

    if (origin && http_header(r, "Access-Control-Request-Method")) {
        if (s && !origin_is_listed(&s->origins, origin)) {
            answer_error(r, 403, INVALID, "origin_not_allowed", NULL,
                         "Pages of this origin may not use this server; --cors-origin lists "
                         "those that may.");
            return;
        }
        add_preflight_headers(r, allow);
    }
    http_add_header(r, "Allow", allow);
    http_answer(r, 204, NULL, NULL, 0);
}
