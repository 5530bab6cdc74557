/* http.c - a listener: one libmicrohttpd daemon turned by the loop.
 *
 * MHD is driven from outside: its epoll set is one uv_poll, its timeout one uv_timer, and
 * MHD_run is called when either fires and after every batch of resumed connections. A client
 * that always has one more request for it gets a few rounds a turn: the loop goes on with its
 * other handles, signals and deadlines among them, and comes back a millisecond later.
 *
 *   uv_poll(listener) -> http_accept -> http_sniff -> MHD_add_connection -> on_connection
 *   uv_poll(epoll), uv_timer -> pump -> MHD_run -> on_uri -> on_request ... -> on_completed
 *   uv_poll(watch) -> http_sniff; hang-ups of suspended connections, which MHD does not see */
#include "server/http/http.h"

#include <assert.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "engine/clock.h"
#include "server/http/address.h"
#include "server/http/http_state.h"
#include "server/http/tls.h"
#include "server/log.h"

enum { WATCH_BATCH = 64, PUMP_ROUNDS = 4, LAST_STEPS = 1000 };

static const size_t connection_bytes = 64 * 1024;
static const uint64_t second_ns = 1000000000u;

/* --- turning MHD --- */

static void pump(http *h);

static void on_timer(uv_timer_t *t)
{
    pump(t->data);
}

/* Run MHD; true: it wants to be run again at once. A resume inside MHD_run needs another one:
 * MHD 0.9.75 forgets it in its timeout. */
static bool run_once(http *h, MHD_UNSIGNED_LONG_LONG *ms, bool *waits)
{
    h->resumed = false;
    MHD_run(h->daemon);
    *waits = MHD_get_timeout(h->daemon, ms) == MHD_YES;
    return h->resumed || (*waits && *ms == 0);
}

/* Never asks for a timeout of 0: libuv 1.44 runs such a timer again before anything else, so
 * that one client who sends without end would be the only one served. */
static void pump(http *h)
{
    MHD_UNSIGNED_LONG_LONG ms = 0;
    bool again = true, waits = false;

    assert(!h->pumping);
    h->pumping = true;
    for (int i = 0; i < PUMP_ROUNDS && again; i++) again = run_once(h, &ms, &waits);
    h->pumping = false;
    if (again) http_drop_stuck(h); /* also at the end, which would wait for them */
    if (h->closing) return;
    if (again || waits)
        uv_timer_start(&h->timer, on_timer, again ? 1 : ms, 0);
    else
        uv_timer_stop(&h->timer);
}

void http_stir(http *h)
{
    h->resumed = true;
    if (!h->pumping && !h->closing) uv_timer_start(&h->timer, on_timer, 0, 0);
}

static void on_poll(uv_poll_t *p, int status, int events)
{
    (void)status, (void)events;
    pump(p->data);
}

static void on_watch(uv_poll_t *p, int status, int events)
{
    http *h = p->data;
    struct epoll_event e[WATCH_BATCH];
    const int n = epoll_wait(h->watch_fd, e, WATCH_BATCH, 0);

    (void)status, (void)events;
    for (int i = 0; i < n; i++) {
        http_connection *c = e[i].data.ptr; /* alive: MHD lets go in pump alone */

        if (c->fresh)
            http_sniff_event(c, e[i].events);
        else if (c->request && c->request->suspended)
            http_request_lost(c->request);
    }
}

/* --- MHD's callbacks --- */

http_connection *http_connection_of(struct MHD_Connection *mhd)
{
    const union MHD_ConnectionInfo *i = MHD_get_connection_info(
        mhd, MHD_CONNECTION_INFO_SOCKET_CONTEXT);

    return i ? i->socket_context : NULL;
}

/* The list is in the order of becoming idle, which is what ends last. */
static void list_put(http *h, http_connection *c)
{
    c->next = NULL;
    c->link = h->last;
    *h->last = c;
    h->last = &c->next;
}

