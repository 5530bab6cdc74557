/* http_deadline.c - requests that take too long to come in, or to be answered.
 *
 *   connected, or idle ....... must begin a request, else it is closed without a word
 *   request coming in ........ must be complete by --read-timeout: 408
 *   chunked upload stuck ..... the library's buffer is full and it makes nothing of it: 400
 *   client closed meanwhile .. closed, where the library has not noticed
 *   held by its handler ...... must be answered by --request-timeout: 504
 *   event stream silent ...... gets a comment every ten seconds, so that no proxy cuts it
 *
 * The third is the library's: 0.9.75 wants the whole line before a chunk in its buffer, and
 * where the line is longer it neither reads nor fails but asks to be run again, at once, for
 * ever. What it has read is known from the socket, what it has passed on from us. The fourth
 * too: it waits for edges, and where a client's end came together with its last bytes there is
 * no other one. */
#include <sys/socket.h>

#include "server/http/hangup.h"
#include "server/http/http_state.h"
#include "server/http/received.h"

/* A TLS record of 16 KiB is read whole before any of it is passed on. */
enum { STUCK_BYTES = 24 * 1024 };

static const uint64_t second_ns = 1000000000u;
static const uint64_t ping_ns = 10000000000u;

static const http_refusal too_slow = {408, "request_timeout",
                                      "The request was not complete in time.", true};
static const http_refusal bad_chunk = {400, NULL,
                                       "A chunk's first line or a trailer is too long.", true};

void http_upload_progress(http_connection *c)
{
    c->taken_bytes = received_bytes(c->fd);
}

static bool is_stuck(const http_connection *c)
{
    const http_request *r = c->request;

    if (c->shut || !r || !r->chunked || r->dispatched) return false;
    return received_bytes(c->fd) >= c->taken_bytes + STUCK_BYTES;
}

/* MHD takes no answer before the request is complete, so these few bytes go past it; nothing
 * else is being sent at this moment. What the client still sends must reach who lingers, else
 * it gets a reset in the place of its answer. */
static void answer_unread(http_connection *c, const http_refusal *why)
{
    hangup_prepare(c->fd);
    http_page_send(c->fd, c->request->mhd, why, "");
    http_page_note(c, why);
    c->lingers = true;
    if (hangup_finish(c->fd))
        http_connection_given_up(c);
    else
        http_connection_shut(c);
}

static void give_up_reading(http_connection *c, const http_refusal *why)
{
    c->deadline_ns = 0;
    if (c->request)
        answer_unread(c, why);
    else
        http_connection_shut(c);
}

void http_drop_stuck(http *h)
{
    for (http_connection *c = h->connections; c; c = c->next)
        if (is_stuck(c)) give_up_reading(c, &bad_chunk);
}

/* Between two requests or in the middle of one, when all that came has been read. */
static bool has_left(const http_connection *c)
{
    char byte;

    return c->deadline_ns && !c->shut && recv(c->fd, &byte, 1, MSG_PEEK | MSG_DONTWAIT) == 0;
}

static void tick_connection(http *h, http_connection *c, uint64_t now_ns)
{
    http_request *r = c->request;
    const uint64_t limit_ns = h->options.request_seconds * second_ns;

    if (c->deadline_ns && now_ns >= c->deadline_ns) {
        give_up_reading(c, &too_slow);
        return;
    }
    if (has_left(c)) http_connection_shut(c);
    if (!r || !r->held || http_is_gone(r)) return;
    if (limit_ns && now_ns >= r->arrived_ns + limit_ns)
        http_request_expire(r);
    else if (r->streaming && now_ns >= r->written_ns + ping_ns)
        http_request_ping(r, now_ns);
}

void http_tick(http *h, uint64_t now_ns)
{
    for (http_connection *c = h->connections; c; c = c->next) tick_connection(h, c, now_ns);
    http_drop_stuck(h);
    linger_tick(&h->lingering, now_ns);
    http_accept_tick(h);
}
