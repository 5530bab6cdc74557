/* http_state.h - what the files http*.c share; for nobody else.
 *
 * A connection has at most one request. A request is kept alive by two sides: MHD, from its
 * first line until on_completed (`attached`), and its handler, from dispatch until
 * http_answer or http_stream_end (`held`). It is freed when both have let go. */
#ifndef SERVER_HTTP_HTTP_STATE_H
#define SERVER_HTTP_HTTP_STATE_H

#include <microhttpd.h>

#include "server/http/http.h"
#include "server/http/linger.h"

enum { HTTP_MAX_HEADERS = 8, HTTP_ID_BYTES = 128 };

/* An answer of our own, before or instead of a handler's. */
typedef struct http_refusal {
    int status;
    const char *code; /* NULL: null on the wire */
    const char *message;
    bool early; /* the body is not read, the connection closes */
} http_refusal;

typedef struct http_connection {
    struct http_connection *next, **link; /* the listener's list, longest idle first */
    http *http;
    int fd;
    peer peer;
    bool fresh;            /* not yet MHD's: its first bytes have not come */
    bool shut;             /* by us; MHD has not noticed yet */
    bool lingers;          /* the client may still send when its last answer is out */
    uint64_t taken_bytes;  /* what MHD had read when the upload last went on */
    http_request *request; /* being read, held or answered; NULL between two */
    uint64_t deadline_ns;  /* for the request to be complete, or to begin; 0: none */
} http_connection;

struct http {
    uv_loop_t *loop;
    struct MHD_Daemon *daemon;
    struct MHD_Response *starved; /* what is answered when there is no memory to answer with */
    http_options options;
    uv_poll_t poll;   /* MHD's epoll set */
    uv_poll_t watch;  /* our own: fresh connections, and hang-ups of suspended ones */
    uv_timer_t timer; /* MHD's timeout */
    uv_poll_t listener;
    int watch_fd, listen_fd; /* listen_fd -1: closed */
    int handles;             /* of those four, not yet closed */
    unsigned port;
    bool pumping, resumed, draining, closing,
        paused; /* paused: no descriptors to accept with */
    unsigned n_connections, n_requests;
    unsigned n_shut; /* of the connections */
    uint64_t n_refused;
    http_connection *connections, **last;
    http_connection *arriving; /* is being handed to MHD; NULL: none, or no memory for it */
    linger_list lingering;
};

struct http_request {
    http *http;
    http_connection *connection;
    struct MHD_Connection *mhd; /* NULL once MHD is through with it */
    bool attached, held;
    bool suspended, watched;
    bool gone;    /* the client hung up, or sending failed */
    bool settled; /* we answered in the handler's place */
    bool starved; /* its answer could not be made: the listener's spare one is sent */
    bool dispatched, kept;
    bool chunked;     /* its body has no length */
    bool keeps_alive; /* the client may send another one on this connection */
    const http_refusal *refused;

    char *method, *path;
    size_t target_bytes; /* of the first line's target, not decoded */
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
    http_error error;              /* that was answered */
    bool streaming, ended, events; /* events: an event stream, which may be pinged */
    char *out;                     /* the stream's bytes that MHD has not taken */
    size_t out_from, out_end, out_room;
    uint64_t written_ns;
};

/* A request's first line, where the library has it. */
typedef struct http_line {
    const char *method, *target, *version;
    size_t target_bytes; /* before it was decoded in place */
} http_line;

/* http_check.c: is this a request we can frame? Returns what is wrong with it, or NULL.
 * chunked: has the body no length? */
const http_refusal *http_check_uri(const char *raw);
bool http_is_tchar(char c); /* may it be in a method, or a header's name? */
const http_refusal *http_check_headers(struct MHD_Connection *c, const http_line *line,
                                       size_t max_body_bytes, bool *chunked);
bool http_parses_in_place(void); /* does the library, in the buffer it reads into? */
extern const http_refusal http_refuse_too_large, http_refuse_memory, http_refuse_first_line;

/* http_head.c: the client's own id where it is a sane one; what of the target is the path; is
 * `close` one of the words of the Connection headers? */
void http_head_id(http_request *r);
const char *http_head_path(const char *target);
bool http_head_says_close(struct MHD_Connection *mhd);

/* http_deadline.c: an upload has gone on; those that MHD makes nothing of are refused. */
void http_upload_progress(http_connection *c);
void http_drop_stuck(http *h);

/* http_request.c: the life of a request between the callbacks of http.c. */
http_request *http_request_new(http *h, http_connection *c, struct MHD_Connection *mhd);
bool http_request_begin(http_request *r, const char *method, const char *path, bool modern);
void http_request_collect(http_request *r, const char *bytes, size_t n);
void http_request_dispatch(http_request *r);
void http_request_refuse(http_request *r, const http_refusal *why);
enum MHD_Result http_request_proceed(http_request *r); /* queue, hang up, or suspend */
void http_request_wake(http_request *r);
void http_request_lost(http_request *r);   /* the client hung up */
void http_request_expire(http_request *r); /* its time is over */
void http_request_ping(http_request *r, uint64_t now_ns);
void http_request_detach(http_request *r); /* MHD is through with it; may free r */

/* http_page.c: MHD_queue_response for answers of ours; MHD's own pages become JSON there. */
enum MHD_Result http_page_queue(struct MHD_Connection *c, unsigned status,
                                struct MHD_Response *response);

/* The spare answer of http.starved, made while there is memory; NULL: there is none. Queued as
 * often as need be, since each connection counts it. */
struct MHD_Response *http_page_starved(void);
enum { HTTP_STARVED_STATUS = 503 };

/* An answer past MHD, while it cannot give one: to a socket that nothing else is sent to.
 * c: the connection, whose handshake is over; NULL: the socket is plain. header: one more line
 * with its end, or empty. */
void http_page_send(int fd, struct MHD_Connection *c, const http_refusal *why,
                    const char *header);

/* This is what a connection was answered so: its request's line says it, or, where there was
 * none to be read, one of its own. */
void http_page_note(http_connection *c, const http_refusal *why);

/* http_sniff.c: a connection that was accepted; it has its bytes looked at, then is MHD's, or
 * is gone. An event of its socket; closed before it was anybody's. */
void http_sniff_begin(http_connection *c);
void http_sniff_event(http_connection *c, unsigned events);
void http_sniff_close(http_connection *c);

/* http_accept.c: the listening socket, which it takes, and who may connect. */
bool http_accept_open(http *h, int fd);
void http_accept_tick(http *h);
void http_accept_close(http *h);

/* http.c: something was resumed: run MHD soon. */
void http_stir(http *h);
http_connection *http_connection_of(struct MHD_Connection *mhd); /* NULL: out of memory */

/* Whoever has it sees the end and closes it; the same where there is an end to be seen already.
 */
void http_connection_shut(http_connection *c);
void http_connection_given_up(http_connection *c);

/* A connection that was accepted, which the listener now counts; NULL: out of memory. And one
 * that has ended: its socket is not closed. */
http_connection *http_connection_new(http *h, int fd, peer p);
void http_connection_free(http_connection *c);
void http_handle_closed(uv_handle_t *handle);

#endif