static void list_remove(http *h, http_connection *c)
{
    *c->link = c->next;
    if (c->next)
        c->next->link = c->link;
    else
        h->last = c->link;
}

http_connection *http_connection_new(http *h, int fd, peer p)
{
    http_connection *c = calloc(1, sizeof *c);

    if (!c) return NULL;
    c->http = h;
    c->fd = fd;
    c->peer = p;
    c->fresh = true;
    c->deadline_ns = clock_ns() + h->options.read_seconds * second_ns;
    list_put(h, c);
    h->n_connections++;
    return c;
}

void http_connection_free(http_connection *c)
{
    assert(!c->request);
    list_remove(c->http, c);
    c->http->n_connections--;
    /* Ours are counted apart: MHD takes a turn to notice, and meanwhile they would fill its
     * limit. */
    c->http->n_shut -= c->shut;
    free(c);
}

/* MHD closes the socket after this: what lingers goes on with a descriptor of its own. */
static void connection_close(http *h, http_connection *c)
{
    if (!c) return;
    if (c->lingers && !h->closing) {
        const int fd = fcntl(c->fd, F_DUPFD_CLOEXEC, 0);

        if (fd >= 0) linger_take(&h->lingering, h->loop, fd);
    }
    http_connection_free(c);
}

void http_connection_given_up(http_connection *c)
{
    if (c->shut) return;
    c->shut = true;
    c->http->n_shut++;
}

void http_connection_shut(http_connection *c)
{
    http_connection_given_up(c);
    shutdown(c->fd, SHUT_RDWR);
}

static void on_connection(void *cls, struct MHD_Connection *mhd, void **context,
                          enum MHD_ConnectionNotificationCode code)
{
    http *h = cls;

    (void)mhd;
    if (code == MHD_CONNECTION_NOTIFY_STARTED) {
        *context = h->arriving; /* without one on_request refuses what is asked */
        h->arriving = NULL;
    } else {
        connection_close(h, *context);
        *context = NULL;
    }
}

/* Nobody here reads a query. 0.9.75 splits it into members, each a record in the memory of the
 * connection, and where that is full forgets what it was doing until the read timeout: so the
 * query is cut off before. */
static void drop_query(const char *uri)
{
    char *query = strchr(uri, '?');

    if (query && http_parses_in_place()) query[1] = '\0';
}

/* The first line is there, undecoded. What this returns is the request from now on. */
static void *on_uri(void *cls, const char *uri, struct MHD_Connection *mhd)
{
    http *h = cls;
    http_connection *c = http_connection_of(mhd);
    http_request *r = c ? http_request_new(h, c, mhd) : NULL;

    if (!r) return NULL;
    assert(!c->request);
    c->request = r;
    c->deadline_ns = r->arrived_ns + h->options.read_seconds * second_ns;
    r->refused = http_check_uri(uri);
    r->target_bytes = strlen(uri);
    drop_query(uri);
    return r;
}

/* There is no memory for the request: what is sent was made when the listener was opened. */
static enum MHD_Result answer_starved(http *h, struct MHD_Connection *mhd)
{
    http_connection *c = http_connection_of(mhd);

    log_line(LOG_WARN, "no memory for a request", NULL);
    if (c) c->lingers = true;
    return http_page_queue(mhd, HTTP_STARVED_STATUS, h->starved);
}

/* An answer before the body is read closes the connection, so only what must not be read
 * is refused here. */
static enum MHD_Result on_headers(http_request *r, const char *path, const char *method,
                                  const char *version)
{
    const http_line line = {method, path, version, r->target_bytes};
    const http_refusal *why = http_check_headers(r->mhd, &line, r->http->options.max_body_bytes,
                                                 &r->chunked);

    if (!http_request_begin(r, method, path, strcmp(version, "HTTP/1.0") != 0))
        return answer_starved(r->http, r->mhd);
    if (why) r->refused = why;
    if (r->chunked) http_upload_progress(r->connection);
    if (!r->refused || !r->refused->early) return MHD_YES;
    r->connection->deadline_ns = 0;
    r->connection->lingers = true;
    http_request_refuse(r, r->refused);
    return http_request_proceed(r);
}

