/* test_http.c - requests and answers of http, and requests that are malformed. */
#include <stdio.h>
#include <string.h>

#include "tests/site.h"

/* --- answers --- */

TEST(http_keeps_a_connection_and_says_for_how_long)
{
    site *s = site_open();
    client *c = client_open(s);

    for (int i = 0; i < 3; i++) {
        client_say(c, SITE_GET("/now"));
        client_hear(c, "hello");
        CHECK(strstr(c->got, "HTTP/1.1 200 OK\r\n"));
        CHECK(strstr(c->got, "Keep-Alive: timeout=120\r\n"));
        CHECK(strstr(c->got, "x-test: yes\r\n"));
        CHECK(strstr(c->got, "Content-Length: 5\r\n"));
        client_forget(c);
    }
    SITE_AWAIT(s, -1, s->n_finished == 3);
    CHECK(s->last_status == 200);
    CHECK(http_requests(s->http) == 0 && http_connections(s->http) == 1);
    client_close(c);
    SITE_AWAIT(s, -1, http_connections(s->http) == 0);
    site_close(s);
}

TEST(http_hands_over_a_body_whole_however_it_comes)
{
    site *s = site_open();
    client *c = client_open(s);

    client_say(c, "POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 6\r\n\r\nab");
    client_say(c, "cdef");
    client_hear(c, "\r\n\r\nabcdef");
    client_forget(c);
    client_say(c, "POST /echo HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
                  "3;a=b\r\nghi\r\n2\r\njk\r\n0\r\n\r\n");
    client_hear(c, "\r\n\r\nghijk");
    client_forget(c);
    client_say(c, "POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n");
    client_hear(c, "Content-Length: 0\r\n");
    client_close(c);
    site_close(s);
}

TEST(http_asks_for_a_body_that_waits_for_it)
{
    site *s = site_open();
    client *c = client_announce(s);

    client_say(c, "abc");
    client_hear(c, "\r\n\r\nabc");
    client_close(c);
    site_close(s);
}

TEST(http_answers_head_without_a_body)
{
    site *s = site_open();
    client *c = client_ask(s, "HEAD /now HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");

    CHECK(strstr(c->got, "Content-Length: 5\r\n"));
    CHECK(!strstr(c->got, "hello"));
    client_close(c);
    site_close(s);
}

TEST(http_names_every_request_and_keeps_a_sane_name)
{
    site *s = site_open();
    client *c = client_open(s);

    client_say(c, "GET /now HTTP/1.1\r\nHost: x\r\nX-Request-Id: bench-1:2.3_4\r\n\r\n");
    client_hear(c, "x-request-id: bench-1:2.3_4\r\n");
    client_hear(c, "hello");
    client_forget(c);
    client_say(c, "GET /now HTTP/1.1\r\nHost: x\r\nX-Request-Id: not <sane>\r\n\r\n");
    client_hear(c, "x-request-id: req_");
    CHECK(!strstr(c->got, "sane"));
    client_close(c);
    site_close(s);
}

TEST(http_answers_pipelined_requests_one_after_the_other)
{
    site *s = site_open();
    client *c = client_hold(s, SITE_GET("/hold") SITE_GET("/now") SITE_GET("/hold"));

    CHECK(s->n_dispatched == 1);
    site_answer(s, 0, "first");
    SITE_AWAIT(s, c->fd, s->n_held == 2);
    site_answer(s, 1, "third");
    client_hear(c, "third");
    CHECK(strstr(c->got, "first") < strstr(c->got, "hello"));
    CHECK(strstr(c->got, "hello") < strstr(c->got, "third"));
    CHECK(s->n_gone == 0);
    client_close(c);
    site_close(s);
}

/* --- malformed requests --- */

typedef struct odd_request {
    const char *name, *request;
    const char *status; /* NULL: any 4xx or 5xx, or a closed connection */
} odd_request;

#define SMUGGLED SITE_GET("/smuggled")

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
     " 400 "},
    {"bare CR", "GET /now HTTP/1.1\r\nHost: x\rA: b\r\nConnection: close\r\n\r\n", " 400 "},
    {"bare LF among others", "GET /now HTTP/1.1\r\nHost: x\nA: b\r\nB: c\r\n\r\n", " 400 "},
    {"chunk extension",
     "POST /echo HTTP/1.1\r\nHost: x\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n"
     "3;a=b\r\nabc\r\n0\r\n\r\n",
     " 200 "},
    {"unknown expectation",
     "GET /now HTTP/1.1\r\nHost: x\r\nExpect: foo\r\nConnection: close\r\n\r\n", " 200 "},
    {"absolute URI without a path",
     "GET http://h HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n", " 200 "},
    {"absolute URI", "GET http://h/now HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n",
     " 200 "},
    {"lower-case method", "get /now HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n", " 200 "},
    {"no version", "GET /now\r\n\r\n", NULL},
    {"HTTP/2 preface", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", NULL},
    {"not HTTP", "\x16\x03\x01\x02\x03 nonsense\r\n\r\n", NULL},
};

static void check_odd(site *s, const odd_request *o)
{
    client *c = client_ask(s, o->request);
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
        site_check_serves(s);
    }
    site_close(s);
}

TEST(http_refuses_a_nul_in_a_header)
{
    static const char request[] =
        "GET /now HTTP/1.1\r\nHost: x\r\nA: b\0c\r\nConnection: close\r\n\r\n";
    site *s = site_open();
    client *c = client_open(s);

    client_say_bytes(c, request, sizeof request - 1);
    client_hear_end(c);
    CHECK(strncmp(c->got, "HTTP/1.1 400 ", 13) == 0);
    site_check_serves(s);
    client_close(c);
    site_close(s);
}
