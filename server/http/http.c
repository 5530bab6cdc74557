/* http.c - a listener: one libmicrohttpd daemon turned by the loop.
 *
 * MHD is driven from outside: its epoll set is one uv_poll, its timeout one uv_timer, and
 * MHD_run is called when either fires and after every batch of resumed connections. What
 * MHD cannot tell (a hang-up while suspended, a deadline while reading) is found here. */
#include "server/http/http.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "server/http/address.h"
#include "server/http/http_state.h"
#include "server/log.h"

enum { WATCH_BATCH = 64, LAST_STEPS = 1000 };

static const size_t connection_bytes = 64 * 1024;
static const uint64_t second_ns = 1000000000u;
static const uint64_t ping_ns = 10000000000u;

/* --- turning MHD --- */

static void pump(http *h);

static void on_timer(uv_timer_t *t)
{
    pump(t->data);
}

/* A resume inside MHD_run needs another one: MHD 0.9.75 forgets it in its timeout. */
static void pump(http *h)
{
    MHD_UNSIGNED_LONG_LONG ms;

    assert(!h->pumping);
    h->pumping = true;
    do {
        h->resumed = false;
        MHD_run(h->daemon);
    } while (h->resumed);
    h->pumping = false;
    if (h->closing) return;
    if (MHD_get_timeout(h->daemon, &ms) == MHD_YES)
        uv_timer_start(&h->timer, on_timer, ms, 0);
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
        http_request *r = e[i].data.ptr; /* alive: MHD lets go in pump alone */

        if (r->suspended) http_request_lost(r);
    }
}

/* --- MHD's callbacks --- */

static http_connection *connection_of(struct MHD_Connection *mhd)
{
    const union MHD_ConnectionInfo *i = MHD_get_connection_info(
        mhd, MHD_CONNECTION_INFO_SOCKET_CONTEXT);

    return i ? i->socket_context : NULL;
}

static void *connection_open(http *h, struct MHD_Connection *mhd)
{
    const union MHD_ConnectionInfo *i = MHD_get_connection_info(
        mhd, MHD_CONNECTION_INFO_CONNECTION_FD);
    http_connection *c = calloc(1, sizeof *c);

    if (!c) return NULL; /* on_uri closes it */
    c->fd = i->connect_fd;
    c->deadline_ns = uv_hrtime() + h->options.read_seconds * second_ns;
    c->next = h->connections;
    c->link = &h->connections;
    if (c->next) c->next->link = &c->next;
    h->connections = c;
    h->n_connections++;
    return c;
}

static void connection_close(http *h, http_connection *c)
{
    if (!c) return;
    assert(!c->request);
    *c->link = c->next;
    if (c->next) c->next->link = c->link;
    h->n_connections--;
    free(c);
}

static void on_connection(void *cls, struct MHD_Connection *mhd, void **context,
                          enum MHD_ConnectionNotificationCode code)
{
    http *h = cls;

    if (code == MHD_CONNECTION_NOTIFY_STARTED) {
        *context = connection_open(h, mhd);
    } else {
        connection_close(h, *context);
        *context = NULL;
    }
}

/* The first line is there, undecoded. What this returns is the request from now on. */
static void *on_uri(void *cls, const char *uri, struct MHD_Connection *mhd)
{
    http *h = cls;
    http_connection *c = connection_of(mhd);
    http_request *r = c ? http_request_new(h, c, mhd) : NULL;

    if (!r) return NULL;
    assert(!c->request);
    c->request = r;
    c->deadline_ns = r->arrived_ns + h->options.read_seconds * second_ns;
    r->refused = http_check_uri(uri);
    return r;
}

/* An answer before the body is read closes the connection, so only what must not be read
 * is refused here. */
static enum MHD_Result on_headers(http_request *r, const char *path, const char *method,
                                  const char *version)
{
    const http_refusal *why = http_check_headers(r->mhd, version,
                                                 r->http->options.max_body_bytes);

    if (!http_request_begin(r, method, path)) return MHD_NO;
    if (why) r->refused = why;
    if (!r->refused || !r->refused->early) return MHD_YES;
    r->connection->deadline_ns = 0;
    http_request_refuse(r, r->refused);
    return http_request_proceed(r);
}

