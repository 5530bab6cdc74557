/* http_sniff.c - the first bytes of a connection, looked at before libmicrohttpd has them.
 *
 * A first line without a blank (the hello of SSH or TLS, a tab for a blank) the library closes
 * without an answer, and tells us when it has shut the socket. So a new connection stays ours
 * until its first word has come:
 *
 *   accepted --> a method and a blank ............ handed over, nothing is read
 *           \--> a byte that is in no method ..... 400, and closed
 *           \--> nothing yet, or half a word ..... watched, an edge for each arrival
 *           \--> the client's end, the deadline .. closed without a word
 *
 * Requests that follow on the same connection are the library's alone: what it has read of them
 * cannot be told from outside. Nor is there anything to see behind TLS. */
#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "server/http/http_state.h"

typedef enum sniffed { WAIT, GOOD, BAD, OVER } sniffed;

/* No method that anybody knows is as long: longer ones are the library's, too. */
enum { SNIFF_BYTES = 64 };

/* What the bytes that wait in the socket begin with. Empty lines before a request are allowed
 * (RFC 9112, 2.2). */
static sniffed sniff(int fd)
{
    char text[SNIFF_BYTES];
    ssize_t n, from = 0, at;

    do n = recv(fd, text, sizeof text, MSG_PEEK | MSG_DONTWAIT);
    while (n < 0 && errno == EINTR); /* of bytes that have come there is no second edge */
    if (n <= 0) return n < 0 && errno == EAGAIN ? WAIT : OVER;
    while (from < n && (text[from] == '\r' || text[from] == '\n')) from++;
    for (at = from; at < n && http_is_tchar(text[at]);) at++;
    if (at == n) return n == sizeof text ? GOOD : WAIT;
    return at > from && text[at] == ' ' ? GOOD : BAD;
}

/* From now on it is libmicrohttpd's, or gone: it closes the socket where it fails. The address
 * is not asked for again, so it learns none. */
static void hand_over(http_connection *c)
{
    static const struct sockaddr nobody = {.sa_family = AF_UNSPEC};
    http *h = c->http;

    c->fresh = false;
    h->arriving = c;
    MHD_add_connection(h->daemon, c->fd, &nobody, sizeof nobody);
    if (h->arriving) http_connection_free(c);
    h->arriving = NULL;
    http_stir(h);
}

static void refuse(http_connection *c)
{
    http_page_send(c->fd, NULL, &http_refuse_first_line, "");
    http_page_note(c, &http_refuse_first_line);
    linger_take(&c->http->lingering, c->http->loop, c->fd);
    http_connection_free(c);
}

void http_sniff_close(http_connection *c)
{
    assert(c->fresh);
    close(c->fd);
    http_connection_free(c);
}

/* False: it is still fresh. watched: it is in our set, whose record of it must not outlive c;
 * ended: no more will come than is there. */
static bool settle(http_connection *c, bool watched, bool ended)
{
    const sniffed found = sniff(c->fd);

    if (found == WAIT && !ended) return false;
    if (watched) epoll_ctl(c->http->watch_fd, EPOLL_CTL_DEL, c->fd, NULL);
    if (found == GOOD)
        hand_over(c);
    else if (found == BAD)
        refuse(c);
    else
        http_sniff_close(c);
    return true;
}

void http_sniff_begin(http_connection *c)
{
    struct epoll_event e = {.events = EPOLLIN | EPOLLRDHUP | EPOLLET, .data.ptr = c};

    if (c->http->options.tls)
        hand_over(c);
    else if (!settle(c, false, false) && epoll_ctl(c->http->watch_fd, EPOLL_CTL_ADD, c->fd, &e))
        hand_over(c); /* no memory to watch it */
}

void http_sniff_event(http_connection *c, unsigned events)
{
    settle(c, true, events & (EPOLLRDHUP | EPOLLHUP | EPOLLERR));
}
