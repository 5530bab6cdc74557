/* http_view.c - what a handler, or the log, reads of a request.
 *
 * All of it lives as long as the request but the headers, which are the connection's: a handler
 * that goes on in another turn of the loop has to copy what it wants of them before. */
#include "server/http/http_state.h"

const char *http_method(const http_request *r)
{
    return r->method;
}

const char *http_path(const http_request *r)
{
    return r->path;
}

/* A detached request has no headers any more: they lay in the memory of the connection. */
const char *http_header(const http_request *r, const char *name)
{
    return r->mhd ? MHD_lookup_connection_value(r->mhd, MHD_HEADER_KIND, name) : NULL;
}

const char *http_id(const http_request *r)
{
    return r->id;
}

const char *http_body(const http_request *r, size_t *n)
{
    *n = r->body_bytes;
    return r->body ? r->body : ""; /* a text in any case: parsers say what an empty one lacks */
}

void *http_server(const http_request *r)
{
    return r->http->options.server;
}

uint64_t http_arrived_ns(const http_request *r)
{
    return r->arrived_ns;
}

/* To a handler they are one: nobody will see what it says. */
bool http_is_gone(const http_request *r)
{
    return r->gone || r->settled || r->starved;
}

int http_status(const http_request *r)
{
    return r->status;
}

const char *http_route(const http_request *r)
{
    return r->route;
}

void http_set_route(http_request *r, const char *route)
{
    r->route = route;
}

const http_error *http_answered_error(const http_request *r)
{
    return &r->error;
}

void *http_user(const http_request *r)
{
    return r->user;
}