static enum MHD_Result on_request(void *cls, struct MHD_Connection *mhd, const char *path,
                                  const char *method, const char *version, const char *upload,
                                  size_t *upload_bytes, void **context)
{
    http_request *r = *context;

    (void)cls, (void)mhd;
    if (!r || (r->http->closing && !r->dispatched)) return MHD_NO;
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
    r->connection->deadline_ns = uv_hrtime() + h->options.idle_seconds * second_ns;
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

/* --- deadlines --- */

/* The client was too slow to say what it wants. MHD takes no answer before the request is
 * complete, so the few bytes go past it; nothing else is being sent at this moment. */
static void expire_reading(http_connection *c)
{
    static const char answer[] =
        "HTTP/1.1 408 Request Timeout\r\n"
        "Content-Type: application/json\r\n"
        "Connection: close\r\n"
        "Content-Length: 130\r\n\r\n"
        "{\"error\":{\"message\":\"The request was not complete in time.\","
        "\"type\":\"invalid_request_error\",\"param\":null,\"code\":\"request_timeout\"}}";
    c->deadline_ns = 0;
    if (c->request) (void)!send(c->fd, answer, sizeof answer - 1, MSG_DONTWAIT | MSG_NOSIGNAL);
    shutdown(c->fd, SHUT_RDWR); /* MHD sees the end and closes */
}

static void tick_connection(http *h, http_connection *c, uint64_t now_ns)
{
    http_request *r = c->request;
    const uint64_t limit_ns = h->options.request_seconds * second_ns;

    if (c->deadline_ns && now_ns >= c->deadline_ns) {
        expire_reading(c);
        return;
    }
    if (!r || !r->held || http_is_gone(r)) return;
    if (limit_ns && now_ns >= r->arrived_ns + limit_ns)
        http_request_expire(r);
    else if (r->streaming && now_ns >= r->written_ns + ping_ns)
        http_request_ping(r, now_ns);
}

void http_tick(http *h, uint64_t now_ns)
{
    for (http_connection *c = h->connections; c; c = c->next) tick_connection(h, c, now_ns);
}

/* --- open and close --- */

/* One address may not take all connections: at the limit MHD stops accepting. */
static unsigned per_address(unsigned connections)
{
    return connections - connections / 8;
}

static struct MHD_Daemon *start(http *h, int fd)
{
    const http_options *o = &h->options;

    MHD_set_panic_func(on_panic, NULL);
    return MHD_start_daemon(
        MHD_USE_EPOLL | MHD_ALLOW_SUSPEND_RESUME | MHD_USE_ERROR_LOG, 0, NULL, NULL, on_request,
        h, MHD_OPTION_EXTERNAL_LOGGER, on_log, NULL, /* first: it hears of the others */
        MHD_OPTION_LISTEN_SOCKET, fd,                /* an int */
        MHD_OPTION_CONNECTION_MEMORY_LIMIT, connection_bytes,            /* a size_t */
        MHD_OPTION_CONNECTION_LIMIT, o->connections,                     /* unsigned */
        MHD_OPTION_PER_IP_CONNECTION_LIMIT, per_address(o->connections), /* unsigned */
        MHD_OPTION_CONNECTION_TIMEOUT, o->idle_seconds,                  /* unsigned */
        MHD_OPTION_URI_LOG_CALLBACK, on_uri, h, MHD_OPTION_NOTIFY_COMPLETED, on_completed, h,
        MHD_OPTION_NOTIFY_CONNECTION, on_connection, h, MHD_OPTION_END);
}

static void on_closed(uv_handle_t *handle)
{
    http *h = handle->data;

    if (--h->handles) return;
    close(h->watch_fd);
    free(h);
}

static void close_handles(http *h)
{
    uv_close((uv_handle_t *)&h->poll, on_closed);
    uv_close((uv_handle_t *)&h->watch, on_closed);
    uv_close((uv_handle_t *)&h->timer, on_closed);
}

/* The three handles; on failure none is left open. */
static bool attach(http *h)
{
    const int mhd_fd = MHD_get_daemon_info(h->daemon, MHD_DAEMON_INFO_EPOLL_FD)->epoll_fd;

    h->poll.data = h->watch.data = h->timer.data = h;
    if (uv_poll_init(h->loop, &h->poll, mhd_fd)) return false;
    h->handles++;
    if (uv_poll_init(h->loop, &h->watch, h->watch_fd)) {
        uv_close((uv_handle_t *)&h->poll, on_closed);
        return false;
    }
    uv_timer_init(h->loop, &h->timer);
    h->handles += 2;
    uv_poll_start(&h->poll, UV_READABLE, on_poll);
    uv_poll_start(&h->watch, UV_READABLE, on_watch);
    return true;
}

err http_open(http **out, uv_loop_t *loop, const http_options *o)
{
    http *h = calloc(1, sizeof *h);
    int fd;
    err e = ERR_NOMEM;

    if (!h) return e;
    h->loop = loop;
    h->options = *o;
    e = address_listen(o->listen, &fd, &h->port);
    if (e) goto no_socket;
    e = ERR_SYSTEM;
    h->watch_fd = epoll_create1(EPOLL_CLOEXEC);
    if (h->watch_fd < 0) goto no_watch;
    h->daemon = start(h, fd);
    if (!h->daemon) goto no_daemon;
    if (!attach(h)) goto no_handles;
    pump(h);
    *out = h;
    return ERR_OK;

no_handles:
    MHD_stop_daemon(h->daemon); /* closes fd */
    if (h->handles) return e;   /* on_closed frees */
    close(h->watch_fd);
    free(h);
    return e;
no_daemon:
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

unsigned http_requests(const http *h)
{
    return h->n_requests;
}

void http_drain(http *h)
{
    MHD_socket fd;

    if (h->draining) return;
    h->draining = true;
    fd = MHD_quiesce_daemon(h->daemon);
    if (fd != MHD_INVALID_SOCKET) close(fd);
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
    close_handles(h);
    MHD_stop_daemon(h->daemon);
}
