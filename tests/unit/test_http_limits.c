/* test_http_limits.c - deadlines and limits of http, its address, and how it ends. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/site.h"

/* --- deadlines --- */

TEST(http_gives_up_on_a_request_that_is_not_complete_in_time)
{
    site *s = site_open();
    client *c = client_announce(s);

    client_say(c, "a");
    site_tick(s, SITE_READ_S - 1);
    client_say(c, "b"); /* activity does not help */
    site_tick(s, SITE_READ_S + 1);
    client_hear_end(c);
    CHECK(strstr(c->got, "HTTP/1.1 408 "));
    CHECK(strstr(c->got, "\r\n\r\n{\"error\":{"));
    SITE_AWAIT(s, -1, http_connections(s->http) == 0);
    CHECK(s->n_dispatched == 0);
    client_close(c);
    site_close(s);
}

TEST(http_closes_a_connection_that_never_begins)
{
    site *s = site_open();
    client *c = client_open(s);

    SITE_AWAIT(s, -1, http_connections(s->http) == 1);
    site_tick(s, SITE_READ_S + 1);
    client_hear_end(c);
    CHECK(c->n == 0);
    client_close(c);
    site_close(s);
}

TEST(http_answers_504_for_a_handler_that_takes_too_long)
{
    site *s = site_open();
    client *c = client_hold(s, SITE_GET("/hold"));

    site_tick(s, SITE_REQUEST_S - 1);
    CHECK(s->n_gone == 0);
    site_tick(s, SITE_REQUEST_S + 1);
    CHECK(s->n_gone == 1 && http_is_gone(s->held[0]));
    client_hear(c, "x-should-retry: false\r\n");
    client_hear(c, "{\"error\":{");
    site_answer(s, 0, "late");
    client_forget(c);
    client_say(c, SITE_GET("/now"));
    client_hear(c, "hello");
    CHECK(!strstr(c->got, "late"));
    client_close(c);
    site_close(s);
}

TEST(http_ends_a_stream_that_takes_too_long_with_an_error_event)
{
    site *s = site_open();
    client *c = client_hold(s, SITE_GET("/stream"));

    site_write(s, 0, "data: a\n\n");
    site_tick(s, SITE_REQUEST_S + 1);
    CHECK(site_write(s, 0, "data: b\n\n") == ERR_CANCELED);
    client_hear(c, "data: {\"error\":{");
    client_hear(c, "\r\n0\r\n\r\n");
    CHECK(!strstr(c->got, "data: b"));
    CHECK(s->n_gone == 1);
    http_stream_end(s->held[0]);
    client_close(c);
    site_close(s);
}

/* --- sizes --- */

/* A text of n letters; the caller frees. */
static char *repeat(char letter, size_t n)
{
    char *text = malloc(n + 1);

    CHECK(text);
    memset(text, letter, n);
    text[n] = '\0';
    return text;
}

TEST(http_refuses_a_body_over_the_limit_before_it_is_sent)
{
    site *s = site_open();
    client *c = client_ask(s,
                           "POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 100001\r\n\r\n");

    CHECK(strstr(c->got, "HTTP/1.1 413 ") && strstr(c->got, "\"request_too_large\""));
    CHECK(s->n_dispatched == 0);
    client_close(c);
    c = client_ask(s, "POST /echo HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\n"
                      "Content-Length: 99999999999999999999\r\n\r\n");
    CHECK(strstr(c->got, " 413 ") && !strstr(c->got, "100 Continue"));
    client_close(c);
    site_check_serves(s);
    site_close(s);
}

TEST(http_refuses_a_chunked_body_once_it_is_over_the_limit)
{
    site *s = site_open();
    client *c = client_open(s);
    char *data = repeat('x', 50000), *chunk = malloc(50000 + 16);

    CHECK(chunk);
    snprintf(chunk, 50000 + 16, "%x\r\n%s\r\n", 50000u, data);
    client_say(c, "POST /echo HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n");
    for (int i = 0; i < 4; i++) client_say(c, chunk);
    client_say(c, "0\r\n\r\n");
    client_hear_end(c);
    CHECK(strstr(c->got, "HTTP/1.1 413 ") && s->n_dispatched == 0);
    free(chunk);
    free(data);
    client_close(c);
    site_close(s);
}

