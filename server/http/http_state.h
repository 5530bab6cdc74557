/* http_state.h - what http.c, http_request.c and http_check.c share; for nobody else.
 *
 * A connection has at most one request. A request is kept alive by two sides: MHD, from its
 * first line until on_completed (`attached`), and its handler, from dispatch until
 * http_answer or http_stream_end (`held`). It is freed when both have let go. */
#ifndef SERVER_HTTP_HTTP_STATE_H
#define SERVER_HTTP_HTTP_STATE_H

#include <microhttpd.h>

#include "server/http/http.h"

enum { HTTP_MAX_HEADERS = 8, HTTP_ID_BYTES = 128 };

/* An answer of our own, before or instead of a handler's. */
typedef struct http_refusal {
    int status;
    const char *code; /* NULL: null on the wire */
    const char *message;
    bool early; /* the body is not read, the connection closes */
} http_refusal;

typedef struct http_connection {
    struct http_connection *next, **link; /* the listener's list */
    int fd;
    http_request *request; /* being read, held or answered; NULL between two */
    uint64_t deadline_ns;  /* for the request to be complete, or to begin; 0: none */
} http_connection;

struct http {
    uv_loop_t *loop;
    struct MHD_Daemon *daemon;
    http_options options;
    uv_poll_t poll;   /* MHD's epoll set */
    uv_poll_t watch;  /* our own: suspended connections, for hang-ups MHD does not see */
    uv_timer_t timer; /* MHD's timeout; 0 when something was resumed */
    int watch_fd;
    int handles; /* of those three, not yet closed */
    unsigned port;
    bool pumping, resumed, draining, closing;
    unsigned n_connections, n_requests;
    http_connection *connections;
};

struct http_request {
    http *http;
    http_connection *connection;
    struct MHD_Connection *mhd; /* NULL once MHD is through with it */
    bool attached, held;
    bool suspended, watched;
    bool gone;    /* the client hung up, or sending failed */
    bool settled; /* we answered in the handler's place */
    bool dispatched, kept;
    const http_refusal *refused;

    char *method, *path;
    char id[HTTP_ID_BYTES + 1];
    const char *route;
    uint64_t arrived_ns;
    char *body;
    size_t body_bytes, body_room;

    void (*on_gone)(http_request *r);
    void *user;

    struct {
        char *name, *value;
    } headers[HTTP_MAX_HEADERS];
    size_t n_headers;
    struct MHD_Response *response; /* made, not yet queued */
    int status;
    bool streaming, ended, events; /* events: an event stream, which may be pinged */
    char *out;                     /* the stream's bytes that MHD has not taken */
    size_t out_from, out_end, out_room;
    uint64_t written_ns;
};

/* http_check.c: is this a request we can frame? Returns what is wrong with it, or NULL. */
const http_refusal *http_check_uri(const char *raw);
const http_refusal *http_check_headers(struct MHD_Connection *c, const char *version,
                                       size_t max_body_bytes);
extern const http_refusal http_refuse_too_large, http_refuse_memory;

/* http_request.c: the life of a request between the callbacks of http.c. */
http_request *http_request_new(http *h, http_connection *c, struct MHD_Connection *mhd);
bool http_request_begin(http_request *r, const char *method, const char *path);
void http_request_collect(http_request *r, const char *bytes, size_t n);
void http_request_dispatch(http_request *r);
void http_request_refuse(http_request *r, const http_refusal *why);
enum MHD_Result http_request_proceed(http_request *r); /* queue, hang up, or suspend */
void http_request_wake(http_request *r);
void http_request_lost(http_request *r);   /* the client hung up */
void http_request_expire(http_request *r); /* its time is over */
void http_request_ping(http_request *r, uint64_t now_ns);
void http_request_detach(http_request *r); /* MHD is through with it; may free r */

/* http.c: something was resumed: run MHD soon. */
void http_stir(http *h);

#endif