static enum MHD_Result on_request(void *cls, struct MHD_Connection *mhd, const char *path,
                                  const char *method, const char *version, const char *upload,
                                  size_t *upload_bytes, void **context)
{
    http_request *r = *context;
    http *h = cls;

    /* What came in before still gets its answer; what arrives while we close does not begin. */
    if (h->closing && (!r || !r->dispatched)) return MHD_NO;
    if (!r) return answer_starved(h, mhd);
    if (r->connection->shut) return MHD_NO; /* what comes now comes too late */
    if (!r->method) return on_headers(r, path, method, version);
    if (*upload_bytes) {
        http_request_collect(r, upload, *upload_bytes);
        *upload_bytes = 0;
        return MHD_YES;
    }
    if (!r->dispatched) http_request_dispatch(r);
    return http_request_proceed(r);
}

static void on_completed(void *cls, struct MHD_Connection *mhd, void **context,
                         enum MHD_RequestTerminationCode code)
{
    http *h = cls;
    http_request *r = *context;

    (void)mhd, (void)code;
    if (!r) return;
    *context = NULL;
    r->connection->request = NULL;
    list_remove(h, r->connection);
    list_put(h, r->connection);
    r->connection->deadline_ns = clock_ns() + h->options.idle_seconds * second_ns;
    /* Told before it is let go of: the line of the log is made of the request. */
    if (h->options.finished && r->method) h->options.finished(r);
    http_request_detach(r);
}

/* The text holds what clients sent: log_line escapes and bounds it. */
__attribute__((format(printf, 2, 0))) static void on_log(void *cls, const char *format,
                                                         va_list args)
{
    char text[256];

    (void)cls;
    vsnprintf(text, sizeof text, format, args);
    text[strcspn(text, "\n")] = '\0';
    log_line(LOG_DEBUG, "http library", "detail", LOG_TEXT(text), NULL);
}

static void on_panic(void *cls, const char *file, unsigned line, const char *reason)
{
    (void)cls;
    log_line(LOG_ERROR, "http library panic", "file", LOG_TEXT(file), "line", LOG_INT(line),
             "reason", LOG_TEXT(reason), NULL);
    abort();
}

/* --- open and close --- */

/* The limit that counts is http_accept's; connections that are shut still count for MHD. */
static struct MHD_Daemon *start(http *h)
{
    const http_options *o = &h->options;
    const struct MHD_OptionItem tls[] = {{MHD_OPTION_HTTPS_CERT_CALLBACK, 0, tls_callback()},
                                         {MHD_OPTION_END, 0, NULL}};

    MHD_set_panic_func(on_panic, NULL);
    return MHD_start_daemon(MHD_USE_EPOLL | MHD_ALLOW_SUSPEND_RESUME | MHD_USE_ERROR_LOG |
                                MHD_USE_NO_LISTEN_SOCKET | (o->tls ? MHD_USE_TLS : 0u),
                            0, NULL, NULL, on_request, h, MHD_OPTION_EXTERNAL_LOGGER, on_log,
                            NULL, /* first: it hears of the others */
                            MHD_OPTION_CONNECTION_MEMORY_LIMIT, connection_bytes, /* a size_t */
                            MHD_OPTION_CONNECTION_LIMIT, 2 * o->connections + 64, /* unsigned */
                            MHD_OPTION_CONNECTION_TIMEOUT, o->idle_seconds,       /* unsigned */
                            MHD_OPTION_URI_LOG_CALLBACK, on_uri, h, MHD_OPTION_NOTIFY_COMPLETED,
                            on_completed, h, MHD_OPTION_NOTIFY_CONNECTION, on_connection, h,
                            MHD_OPTION_ARRAY, o->tls ? tls : tls + 1, MHD_OPTION_END);
}