TEST(http_takes_a_body_of_exactly_the_limit)
{
    site *s = site_open();
    client *c = client_open(s);
    char *body = repeat('y', SITE_BODY_LIMIT);
    size_t n;

    client_say(c, "POST /hold HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: "
                  "100000\r\n\r\n");
    client_say(c, body);
    SITE_AWAIT(s, c->fd, s->n_held == 1);
    CHECK(strlen(http_body(s->held[0], &n)) == SITE_BODY_LIMIT && n == SITE_BODY_LIMIT);
    http_answer(s->held[0], 200, NULL, NULL, 0);
    client_hear_end(c);
    CHECK(strstr(c->got, " 200 "));
    free(body);
    client_close(c);
    site_close(s);
}

TEST(http_refuses_a_url_larger_than_its_memory)
{
    site *s = site_open();
    client *c = client_open(s);
    char *url = repeat('a', 70000);

    client_say(c, "GET /");
    client_say(c, url);
    client_say(c, " HTTP/1.1\r\nHost: x\r\n\r\n");
    client_hear_end(c);
    CHECK(c->n == 0 || strncmp(c->got, "HTTP/1.1 414 ", 13) == 0);
    CHECK(s->n_dispatched == 0);
    site_check_serves(s);
    free(url);
    client_close(c);
    site_close(s);
}

/* --- listening, draining --- */

static void never_asked(http_request *r)
{
    (void)r;
    CHECK(false);
}

TEST(http_says_that_an_address_is_in_use)
{
    site *s = site_open();
    char address[32];
    http *second = NULL;
    const http_options o = {.listen = address, .connections = 4, .dispatch = never_asked};

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
        const http_options o = {.listen = wrong[i], .connections = 4, .dispatch = never_asked};

        CHECK(http_open(&none, &s->loop, &o) == ERR_ADDRESS && !none);
    }
    site_close(s);
}

TEST(http_finishes_what_runs_and_closes_connections_while_draining)
{
    site *s = site_open();
    client *kept = client_open(s);
    client *streaming = client_hold(s, SITE_GET("/stream"));

    client_say(kept, SITE_GET("/now"));
    client_hear(kept, "hello");
    client_forget(kept);

    http_drain(s->http);
    CHECK(client_connect(http_port(s->http)) < 0);
    CHECK(http_requests(s->http) == 1);
    client_say(kept, SITE_GET("/now"));
    client_hear_end(kept);
    CHECK(strstr(kept->got, "hello") && strstr(kept->got, "Connection: close\r\n"));

    site_write(s, 0, "data: a\n\n");
    http_stream_end(s->held[0]);
    client_hear(streaming, "data: a\n\n\r\n0\r\n\r\n");
    SITE_AWAIT(s, -1, http_requests(s->http) == 0);
    client_close(kept);
    client_close(streaming);
    site_close(s);
}

TEST(http_closes_with_answers_just_given_to_suspended_requests)
{
    site *s = site_open();
    client *c[4];

    for (int i = 0; i < 4; i++)
        c[i] = client_hold(s,
                           i < 2 ? SITE_GET("/hold") : SITE_GET("/stream") SITE_GET("/hold"));
    for (int i = 0; i < 2; i++) site_answer(s, i, "last");
    for (int i = 2; i < 4; i++) {
        site_write(s, i, "data: last\n\n");
        http_stream_end(s->held[i]);
    }
    site_shut(s);
    for (int i = 0; i < 4; i++) {
        while (!c[i]->closed) client_listen(c[i]);
        CHECK(strstr(c[i]->got, "last"));
        client_close(c[i]);
    }
    CHECK(s->n_gone == 0 && s->n_held == 4); /* what was pipelined is not begun */
    free(s);
}
