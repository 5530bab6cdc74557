/* linger.c - reads and drops what clients send after their last answer.
 *
 *   take: our side is shut ---> the client reads its answer, and closes ---> close
 *                          \--> it sends on, 10 s or 64 MiB ---------------> close, with a
 * reset
 *
 * One uv_poll a socket: it is no connection of libmicrohttpd any more, whose own descriptor of
 * it is closed, so libuv watches it without a second owner. */
#include "server/http/linger.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "engine/clock.h"
#include "server/http/hangup.h"

/* The bound is on descriptors: who is over it gets his reset, as without lingering. */
enum { LINGER_MAX = 256, READS_A_TURN = 4, DROP_BYTES = 65536 };

static const uint64_t patience_ns = 10000000000u;
static const uint64_t most_bytes = UINT64_C(64) << 20; /* an upload of the largest usual body */

struct linger_socket {
    linger_socket *next, **link;
    linger_list *list;
    uv_poll_t poll;
    int fd;
    uint64_t end_ns, dropped;
};

static void on_closed(uv_handle_t *h)
{
    linger_socket *s = h->data;

    close(s->fd); /* not before: libuv still had it in its own epoll set */
    free(s);
}

/* Out of the list at once, so that a tick does not end it twice; freed when libuv is through.
 */
static void end(linger_socket *s)
{
    *s->link = s->next;
    if (s->next) s->next->link = s->link;
    s->list->n--;
    uv_close((uv_handle_t *)&s->poll, on_closed);
}

/* A few reads a turn, so that a fast sender keeps nobody else waiting. */
static void on_readable(uv_poll_t *p, int status, int events)
{
    static char dropped[DROP_BYTES]; /* never read; all on one thread */
    linger_socket *s = p->data;

    (void)events;
    for (int i = 0; i < READS_A_TURN; i++) {
        const ssize_t n = recv(s->fd, dropped, sizeof dropped, MSG_DONTWAIT);

        if (n < 0 && (errno == EAGAIN || errno == EINTR) && !status) return;
        if (n > 0) s->dropped += (uint64_t)n;
        if (n <= 0 || s->dropped > most_bytes) {
            end(s);
            return;
        }
    }
}

void linger_take(linger_list *l, uv_loop_t *loop, int fd)
{
    linger_socket *s = l->n < LINGER_MAX ? calloc(1, sizeof *s) : NULL;

    shutdown(fd, SHUT_WR);
    hangup_undo(fd);
    if (!s || uv_poll_init(loop, &s->poll, fd)) {
        free(s);
        close(fd);
        return;
    }
    s->fd = fd;
    s->list = l;
    s->end_ns = clock_ns() + patience_ns;
    s->next = l->first;
    s->link = &l->first;
    if (s->next) s->next->link = &s->next;
    l->first = s;
    l->n++;
    s->poll.data = s;
    uv_poll_start(&s->poll, UV_READABLE, on_readable);
}

void linger_tick(linger_list *l, uint64_t now_ns)
{
    for (linger_socket *s = l->first, *next; s; s = next) { /* end takes s out */
        next = s->next;
        if (now_ns >= s->end_ns) end(s);
    }
}

void linger_close_all(linger_list *l)
{
    linger_tick(l, UINT64_MAX);
}
