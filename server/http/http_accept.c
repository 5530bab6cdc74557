/* http_accept.c - new connections: accepted by us, for libmicrohttpd.
 *
 * The library accepts too, but at its limit it stops listening without a word, and 0.9.75 may
 * never begin again. So the listening socket is ours. A connection that is one too many takes
 * the place of the one that has been idle for longest, and is answered 503 where all are busy:
 *
 *   fewer than the limit, and its address has its share or less ........ see http_sniff
 *   at the limit ................... the longest idle one is closed first, else 503
 *   its address is over its share .. the longest idle one of that address, else 503
 *
 * An address may hold 7 of 8 connections, so that one client alone cannot shut out all others;
 * behind a proxy that is trusted there are many clients, and the share does not apply. */
#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "server/http/address.h"
#include "server/http/http_state.h"
#include "server/log.h"

enum { ACCEPTS_A_TURN = 64 };

static const http_refusal all_busy = {
    503, "server_is_overloaded", "All connections are in use. Try again in a moment.", true};

static unsigned count_from(const http *h, peer p)
{
    unsigned n = 0;

    for (const http_connection *c = h->connections; c; c = c->next)
        n += !c->shut && peer_equal(c->peer, p);
    return n;
}

/* The list is in the order of becoming idle, so the first one will do. */
static http_connection *longest_idle(http *h, const peer *of)
{
    for (http_connection *c = h->connections; c; c = c->next)
        if (!c->request && !c->shut && (!of || peer_equal(c->peer, *of))) return c;
    return NULL;
}

/* Make sure that one more connection from p is within the limits; false: it is not. */
static bool make_room(http *h, peer p)
{
    const unsigned limit = h->options.connections, share = limit - limit / 8;
    const unsigned live = h->n_connections - h->n_shut;
    const peer_set *trusted = h->options.trusted_proxies;
    const bool full = live >= limit;
    http_connection *idle;

    /* nobody can be over a share that all together do not fill */
    if (live < share) return true;
    if (!full && trusted && peer_set_has(trusted, p)) return true;
    if (!full && count_from(h, p) < share) return true;
    idle = longest_idle(h, full ? NULL : &p);
    if (!idle) return false;
    log_line(LOG_WARN, "closed an idle connection for a new one", "limit",
             LOG_INT(full ? limit : share), "of", LOG_TEXT(full ? "all" : "one address"), NULL);
    http_connection_shut(idle);
    return true;
}

static void refuse(http *h, int fd)
{
    h->n_refused++;
    log_line(LOG_WARN, "refused a connection: all are busy", "limit",
             LOG_INT(h->options.connections), NULL);
    if (!h->options.tls) http_page_send(fd, NULL, &all_busy, "Retry-After: 1\r\n");
    linger_take(&h->lingering, h->loop, fd);
}

/* Without descriptors the socket stays readable and polling it would spin: wait for a tick,
 * and meanwhile win one back. */
static void pause_accepting(http *h, int why)
{
    http_connection *idle = longest_idle(h, NULL);

    log_line(LOG_ERROR, "cannot accept a connection", "reason", LOG_TEXT(strerror(why)), NULL);
    if (idle) http_connection_shut(idle);
    uv_poll_stop(&h->listener);
    h->paused = true;
}

/* The kernel looks for a descriptor first, so that one is missing says not that anybody waits.
 */
static bool somebody_waits(const http *h)
{
    struct pollfd p = {.fd = h->listen_fd, .events = POLLIN};

    return poll(&p, 1, 0) == 1;
}

/* It is not that nobody waits: there is nothing to accept with. */
static bool is_shortage(int why)
{
    return why == EMFILE || why == ENFILE || why == ENOBUFS || why == ENOMEM;
}

/* Without memory for a connection the library has it at once, and what it asks is refused. */
static void take(http *h, int fd, struct sockaddr *from, socklen_t n)
{
    http_connection *c = http_connection_new(h, fd, peer_of(from));

    if (c)
        http_sniff_begin(c);
    else
        MHD_add_connection(h->daemon, fd, from, n); /* takes fd */
}

static void on_acceptable(uv_poll_t *p, int status, int events)
{
    http *h = p->data;

    (void)status, (void)events;
    for (int i = 0; i < ACCEPTS_A_TURN; i++) {
        struct sockaddr_storage from = {0};
        socklen_t n = sizeof from;
        const int fd = accept4(h->listen_fd, (struct sockaddr *)&from, &n,
                               SOCK_NONBLOCK | SOCK_CLOEXEC);

        if (fd < 0) {
            const int why = errno;

            if (is_shortage(why) && somebody_waits(h)) pause_accepting(h, why);
            break; /* none waits, or one that has left already */
        }
        if (make_room(h, peer_of((struct sockaddr *)&from)))
            take(h, fd, (struct sockaddr *)&from, n);
        else
            refuse(h, fd);
    }
    http_stir(h);
}

bool http_accept_open(http *h, int fd)
{
    if (uv_poll_init(h->loop, &h->listener, fd)) return false;
    h->listener.data = h;
    h->listen_fd = fd;
    h->handles++;
    uv_poll_start(&h->listener, UV_READABLE, on_acceptable);
    return true;
}

void http_accept_tick(http *h)
{
    if (!h->paused) return;
    h->paused = false;
    if (h->listen_fd >= 0) uv_poll_start(&h->listener, UV_READABLE, on_acceptable);
}

void http_accept_close(http *h)
{
    if (h->listen_fd < 0) return;
    uv_close((uv_handle_t *)&h->listener, http_handle_closed);
    close(h->listen_fd); /* uv_close has taken it out of the loop's set */
    address_forget(h->options.listen);
    h->listen_fd = -1;
}