void http_handle_closed(uv_handle_t *handle)
{
    http *h = handle->data;

    if (--h->handles) return;
    MHD_destroy_response(h->starved);
    close(h->watch_fd);
    free(h);
}

static void close_handle(void *handle)
{
    uv_close(handle, http_handle_closed);
}

/* The four handles. On failure those that are open are being closed. */
static bool attach(http *h, int listen_fd)
{
    const int mhd_fd = MHD_get_daemon_info(h->daemon, MHD_DAEMON_INFO_EPOLL_FD)->epoll_fd;

    h->poll.data = h->watch.data = h->timer.data = h;
    if (uv_poll_init(h->loop, &h->poll, mhd_fd)) return false;
    h->handles++;
    if (uv_poll_init(h->loop, &h->watch, h->watch_fd)) goto no_watch;
    h->handles++;
    if (!http_accept_open(h, listen_fd)) goto no_listener;
    uv_timer_init(h->loop, &h->timer);
    h->handles++;
    uv_poll_start(&h->poll, UV_READABLE, on_poll);
    uv_poll_start(&h->watch, UV_READABLE, on_watch);
    return true;

no_listener:
    close_handle(&h->watch);
no_watch:
    close_handle(&h->poll);
    return false;
}

err http_open(http **out, uv_loop_t *loop, const http_options *o)
{
    http *h = calloc(1, sizeof *h);
    int fd;
    err e = ERR_NOMEM;

    if (!h) return e;
    h->loop = loop;
    h->options = *o;
    h->last = &h->connections;
    h->listen_fd = -1;
    e = address_listen(o->listen, o->unix_mode, &fd, &h->port);
    if (e) goto no_socket;
    e = ERR_SYSTEM;
    h->watch_fd = epoll_create1(EPOLL_CLOEXEC);
    if (h->watch_fd < 0) goto no_watch;
    h->starved = http_page_starved();
    if (h->starved) h->daemon = start(h);
    if (!h->daemon) goto no_daemon;
    if (!attach(h, fd)) goto no_handles;
    pump(h);
    *out = h;
    return ERR_OK;

no_handles:
    MHD_stop_daemon(h->daemon);
    if (h->handles) { /* http_handle_closed frees the rest */
        close(fd);
        return e;
    }
no_daemon:
    if (h->starved) MHD_destroy_response(h->starved);
    close(h->watch_fd);
no_watch:
    close(fd);
no_socket:
    free(h);
    return e;
}

unsigned http_port(const http *h)
{
    return h->port;
}

unsigned http_connections(const http *h)
{
    return h->n_connections;
}

uint64_t http_refused(const http *h)
{
    return h->n_refused;
}

unsigned http_requests(const http *h)
{
    return h->n_requests;
}

void http_drain(http *h)
{
    if (h->draining) return;
    h->draining = true;
    http_accept_close(h);
}

/* Answers given a moment ago: MHD sends in small steps, and asks for the next with a timeout
 * of 0. Bounded, because a client that reads fast can keep it busy. */
static void send_last(http *h)
{
    MHD_UNSIGNED_LONG_LONG ms = 0;

    for (int i = 0; i < LAST_STEPS && ms == 0; i++) {
        pump(h);
        if (MHD_get_timeout(h->daemon, &ms) != MHD_YES) return;
    }
}

/* MHD aborts the process when it is stopped with a suspended connection. */
void http_close(http *h)
{
    if (!h) return;
    http_drain(h);
    h->closing = true;
    for (http_connection *c = h->connections; c; c = c->next) {
        http_request *r = c->request;

        if (r && r->suspended && r->held) http_request_lost(r);
    }
    send_last(h);
    /* Those that MHD has not got yet, it cannot close. */
    for (http_connection *c = h->connections, *next; c; c = next) {
        next = c->next;
        if (c->fresh) http_sniff_close(c);
    }
    linger_close_all(&h->lingering);
    close_handle(&h->poll);
    close_handle(&h->watch);
    close_handle(&h->timer);
    MHD_stop_daemon(h->daemon);
}
