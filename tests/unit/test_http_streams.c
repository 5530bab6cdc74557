/* test_http_streams.c - event streams of http, and clients that leave. */
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/site.h"

/* --- streams --- */

TEST(http_streams_headers_first_and_bytes_in_order)
{
    site *s = site_open();
    client *c = client_open(s);

    client_say(c, "POST /stream HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\n{}");
    client_hear(c, "\r\n\r\n");
    CHECK(strstr(c->got, "Content-Type: text/event-stream\r\n"));
    CHECK(strstr(c->got, "Cache-Control: no-cache\r\n"));
    CHECK(strstr(c->got, "X-Accel-Buffering: no\r\n"));
    CHECK(strstr(c->got, "Transfer-Encoding: chunked\r\n"));
    for (int i = 0; i < 5; i++) {
        char event[32];

        snprintf(event, sizeof event, "data: %d\n\n", i);
        CHECK(site_write(s, 0, event) == ERR_OK);
        client_hear(c, event); /* it comes before the next one is written */
    }
    site_write(s, 0, "data: [DONE]\n\n");
    http_stream_end(s->held[0]);
    client_hear(c, "data: [DONE]\n\n\r\n0\r\n\r\n");
    client_forget(c);
    client_say(c, SITE_GET("/now")); /* the connection lives on */
    client_hear(c, "hello");
    CHECK(s->n_gone == 0);
    client_close(c);
    site_close(s);
}

TEST(http_ends_a_stream_to_an_old_client_by_closing)
{
    site *s = site_open();
    client *c = client_hold(s, "GET /stream HTTP/1.0\r\n\r\n");

    site_write(s, 0, "data: a\n\n");
    http_stream_end(s->held[0]);
    client_hear_end(c);
    CHECK(strstr(c->got, "\r\n\r\ndata: a\n\n") && !strstr(c->got, "chunked"));
    client_close(c);
    site_close(s);
}

TEST(http_sleeps_while_a_stream_and_a_held_request_wait)
{
    site *s = site_open();
    client *streaming = client_hold(s, SITE_GET("/stream"));
    client *holding = client_hold(s, SITE_GET("/hold"));
    struct pollfd p = {.fd = uv_backend_fd(&s->loop), .events = POLLIN};

    client_hear(streaming, "\r\n\r\n");
    for (int i = 0; i < 5; i++) uv_run(&s->loop, UV_RUN_NOWAIT);
    CHECK(uv_backend_timeout(&s->loop) != 0);
    CHECK(poll(&p, 1, 0) == 0);
    http_stream_end(s->held[0]);
    http_answer(s->held[1], 200, NULL, NULL, 0);
    client_close(streaming);
    client_close(holding);
    site_close(s);
}

static bool got_more(client *c)
{
    client_listen(c);
    return c->n || c->closed;
}

TEST(http_counts_what_a_slow_reader_has_not_taken)
{
    enum { PIECE = 65536, PIECES = 128 };
    site *s = site_open();
    client *c = client_hold(s, "GET /stream HTTP/1.0\r\n\r\n");
    char *piece = malloc(PIECE);
    size_t total = 0;

    memset(piece, 'x', PIECE);
    for (int i = 0; i < PIECES; i++) {
        CHECK(http_stream_write(s->held[0], piece, PIECE) == ERR_OK);
        site_turn(s, -1);
    }
    CHECK(http_stream_backlog(s->held[0]) > PIECE);
    http_stream_end(s->held[0]);
    client_hear(c, "\r\n\r\n");
    total = c->n - (size_t)(strstr(c->got, "\r\n\r\n") + 4 - c->got);
    while (!c->closed) {
        client_forget(c);
        SITE_AWAIT(s, c->fd, got_more(c));
        total += c->n;
    }
    CHECK(total == (size_t)PIECE * PIECES);
    free(piece);
    client_close(c);
    site_close(s);
}

static int count(const char *text, const char *word)
{
    int n = 0;

    for (const char *at = text; (at = strstr(at, word)); at++) n++;
    return n;
}

TEST(http_keeps_a_silent_event_stream_alive_with_comments)
{
    site *s = site_open();
    client *c = client_hold(s, SITE_GET("/stream"));

    client_hear(c, "\r\n\r\n");
    site_tick(s, 5); /* too early */
    site_write(s, 0, "data: a\n\n");
    client_hear(c, "data: a\n\n");
    CHECK(!strstr(c->got, "ping"));
    site_tick(s, 11);
    client_hear(c, ": ping\n\n");
    http_stream_end(s->held[0]);
    client_hear(c, "\r\n0\r\n\r\n");
    CHECK(count(c->got, ": ping\n\n") == 1);
    client_close(c);
    site_close(s);
}

/* --- clients that leave --- */

static void check_leaving(const char *request, bool stream, client_exit how)
{
    site *s = site_open();
    client *c = client_hold(s, request);

    if (stream) client_hear(c, "\r\n\r\n");
    site_turn(s, -1);
    CHECK(s->n_gone == 0);
    client_leave(c, how);
    SITE_AWAIT(s, -1, s->n_gone == 1);
    SITE_AWAIT(s, -1, http_connections(s->http) == 0);
    CHECK(http_requests(s->http) == 0);
    if (stream) { /* the handler hears of it late, and lets go later */
        CHECK(site_write(s, 0, "data: a\n\n") == ERR_CANCELED);
        http_stream_end(s->held[0]);
    } else {
        site_answer(s, 0, "late");
    }
    CHECK(s->n_gone == 1 && s->n_finished == 1);
    CHECK(s->last_status == (stream ? 200 : 0));
    client_close(c);
    site_close(s);
}

TEST(http_tells_a_handler_that_its_client_hung_up_while_it_waits)
{
    for (int how = 0; how < CLIENT_EXITS; how++) check_leaving(SITE_GET("/hold"), false, how);
}

TEST(http_tells_a_handler_that_its_client_hung_up_while_it_streams)
{
    for (int how = 0; how < CLIENT_EXITS; how++) check_leaving(SITE_GET("/stream"), true, how);
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
    client *c = client_hold(s, SITE_GET("/hold"));

    http_hold(s->held[0], let_go_at_once, s);
    client_leave(c, CLIENT_CLOSES);
    SITE_AWAIT(s, -1, http_connections(s->http) == 0);
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
        for (int how = 0; how < CLIENT_EXITS; how++) {
            site *s = site_open();
            client *c = client_open(s);

            client_say(c, parts[i]);
            SITE_AWAIT(s, -1, http_connections(s->http) == 1);
            client_leave(c, how);
            SITE_AWAIT(s, -1, http_connections(s->http) == 0);
            CHECK(s->n_dispatched == 0);
            client_close(c);
            site_close(s);
        }
    }
}

TEST(http_closes_with_a_stream_its_client_left_blocked)
{
    site *s = site_open();
    client *c = client_hold(s, SITE_GET("/stream"));
    char *piece = calloc(1, 1 << 23);

    http_stream_write(s->held[0], piece, 1 << 23);
    site_turn(s, -1);
    http_stream_end(s->held[0]);
    site_close(s);
    free(piece);
    client_close(c);
}
