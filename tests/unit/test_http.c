/* test_http.c - a real listener on a real loop, with stand-in handlers and raw sockets. */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "server/http.h"
#include "server/workers.h"
#include "tests/test.h"

enum { MAX_HELD = 8, GOT_BYTES = 1 << 16, BODY_LIMIT = 100000, PATIENCE_S = 20 };

static const uint64_t second_ns = 1000000000u;

/* The server's side: what handlers saw, and what they keep. */
typedef struct site {
    uv_loop_t loop;
    http *http;
    http_request *held[MAX_HELD];
    int n_held, n_dispatched, n_gone, n_finished, last_status;
    int n_smuggled;
    workers *workers; /* of the parallel test */
} site;

typedef struct client {
    int fd;
    char got[GOT_BYTES];
    size_t n;
    bool closed;
} client;

/* --- handlers --- */

static void on_gone(http_request *r)
{
    site *s = http_server(r);

    CHECK(http_is_gone(r));
    s->n_gone++;
}

static void hold(site *s, http_request *r)
{
    CHECK(s->n_held < MAX_HELD);
    s->held[s->n_held++] = r;
    http_hold(r, on_gone, s);
}

static void echo(http_request *r)
{
    size_t n;
    const char *body = http_body(r, &n);
    char *copy = malloc(n + 1);

    CHECK(copy && strlen(body) <= n);
    memcpy(copy, body, n + 1);
    http_answer(r, 200, "application/octet-stream", copy, n);
}

static void run_tokens(site *s, http_request *r);

static void dispatch(http_request *r)
{
    site *s = http_server(r);
    const char *path = http_path(r);

    s->n_dispatched++;
    http_set_route(r, "test");
    if (strcmp(path, "/hold") == 0) {
        hold(s, r);
    } else if (strcmp(path, "/stream") == 0) {
        hold(s, r);
        http_stream_begin(r, 200, "text/event-stream");
    } else if (strcmp(path, "/tokens") == 0) {
        run_tokens(s, r);
    } else if (strcmp(path, "/echo") == 0) {
        echo(r);
    } else {
        if (strcmp(path, "/smuggled") == 0) s->n_smuggled++;
        http_add_header(r, "x-test", "yes");
        http_answer(r, 200, "text/plain", strdup("hello"), 5);
    }
}

static void finished(http_request *r)
{
    site *s = http_server(r);

    s->n_finished++;
    s->last_status = http_status(r);
}

/* --- the site --- */

static site *site_open(void)
{
    site *s = calloc(1, sizeof *s);
    const http_options o = {.listen = "127.0.0.1:0",
                            .max_body_bytes = BODY_LIMIT,
                            .connections = 400,
                            .idle_seconds = 120,
                            .read_seconds = 30,
                            .request_seconds = 600,
                            .server = s,
                            .dispatch = dispatch,
                            .finished = finished};

    CHECK(s && uv_loop_init(&s->loop) == 0);
    CHECK(http_open(&s->http, &s->loop, &o) == ERR_OK);
    CHECK(http_port(s->http) != 0);
    return s;
}

/* Part of every test: nothing may be left on the loop. */
static void site_close(site *s)
{
    http_close(s->http);
    uv_run(&s->loop, UV_RUN_DEFAULT);
    CHECK(uv_loop_close(&s->loop) == 0);
    free(s);
}

/* Let the server do what it can, then wait for it or the client's socket (or -1). */
static void turn(site *s, int fd)
{
    struct pollfd p[] = {{.fd = uv_backend_fd(&s->loop), .events = POLLIN},
                         {.fd = fd, .events = POLLIN}};

    uv_run(&s->loop, UV_RUN_NOWAIT);
    poll(p, 2, 2);
    uv_run(&s->loop, UV_RUN_NOWAIT);
}

/* The condition, or patience is over and the check fails. */
#define AWAIT(site_, fd_, cond)                                     \
    do {                                                            \
        const uint64_t end_ = uv_hrtime() + PATIENCE_S * second_ns; \
        while (!(cond) && uv_hrtime() < end_) turn((site_), (fd_)); \
        CHECK(cond);                                                \
    } while (0)

/* --- the client --- */

