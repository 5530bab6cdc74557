/* http.h - libmicrohttpd inside the loop: requests with their bodies in, answers and event
 * streams out. Everything here runs on the loop thread.
 *
 * A listener is one MHD daemon in external epoll mode. A request reaches its handler when
 * the body is complete; the handler answers at once, or keeps the request and answers
 * later: whole, or as a stream written piece by piece. If nobody waits for the answer any
 * more (the client hung up, or the request's time is over and http answered 504 itself),
 * `gone` is called once, and the request must still be released by exactly one http_answer
 * or http_stream_end (which then send nothing). */
#ifndef SERVER_HTTP_HTTP_H
#define SERVER_HTTP_HTTP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <uv.h>

#include "engine/err.h"
#include "server/http/peer.h"

typedef struct http http;
typedef struct http_request http_request;

typedef struct http_options {
    const char *listen;              /* an address of address.h; port 0: any free one */
    unsigned unix_mode;              /* of the file, where that is a Unix socket */
    bool tls;                        /* with the certificate of tls.h */
    size_t max_body_bytes;           /* more is 413 before it is read */
    unsigned connections;            /* limit of open connections */
    const peer_set *trusted_proxies; /* each stands for many clients; NULL: none */
    unsigned idle_seconds;           /* a silent connection is closed */
    unsigned read_seconds;           /* absolute deadline for reading a request: 408 */
    unsigned request_seconds;        /* absolute deadline of a request's answer: 504; 0: none */
    void *server;                    /* handed to handlers as http_server(r) */
    void (*dispatch)(http_request *r); /* the request is complete: dispatch.h */
    void (*finished)(http_request *r); /* its last moment, for log and metrics; may be NULL */
} http_options;

/* Listen on `loop`; options are copied, but not what they point to. ERR_ADDRESS (errno says
 * why), ERR_NOMEM, ERR_SYSTEM. The caller closes *out. */
err http_open(http **out, uv_loop_t *loop, const http_options *o);

/* The port really bound. */
unsigned http_port(const http *h);
unsigned http_connections(const http *h);
uint64_t http_refused(const http *h); /* connections that were one too many */

/* Requests that reached a handler and are not yet sent to their end. */
unsigned http_requests(const http *h);

/* Call once a second: enforces the deadlines, and keeps silent event streams alive with a
 * `: ping` comment after ten seconds. now_ns: by clock_ns. */
void http_tick(http *h, uint64_t now_ns);

/* Stop accepting; every further answer carries `Connection: close`. */
void http_drain(http *h);

/* Close what is left: every request still held must have been answered or ended. The
 * memory goes when the loop next runs. */
void http_close(http *h);

/* --- a request, as its handler sees it; strings are owned by the request --- */

const char *http_method(const http_request *r);
const char *http_path(const http_request *r); /* decoded, without the query */
const char *http_header(const http_request *r, const char *name); /* NULL if absent, or gone */
const char *http_id(const http_request *r); /* x-request-id, ours or a sane inbound one */
const char *http_body(const http_request *r, size_t *n); /* NUL-terminated past n */
void *http_server(const http_request *r);
uint64_t http_arrived_ns(const http_request *r); /* by clock_ns, when its first line was read */
bool http_is_gone(const http_request *r);
int http_status(const http_request *r); /* of the answer; 0: none yet, or the client left */

/* What an error said that was answered, for the log: NULL where it said nothing, or memory was
 * short. The code is a constant. */
typedef struct http_error {
    const char *code;
    char *param, *message; /* copies, the request's */
} http_error;
const http_error *http_answered_error(const http_request *r);
void http_note_error(http_request *r, const char *code, const char *param, const char *message);

/* The row of the route table that took it: a constant, fit for a label. NULL before. */
const char *http_route(const http_request *r);
void http_set_route(http_request *r, const char *route);

/* Keep the request beyond the handler; `gone` is called once if nobody waits any more.
 * `user` is the handler's. Call it before the handler returns without an answer. */
void http_hold(http_request *r, void (*gone)(http_request *r), void *user);
void *http_user(const http_request *r);

/* Add a header to the answer to come; before http_answer or http_stream_begin. Copies. */
void http_add_header(http_request *r, const char *name, const char *value);

/* Answer whole and release r. body is malloc'd (or NULL) and taken; content_type NULL: no
 * such header. */
void http_answer(http_request *r, int status, const char *content_type, char *body, size_t n);

/* Answer piece by piece: begin sends headers; write copies n bytes (whole SSE events: a
 * ping may follow any write) into the request's buffer; end sends the rest and releases r.
 * write: ERR_CANCELED when nobody waits any more, ERR_NOMEM. http_stream_backlog is what a
 * slow client has not taken yet, in bytes. */
void http_stream_begin(http_request *r, int status, const char *content_type);
err http_stream_write(http_request *r, const char *bytes, size_t n);
size_t http_stream_backlog(const http_request *r);
void http_stream_end(http_request *r);

#endif