static int connect_to(unsigned port)
{
    struct sockaddr_in to = {.sin_family = AF_INET,
                             .sin_port = htons((uint16_t)port),
                             .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    const int fd = socket(AF_INET, SOCK_STREAM, 0);

    if (connect(fd, (struct sockaddr *)&to, sizeof to) == 0) return fd;
    close(fd);
    return -1;
}

static client *client_open(site *s)
{
    client *c = calloc(1, sizeof *c);

    c->fd = connect_to(http_port(s->http));
    CHECK(c->fd >= 0);
    return c;
}

static void say_bytes(site *s, client *c, const char *bytes, size_t n)
{
    while (n) {
        const ssize_t sent = send(c->fd, bytes, n, MSG_DONTWAIT | MSG_NOSIGNAL);

        if (sent < 0 && errno != EAGAIN) return; /* the server closed: hear tells */
        if (sent > 0) {
            bytes += sent;
            n -= (size_t)sent;
        }
        turn(s, -1);
    }
}

static void say(site *s, client *c, const char *text)
{
    say_bytes(s, c, text, strlen(text));
}

static void listen_once(client *c)
{
    const size_t room = GOT_BYTES - 1 - c->n;
    const ssize_t n = room ? recv(c->fd, c->got + c->n, room, MSG_DONTWAIT) : 0;

    if (room == 0) return;
    if (n > 0)
        c->n += (size_t)n;
    else if (n == 0 || errno != EAGAIN)
        c->closed = true;
    c->got[c->n] = '\0';
}

static bool heard(client *c, const char *text)
{
    listen_once(c);
    return strstr(c->got, text) != NULL;
}

static bool heard_end(client *c)
{
    listen_once(c);
    return c->closed;
}

static void hear(site *s, client *c, const char *text)
{
    AWAIT(s, c->fd, heard(c, text));
}

static void hear_end(site *s, client *c)
{
    AWAIT(s, c->fd, heard_end(c));
}

static void forget(client *c)
{
    c->n = 0;
    c->got[0] = '\0';
}

static void client_close(client *c)
{
    if (c->fd >= 0) close(c->fd);
    free(c);
}

static void hang_up_hard(client *c)
{
    const struct linger reset = {.l_onoff = 1};

    setsockopt(c->fd, SOL_SOCKET, SO_LINGER, &reset, sizeof reset);
    close(c->fd);
    c->fd = -1;
}

static int count(const char *text, const char *word)
{
    int n = 0;

    for (const char *at = text; (at = strstr(at, word)); at++) n++;
    return n;
}

/* One request on a fresh connection; its whole answer, to the connection's end. */
static client *ask(site *s, const char *request)
{
    client *c = client_open(s);

    say(s, c, request);
    hear_end(s, c);
    return c;
}

static void check_still_serves(site *s)
{
    client *c = ask(s, "GET /now HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");

    CHECK(strstr(c->got, " 200 ") && strstr(c->got, "hello"));
    client_close(c);
}

/* --- answers --- */

TEST(http_keeps_a_connection_and_says_for_how_long)
{
    site *s = site_open();
    client *c = client_open(s);

    for (int i = 0; i < 3; i++) {
        say(s, c, "GET /now HTTP/1.1\r\nHost: x\r\n\r\n");
        hear(s, c, "hello");
        CHECK(strstr(c->got, "HTTP/1.1 200 OK\r\n"));
        CHECK(strstr(c->got, "Keep-Alive: timeout=120\r\n"));
        CHECK(strstr(c->got, "x-test: yes\r\n"));
        CHECK(strstr(c->got, "Content-Length: 5\r\n"));
        forget(c);
    }
    AWAIT(s, -1, s->n_finished == 3);
    CHECK(s->last_status == 200);
    CHECK(http_requests(s->http) == 0 && http_connections(s->http) == 1);
    client_close(c);
    AWAIT(s, -1, http_connections(s->http) == 0);
    site_close(s);
}

TEST(http_hands_over_a_body_whole_however_it_comes)
{
    site *s = site_open();
    client *c = client_open(s);

    say(s, c, "POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 6\r\n\r\nab");
    say(s, c, "cdef");
    hear(s, c, "\r\n\r\nabcdef");
    forget(c);
    say(s, c,
        "POST /echo HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
        "3;a=b\r\nghi\r\n2\r\njk\r\n0\r\n\r\n");
    hear(s, c, "\r\n\r\nghijk");
    forget(c);
    say(s, c, "POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n");
    hear(s, c, "Content-Length: 0\r\n");
    client_close(c);
    site_close(s);
}

TEST(http_asks_for_a_body_that_waits_for_it)
{
    site *s = site_open();
    client *c = client_open(s);

    say(s, c,
        "POST /echo HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 3\r\n\r\n");
    hear(s, c, "HTTP/1.1 100 Continue\r\n\r\n");
    say(s, c, "abc");
    hear(s, c, "\r\n\r\nabc");
    client_close(c);
    site_close(s);
}

TEST(http_answers_head_without_a_body)
{
    site *s = site_open();
    client *c = ask(s, "HEAD /now HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");

    CHECK(strstr(c->got, "Content-Length: 5\r\n"));
    CHECK(!strstr(c->got, "hello"));
    client_close(c);
    site_close(s);
}

TEST(http_names_every_request_and_keeps_a_sane_name)
{
    site *s = site_open();
    client *c = client_open(s);

    say(s, c, "GET /now HTTP/1.1\r\nHost: x\r\nX-Request-Id: bench-1:2.3_4\r\n\r\n");
    hear(s, c, "x-request-id: bench-1:2.3_4\r\n");
    hear(s, c, "hello");
    forget(c);
    say(s, c, "GET /now HTTP/1.1\r\nHost: x\r\nX-Request-Id: not <sane>\r\n\r\n");
    hear(s, c, "x-request-id: req_");
    CHECK(!strstr(c->got, "sane"));
    client_close(c);
    site_close(s);
}

TEST(http_answers_pipelined_requests_one_after_the_other)
{
    site *s = site_open();
    client *c = client_open(s);

    say(s, c,
        "GET /hold HTTP/1.1\r\nHost: x\r\n\r\nGET /now HTTP/1.1\r\nHost: x\r\n\r\n"
        "GET /hold HTTP/1.1\r\nHost: x\r\n\r\n");
    AWAIT(s, c->fd, s->n_held == 1);
    CHECK(s->n_dispatched == 1);
    http_answer(s->held[0], 200, "text/plain", strdup("first"), 5);
    AWAIT(s, c->fd, s->n_held == 2);
    http_answer(s->held[1], 200, "text/plain", strdup("third"), 5);
    hear(s, c, "third");
    CHECK(strstr(c->got, "first") < strstr(c->got, "hello"));
    CHECK(strstr(c->got, "hello") < strstr(c->got, "third"));
    CHECK(s->n_gone == 0);
    client_close(c);
    site_close(s);
}

/* --- streams --- */

TEST(http_streams_headers_first_and_bytes_in_order)
{
    site *s = site_open();
    client *c = client_open(s);

    say(s, c, "POST /stream HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\n{}");
    hear(s, c, "\r\n\r\n");
    CHECK(strstr(c->got, "Content-Type: text/event-stream\r\n"));
    CHECK(strstr(c->got, "Cache-Control: no-cache\r\n"));
    CHECK(strstr(c->got, "X-Accel-Buffering: no\r\n"));
    CHECK(strstr(c->got, "Transfer-Encoding: chunked\r\n"));
    for (int i = 0; i < 5; i++) {
        char event[32];

        snprintf(event, sizeof event, "data: %d\n\n", i);
        CHECK(http_stream_write(s->held[0], event, strlen(event)) == ERR_OK);
        hear(s, c, event); /* it comes before the next one is written */
    }
    http_stream_write(s->held[0], "data: [DONE]\n\n", 14);
    http_stream_end(s->held[0]);
    hear(s, c, "data: [DONE]\n\n\r\n0\r\n\r\n");
    forget(c);
    say(s, c, "GET /now HTTP/1.1\r\nHost: x\r\n\r\n"); /* the connection lives on */
    hear(s, c, "hello");
    CHECK(s->n_gone == 0);
    client_close(c);
    site_close(s);
}

TEST(http_ends_a_stream_to_an_old_client_by_closing)
{
    site *s = site_open();
    client *c = client_open(s);

    say(s, c, "GET /stream HTTP/1.0\r\n\r\n");
    AWAIT(s, c->fd, s->n_held == 1);
    http_stream_write(s->held[0], "data: a\n\n", 9);
    http_stream_end(s->held[0]);
    hear_end(s, c);
    CHECK(strstr(c->got, "\r\n\r\ndata: a\n\n") && !strstr(c->got, "chunked"));
    client_close(c);
    site_close(s);
}

TEST(http_sleeps_while_a_stream_and_a_held_request_wait)
{
    site *s = site_open();
    client *streaming = client_open(s), *holding = client_open(s);
    struct pollfd p = {.fd = uv_backend_fd(&s->loop), .events = POLLIN};

    say(s, streaming, "GET /stream HTTP/1.1\r\nHost: x\r\n\r\n");
    hear(s, streaming, "\r\n\r\n");
    say(s, holding, "GET /hold HTTP/1.1\r\nHost: x\r\n\r\n");
    AWAIT(s, -1, s->n_held == 2);
    for (int i = 0; i < 5; i++) uv_run(&s->loop, UV_RUN_NOWAIT);
    CHECK(uv_backend_timeout(&s->loop) != 0);
    CHECK(poll(&p, 1, 0) == 0);
    http_stream_end(s->held[0]);
    http_answer(s->held[1], 200, NULL, NULL, 0);
    client_close(streaming);
    client_close(holding);
    site_close(s);
}

TEST(http_counts_what_a_slow_reader_has_not_taken)
{
    enum { PIECE = 65536, PIECES = 128 };
    site *s = site_open();
    client *c = client_open(s);
    char *piece = malloc(PIECE);
    size_t total = 0;

    memset(piece, 'x', PIECE);
    say(s, c, "GET /stream HTTP/1.0\r\n\r\n");
    AWAIT(s, c->fd, s->n_held == 1);
    for (int i = 0; i < PIECES; i++) {
        CHECK(http_stream_write(s->held[0], piece, PIECE) == ERR_OK);
        turn(s, -1);
    }
    CHECK(http_stream_backlog(s->held[0]) > PIECE);
    http_stream_end(s->held[0]);
    hear(s, c, "\r\n\r\n");
    total = c->n - (size_t)(strstr(c->got, "\r\n\r\n") + 4 - c->got);
    while (!c->closed) {
        forget(c);
        AWAIT(s, c->fd, heard(c, "x") || c->closed);
        total += c->n;
    }
    CHECK(total == (size_t)PIECE * PIECES);
    free(piece);
    client_close(c);
    site_close(s);
}

TEST(http_keeps_a_silent_event_stream_alive_with_comments)
{
    site *s = site_open();
    client *c = client_open(s);

    say(s, c, "GET /stream HTTP/1.1\r\nHost: x\r\n\r\n");
    hear(s, c, "\r\n\r\n");
    http_tick(s->http, uv_hrtime() + 5 * second_ns); /* too early */
    http_stream_write(s->held[0], "data: a\n\n", 9);
    hear(s, c, "data: a\n\n");
    CHECK(!strstr(c->got, "ping"));
    http_tick(s->http, uv_hrtime() + 11 * second_ns);
    hear(s, c, ": ping\n\n");
    http_stream_end(s->held[0]);
    hear(s, c, "\r\n0\r\n\r\n");
    CHECK(count(c->got, ": ping\n\n") == 1);
    client_close(c);
    site_close(s);
}

/* --- clients that leave --- */

static void leave(client *c, int how)
{
    if (how == 0) {
        close(c->fd);
        c->fd = -1;
    } else if (how == 1) {
        hang_up_hard(c);
    } else {
        shutdown(c->fd, SHUT_WR);
    }
}

static void check_leaving(const char *request, bool stream, int how)
{
    site *s = site_open();
    client *c = client_open(s);

    say(s, c, request);
    AWAIT(s, c->fd, s->n_held == 1);
    if (stream) hear(s, c, "\r\n\r\n");
    turn(s, -1);
    CHECK(s->n_gone == 0);
    leave(c, how);
    AWAIT(s, -1, s->n_gone == 1);
    AWAIT(s, -1, http_connections(s->http) == 0);
    CHECK(http_requests(s->http) == 0);
    if (stream) { /* the handler hears of it late, and lets go later */
        CHECK(http_stream_write(s->held[0], "data: a\n\n", 9) == ERR_CANCELED);
        http_stream_end(s->held[0]);
    } else {
        http_answer(s->held[0], 200, "text/plain", strdup("late"), 4);
    }
    CHECK(s->n_gone == 1 && s->n_finished == 1);
    CHECK(s->last_status == (stream ? 200 : 0));
    client_close(c);
    site_close(s);
}

TEST(http_tells_a_handler_that_its_client_hung_up_while_it_waits)
{
    for (int how = 0; how < 3; how++)
        check_leaving("GET /hold HTTP/1.1\r\nHost: x\r\n\r\n", false, how);
}

TEST(http_tells_a_handler_that_its_client_hung_up_while_it_streams)
{
    for (int how = 0; how < 3; how++)
        check_leaving("GET /stream HTTP/1.1\r\nHost: x\r\n\r\n", true, how);
}

static void let_go_at_once(http_request *r)
{
    site *s = http_server(r);

    s->n_gone++;
    http_answer(r, 200, NULL, NULL, 0);
}

TEST(http_may_be_let_go_from_the_gone_callback_itself)
{
    site *s = site_open();
    client *c = client_open(s);

    say(s, c, "GET /hold HTTP/1.1\r\nHost: x\r\n\r\n");
    AWAIT(s, c->fd, s->n_held == 1);
    http_hold(s->held[0], let_go_at_once, s);
    leave(c, 0);
    AWAIT(s, -1, http_connections(s->http) == 0);
    CHECK(s->n_gone == 1);
    client_close(c);
    site_close(s);
}

TEST(http_forgets_a_client_that_leaves_in_the_middle_of_its_request)
{
    static const char *const parts[] = {
        "",
        "PO",
        "POST /echo HT",
        "POST /echo HTTP/1.1\r\nHost",
        "POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\nabc",
        "POST /echo HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nab"};

    for (size_t i = 0; i < sizeof parts / sizeof *parts; i++) {
        for (int how = 0; how < 3; how++) {
            site *s = site_open();
            client *c = client_open(s);

            say(s, c, parts[i]);
            AWAIT(s, -1, http_connections(s->http) == 1);
            leave(c, how);
            AWAIT(s, -1, http_connections(s->http) == 0);
            CHECK(s->n_dispatched == 0);
            client_close(c);
            site_close(s);
        }
    }
}

TEST(http_closes_with_a_stream_its_client_left_blocked)
{
    site *s = site_open();
    client *c = client_open(s);
    char *piece = calloc(1, 1 << 23);

    say(s, c, "GET /stream HTTP/1.1\r\nHost: x\r\n\r\n");
    AWAIT(s, c->fd, s->n_held == 1);
    http_stream_write(s->held[0], piece, 1 << 23);
    turn(s, -1);
    http_stream_end(s->held[0]);
    site_close(s);
    free(piece);
    client_close(c);
}

/* --- deadlines --- */

TEST(http_gives_up_on_a_request_that_is_not_complete_in_time)
{
    site *s = site_open();
    client *c = client_open(s);

    say(s, c,
        "POST /echo HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 3\r\n\r\n");
    hear(s, c, "100 Continue\r\n\r\n");
    say(s, c, "a");
    http_tick(s->http, uv_hrtime() + 29 * second_ns);
    say(s, c, "b"); /* activity does not help */
    http_tick(s->http, uv_hrtime() + 31 * second_ns);
    hear_end(s, c);
    CHECK(strstr(c->got, "HTTP/1.1 408 "));
    CHECK(strstr(c->got, "\r\n\r\n{\"error\":{"));
    AWAIT(s, -1, http_connections(s->http) == 0);
    CHECK(s->n_dispatched == 0);
    client_close(c);
    site_close(s);
}

TEST(http_closes_a_connection_that_never_begins)
{
    site *s = site_open();
    client *c = client_open(s);

    AWAIT(s, -1, http_connections(s->http) == 1);
    http_tick(s->http, uv_hrtime() + 31 * second_ns);
    hear_end(s, c);
    CHECK(c->n == 0);
    client_close(c);
    site_close(s);
}

TEST(http_answers_504_for_a_handler_that_takes_too_long)
{
    site *s = site_open();
    client *c = client_open(s);

    say(s, c, "GET /hold HTTP/1.1\r\nHost: x\r\n\r\n");
    AWAIT(s, c->fd, s->n_held == 1);
    http_tick(s->http, uv_hrtime() + 599 * second_ns);
    CHECK(s->n_gone == 0);
    http_tick(s->http, uv_hrtime() + 601 * second_ns);
    CHECK(s->n_gone == 1 && http_is_gone(s->held[0]));
    hear(s, c, "x-should-retry: false\r\n");
    hear(s, c, "{\"error\":{");
    http_answer(s->held[0], 200, "text/plain", strdup("late"), 4);
    forget(c);
    say(s, c, "GET /now HTTP/1.1\r\nHost: x\r\n\r\n");
    hear(s, c, "hello");
    CHECK(!strstr(c->got, "late"));
    client_close(c);
    site_close(s);
}

TEST(http_ends_a_stream_that_takes_too_long_with_an_error_event)
{
    site *s = site_open();
    client *c = client_open(s);

    say(s, c, "GET /stream HTTP/1.1\r\nHost: x\r\n\r\n");
    AWAIT(s, c->fd, s->n_held == 1);
    http_stream_write(s->held[0], "data: a\n\n", 9);
    http_tick(s->http, uv_hrtime() + 601 * second_ns);
    CHECK(http_stream_write(s->held[0], "data: b\n\n", 9) == ERR_CANCELED);
    hear(s, c, "data: {\"error\":{");
    hear(s, c, "\r\n0\r\n\r\n");
    CHECK(!strstr(c->got, "data: b"));
    CHECK(s->n_gone == 1);
    http_stream_end(s->held[0]);
    client_close(c);
    site_close(s);
}

/* --- refusals --- */

TEST(http_refuses_a_body_over_the_limit_before_it_is_sent)
{
    site *s = site_open();
    client *c = ask(s, "POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 100001\r\n\r\n");

    CHECK(strstr(c->got, "HTTP/1.1 413 ") && strstr(c->got, "\"request_too_large\""));
    CHECK(s->n_dispatched == 0);
    client_close(c);
    c = ask(s, "POST /echo HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\n"
               "Content-Length: 99999999999999999999\r\n\r\n");
    CHECK(strstr(c->got, " 413 ") && !strstr(c->got, "100 Continue"));
    client_close(c);
    check_still_serves(s);
    site_close(s);
}

TEST(http_refuses_a_chunked_body_once_it_is_over_the_limit)
{
    site *s = site_open();
    client *c = client_open(s);
    char *chunk = malloc(50000 + 16);
    const size_t head = (size_t)snprintf(chunk, 16, "%x\r\n", 50000u);

    memset(chunk + head, 'x', 50000);
    memcpy(chunk + head + 50000, "\r\n", 2);
    say(s, c, "POST /echo HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n");
    for (int i = 0; i < 4; i++) say_bytes(s, c, chunk, head + 50000 + 2);
    say(s, c, "0\r\n\r\n");
    hear_end(s, c);
    CHECK(strstr(c->got, "HTTP/1.1 413 ") && s->n_dispatched == 0);
    free(chunk);
    client_close(c);
    site_close(s);
}

TEST(http_takes_a_body_of_exactly_the_limit)
{
    site *s = site_open();
    client *c = client_open(s);
    char *body = malloc(BODY_LIMIT);

    memset(body, 'y', BODY_LIMIT);
    say(s, c,
        "POST /hold HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: "
        "100000\r\n\r\n");
    say_bytes(s, c, body, BODY_LIMIT);
    AWAIT(s, c->fd, s->n_held == 1);
    {
        size_t n;

        CHECK(strlen(http_body(s->held[0], &n)) == BODY_LIMIT && n == BODY_LIMIT);
    }
    http_answer(s->held[0], 200, NULL, NULL, 0);
    hear_end(s, c);
    CHECK(strstr(c->got, " 200 "));
    free(body);
    client_close(c);
    site_close(s);
}

typedef struct odd_request {
    const char *name, *request;
    const char *status; /* NULL: any 4xx or 5xx, or a closed connection */
} odd_request;

#define SMUGGLED "GET /smuggled HTTP/1.1\r\nHost: x\r\n\r\n"

static const odd_request odd[] = {
    {"no Host", "GET /now HTTP/1.1\r\n\r\n", " 400 "},
    {"two Hosts", "GET /now HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", " 400 "},
    {"bad length", "POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: abc\r\n\r\nabc", " 400 "},
    {"negative length", "POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n",
     " 400 "},
    {"length and coding",
     "POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n"
     "3\r\nabc\r\n0\r\n\r\n" SMUGGLED,
     " 400 "},
    {"two lengths",
     "POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\nContent-Length: "
     "5\r\n\r\nabc" SMUGGLED,
     " 400 "},
    {"the same length twice",
     "POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\nContent-Length: "
     "3\r\n\r\nabc" SMUGGLED,
     " 400 "},
    {"unknown coding", "POST /echo HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: xchunked\r\n\r\n",
     " 400 "},
    {"two codings",
     "POST /echo HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
     " 400 "},
    {"coding from an old client",
     "POST /echo HTTP/1.0\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", " 400 "},
    {"space before the colon",
     "POST /echo HTTP/1.1\r\nHost: x\r\nTransfer-Encoding : chunked\r\nContent-Length: "
     "5\r\n\r\n"
     "0\r\n\r\n" SMUGGLED,
     " 400 "},
    {"bad chunk size",
     "POST /echo HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\nabc\r\n", NULL},
    {"a name that is none", "GET /now HTTP/1.1\r\nHost: x\r\na b: c\r\n\r\n", " 400 "},
    {"encoded NUL", "GET /now%00x HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n", " 400 "},
    {"compressed body",
     "POST /echo HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Encoding: gzip\r\n"
     "Content-Length: 3\r\n\r\nabc",
     " 415 "},
    {"bare LF", "GET /now HTTP/1.1\nHost: x\nConnection: close\n\n", " 200 "},
    {"folded header", "GET /now HTTP/1.1\r\nHost: x\r\nA: b\r\n c\r\nConnection: close\r\n\r\n",
     " 200 "},
    {"chunk extension",
     "POST /echo HTTP/1.1\r\nHost: x\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n"
     "3;a=b\r\nabc\r\n0\r\n\r\n",
     " 200 "},
    {"unknown expectation",
     "GET /now HTTP/1.1\r\nHost: x\r\nExpect: foo\r\nConnection: close\r\n\r\n", " 200 "},
    {"absolute URI", "GET http://h/now HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n",
     " 200 "},
    {"lower-case method", "get /now HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n", " 200 "},
    {"no version", "GET /now\r\n\r\n", NULL},
    {"HTTP/2 preface", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", NULL},
    {"not HTTP", "\x16\x03\x01\x02\x03 nonsense\r\n\r\n", NULL},
};

static void check_odd(site *s, const odd_request *o)
{
    client *c = ask(s, o->request);
    const bool error = strncmp(c->got, "HTTP/1.1 4", 10) == 0 ||
                       strncmp(c->got, "HTTP/1.1 5", 10) == 0 || c->n == 0;
    const bool right = o->status ? strncmp(c->got + 8, o->status, 5) == 0 : error;

    if (!right || s->n_smuggled) fprintf(stderr, "%s: %s\n", o->name, c->got);
    CHECK(right);
    CHECK(s->n_smuggled == 0);
    client_close(c);
}

TEST(http_survives_odd_requests_and_serves_nothing_that_is_hidden_in_them)
{
    site *s = site_open();

    for (size_t i = 0; i < sizeof odd / sizeof *odd; i++) {
        check_odd(s, &odd[i]);
        check_still_serves(s);
    }
    site_close(s);
}

TEST(http_survives_a_nul_in_a_header)
{
    static const char request[] =
        "GET /now HTTP/1.1\r\nHost: x\r\nA: b\0c\r\nConnection: close\r\n\r\n";
    site *s = site_open();
    client *c = client_open(s);

    say_bytes(s, c, request, sizeof request - 1);
    hear_end(s, c);
    CHECK(strncmp(c->got, "HTTP/1.1 ", 9) == 0);
    check_still_serves(s);
    client_close(c);
    site_close(s);
}

TEST(http_refuses_a_url_larger_than_its_memory)
{
    site *s = site_open();
    client *c = client_open(s);
    char *url = malloc(70001);

    memset(url, 'a', 70000);
    url[70000] = '\0';
    say(s, c, "GET /");
    say(s, c, url);
    say(s, c, " HTTP/1.1\r\nHost: x\r\n\r\n");
    hear_end(s, c);
    CHECK(c->n == 0 || strncmp(c->got, "HTTP/1.1 414 ", 13) == 0);
    CHECK(s->n_dispatched == 0);
    check_still_serves(s);
    free(url);
    client_close(c);
    site_close(s);
}

/* --- listening, draining --- */

TEST(http_says_that_an_address_is_in_use)
{
    site *s = site_open();
    char address[32];
    http *second = NULL;
    http_options o = {.listen = address, .connections = 4, .dispatch = dispatch};

    snprintf(address, sizeof address, "127.0.0.1:%u", http_port(s->http));
    CHECK(http_open(&second, &s->loop, &o) == ERR_ADDRESS);
    CHECK(errno == EADDRINUSE && !second);
    site_close(s);
}

TEST(http_refuses_what_is_no_address)
{
    static const char *const wrong[] = {
        "",      "8080",       "localhost", "127.0.0.1:", "127.0.0.1:70000", "127.0.0.1:8o80",
        "[::1]", "999.1.1.1:0"};
    site *s = site_open();

    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        http *none = NULL;
        const http_options o = {.listen = wrong[i], .connections = 4, .dispatch = dispatch};

        CHECK(http_open(&none, &s->loop, &o) == ERR_ADDRESS && !none);
    }
    site_close(s);
}

TEST(http_finishes_what_runs_and_closes_connections_while_draining)
{
    site *s = site_open();
    client *kept = client_open(s), *streaming = client_open(s);

    say(s, kept, "GET /now HTTP/1.1\r\nHost: x\r\n\r\n");
    hear(s, kept, "hello");
    forget(kept);
    say(s, streaming, "GET /stream HTTP/1.1\r\nHost: x\r\n\r\n");
    AWAIT(s, streaming->fd, s->n_held == 1);

    http_drain(s->http);
    CHECK(connect_to(http_port(s->http)) < 0);
    CHECK(http_requests(s->http) == 1);
    say(s, kept, "GET /now HTTP/1.1\r\nHost: x\r\n\r\n");
    hear_end(s, kept);
    CHECK(strstr(kept->got, "hello") && strstr(kept->got, "Connection: close\r\n"));

    http_stream_write(s->held[0], "data: a\n\n", 9);
    http_stream_end(s->held[0]);
    hear(s, streaming, "data: a\n\n\r\n0\r\n\r\n");
    AWAIT(s, -1, http_requests(s->http) == 0);
    client_close(kept);
    client_close(streaming);
    site_close(s);
}

TEST(http_closes_with_answers_just_given_to_suspended_requests)
{
    site *s = site_open();
    client *c[4];

    for (int i = 0; i < 4; i++) {
        c[i] = client_open(s);
        say(s, c[i],
            i < 2 ? "GET /hold HTTP/1.1\r\nHost: x\r\n\r\n"
                  : "GET /stream HTTP/1.1\r\nHost: x\r\n\r\nGET /hold HTTP/1.1\r\nHost: "
                    "x\r\n\r\n");
        AWAIT(s, c[i]->fd, s->n_held == i + 1);
    }
    for (int i = 0; i < 2; i++) http_answer(s->held[i], 200, "text/plain", strdup("last"), 4);
    for (int i = 2; i < 4; i++) {
        http_stream_write(s->held[i], "data: last\n\n", 12);
        http_stream_end(s->held[i]);
    }
    http_close(s->http);
    uv_run(&s->loop, UV_RUN_DEFAULT);
    CHECK(uv_loop_close(&s->loop) == 0);
    for (int i = 0; i < 4; i++) {
        while (!c[i]->closed) listen_once(c[i]);
        CHECK(strstr(c[i]->got, "last"));
        client_close(c[i]);
    }
    CHECK(s->n_gone == 0 && s->n_held == 4); /* what was pipelined is not begun */
    free(s);
}

/* --- many at once: an engine on other threads, clients on others again --- */

enum { STREAMS = 100, TOKENS = 30, CLIENT_THREADS = 4 };

typedef struct feed {
    job job; /* one token */
    site *site;
    http_request *request;
    int sent;
} feed;

static err make_token(job *j)
{
    (void)j;
    return ERR_OK;
}

static void token_made(job *j, err e)
{
    feed *f = (feed *)j;
    char event[32];

    (void)e;
    snprintf(event, sizeof event, "data: %d\n\n", f->sent++);
    http_stream_write(f->request, event, strlen(event));
    if (f->sent < TOKENS && !atomic_load(&j->cancel)) {
        CHECK(workers_submit(f->site->workers, j) == ERR_OK);
        return;
    }
    http_stream_end(f->request);
    free(f);
}

static void stop_feeding(http_request *r)
{
    feed *f = http_user(r);

    f->site->n_gone++;
    atomic_store(&f->job.cancel, true);
}

static void run_tokens(site *s, http_request *r)
{
    feed *f = calloc(1, sizeof *f);

    *f = (feed){.job = {.work = make_token, .done = token_made}, .site = s, .request = r};
    http_hold(r, stop_feeding, f);
    http_stream_begin(r, 200, "text/event-stream");
    CHECK(workers_submit(s->workers, &f->job) == ERR_OK);
}

typedef struct crowd {
    unsigned port, seed;
    int complete, left_early, wrong;
    atomic_int *finished;
} crowd;

/* Read a whole stream, or leave somewhere within it. Returns false if what came is wrong. */
static bool take_stream(int fd, size_t leave_after, bool *left)
{
    char got[8192], want[32];
    size_t n = 0;
    const char *at = got;

    while (n < sizeof got - 1) {
        const ssize_t more = recv(fd, got + n, sizeof got - 1 - n, 0);

        if (more <= 0) return false;
        n += (size_t)more;
        got[n] = '\0';
        *left = n >= leave_after;
        if (*left) return true;
        if (strstr(got, "\r\n0\r\n\r\n")) break;
    }
    for (int i = 0; i < TOKENS; i++) {
        snprintf(want, sizeof want, "data: %d\n\n", i);
        at = strstr(at, want);
        if (!at) return false;
    }
    return true;
}

static void visit(crowd *w, int i)
{
    static const char request[] = "GET /tokens HTTP/1.1\r\nHost: x\r\n\r\n";
    const bool aborts = i % 3 == 0;
    const size_t leave_after = aborts ? (size_t)(rand_r(&w->seed) % 600) : SIZE_MAX;
    const struct linger reset = {.l_onoff = 1};
    bool left = false;
    const int fd = connect_to(w->port);

    if (fd < 0 || send(fd, request, sizeof request - 1, MSG_NOSIGNAL) < 0)
        w->wrong++;
    else if (leave_after && !take_stream(fd, leave_after, &left))
        w->wrong++;
    else if (left || !leave_after)
        w->left_early++;
    else
        w->complete++;
    if (i % 2) setsockopt(fd, SOL_SOCKET, SO_LINGER, &reset, sizeof reset);
    if (fd >= 0) close(fd);
}

static void *visit_often(void *arg)
{
    crowd *w = arg;

    for (int i = 0; i < STREAMS; i++) visit(w, i);
    atomic_fetch_add(w->finished, 1);
    return NULL;
}

TEST(http_serves_hundreds_of_streams_from_other_threads_while_clients_come_and_go)
{
    site *s = site_open();
    pthread_t threads[CLIENT_THREADS];
    crowd crowds[CLIENT_THREADS];
    atomic_int done = 0;

    CHECK(workers_open(&s->workers, &s->loop, 2, STREAMS * CLIENT_THREADS) == ERR_OK);
    for (int i = 0; i < CLIENT_THREADS; i++) {
        crowds[i] = (crowd){
            .port = http_port(s->http), .seed = (unsigned)i + 1, .finished = &done};
        CHECK(pthread_create(&threads[i], NULL, visit_often, &crowds[i]) == 0);
    }
    AWAIT(s, -1, atomic_load(&done) == CLIENT_THREADS);
    for (int i = 0; i < CLIENT_THREADS; i++) {
        pthread_join(threads[i], NULL);
        CHECK(crowds[i].wrong == 0);
        CHECK(crowds[i].complete >= STREAMS / 2 && crowds[i].left_early > 0);
    }
    AWAIT(s, -1, http_connections(s->http) == 0);
    CHECK(http_requests(s->http) == 0);
    workers_close(s->workers);
    site_close(s);
}

TEST(http_serves_a_hundred_streams_at_the_same_time)
{
    site *s = site_open();
    client *c[STREAMS];

    CHECK(workers_open(&s->workers, &s->loop, 2, STREAMS) == ERR_OK);
    for (int i = 0; i < STREAMS; i++) c[i] = client_open(s);
    for (int i = 0; i < STREAMS; i++) say(s, c[i], "GET /tokens HTTP/1.1\r\nHost: x\r\n\r\n");
    for (int i = 0; i < STREAMS; i += 5) leave(c[i], (i / 5) % 3);
    for (int i = 0; i < STREAMS; i++)
        if (i % 5) hear(s, c[i], "data: 29\n\n\r\n0\r\n\r\n");
    for (int i = 0; i < STREAMS; i++) client_close(c[i]);
    AWAIT(s, -1, http_connections(s->http) == 0);
    workers_close(s->workers);
    site_close(s);
}
