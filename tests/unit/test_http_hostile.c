/* test_http_hostile.c - one client who means harm, or many who are in the way: the others are
 * served all the same. */
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>

#include <cjson/cJSON.h>

#include "tests/site.h"

enum { OTHER_ADDRESS = 0x7f000002 };

/* --- requests without end --- */

typedef struct flood {
    pthread_t thread;
    int fd;
    atomic_bool over;
} flood;

/* Send requests as fast as the server takes them, and drop its answers. */
static void *send_without_end(void *arg)
{
    static char requests[100 * sizeof(SITE_GET("/livez"))];
    flood *f = arg;
    char dropped[65536];
    size_t n = 0;

    for (int i = 0; i < 100; i++) n += (size_t)sprintf(requests + n, SITE_GET("/livez"));
    while (!atomic_load(&f->over)) {
        struct pollfd p = {.fd = f->fd, .events = POLLIN | POLLOUT};

        poll(&p, 1, 10);
        if (p.revents & POLLIN) (void)!recv(f->fd, dropped, sizeof dropped, MSG_DONTWAIT);
        /* whole requests only: what does not fit blocks until the server takes it */
        if (p.revents & POLLOUT) (void)!send(f->fd, requests, n, MSG_DONTWAIT | MSG_NOSIGNAL);
    }
    return NULL;
}

static void flood_begin(flood *f, site *s)
{
    atomic_init(&f->over, false);
    f->fd = client_connect(http_port(s->http));
    CHECK(f->fd >= 0 && pthread_create(&f->thread, NULL, send_without_end, f) == 0);
}

static void flood_end(flood *f)
{
    atomic_store(&f->over, true);
    pthread_join(f->thread, NULL);
    client_hang_up(f->fd, true);
}

static void count_timer(uv_timer_t *t)
{
    ++*(int *)t->data;
}

TEST(http_serves_others_and_keeps_time_while_one_client_pipelines_without_end)
{
    site *s = site_open();
    flood f;
    uv_timer_t timer;
    int fired = 0;

    uv_timer_init(&s->loop, &timer);
    timer.data = &fired;
    flood_begin(&f, s);
    SITE_AWAIT(s, -1, s->n_dispatched > 200);
    uv_timer_start(&timer, count_timer, 1, 1);
    for (int i = 0; i < 20; i++) site_check_serves(s);
    SITE_AWAIT(s, -1, fired > 20);
    flood_end(&f);
    uv_close((uv_handle_t *)&timer, NULL);
    site_close(s);
}

/* --- uploads that come to nothing --- */

static void check_chunk_line(const char *begin, char letter)
{
    enum { LETTERS = 70000 };
    site *s = site_open();
    client *c = client_open(s), *slow = client_open(s);
    char *line = malloc(LETTERS);

    CHECK(line);
    memset(line, letter, LETTERS);
    client_say(slow,
               "POST /echo HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n3\r\na");
    client_say(c, "POST /echo HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n");
    client_say(c, begin);
    client_say_bytes(c, line, LETTERS);
    client_hear_end(c);
    CHECK(strncmp(c->got, "HTTP/1.1 400 ", 13) == 0 ||
          strncmp(c->got, "HTTP/1.1 413 ", 13) == 0);
    CHECK(strstr(c->got, "\"error\""));
    client_say(slow, "bc\r\n0\r\n\r\n"); /* who only takes his time is served */
    client_hear(slow, "abc");
    site_check_serves(s);
    SITE_AWAIT(s, -1, http_connections(s->http) == 1);
    CHECK(s->n_dispatched == 2);
    free(line);
    client_close(slow);
    client_close(c);
    site_close(s);
}

TEST(http_refuses_a_chunk_with_an_endless_extension)
{
    check_chunk_line("1e;", 'x');
}

TEST(http_refuses_a_chunk_size_of_endless_zeros)
{
    check_chunk_line("", '0');
}

TEST(http_refuses_a_chunk_whose_endless_line_began_after_good_ones)
{
    check_chunk_line("3\r\nabc\r\n3;", 'y');
}

/* Its last answers go out first, so it turns the library while that has something to do; what
 * comes to nothing always has. */
TEST(http_closes_at_once_while_uploads_come_to_nothing)
{
    enum { UPLOADS = 8, LETTERS = 70000, MOST_MS = 500 };
    static char line[LETTERS];
    site *s = site_open();
    client *c[UPLOADS];
    clock_t start;

    memset(line, '0', LETTERS);
    for (int i = 0; i < UPLOADS; i++) {
        c[i] = client_open(s);
        client_say(c[i],
                   "POST /echo HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n");
    }
    for (int i = 0; i < UPLOADS; i++) (void)!send(c[i]->fd, line, LETTERS, MSG_DONTWAIT);
    start = clock();
    site_close(s);
    CHECK((clock() - start) / (CLOCKS_PER_SEC / 1000) < MOST_MS);
    for (int i = 0; i < UPLOADS; i++) client_close(c[i]);
}

/* --- as many connections as there may be --- */

static void fill_and_leave(unsigned limit)
{
    site *s = site_open_with((http_options){.connections = limit});
    client *c[64];

    for (unsigned i = 0; i < limit; i++)
        c[i] = client_open_from(s, i % 2 ? OTHER_ADDRESS : 0x7f000001);
    SITE_AWAIT(s, -1, http_connections(s->http) == limit);
    for (unsigned i = 0; i < limit; i++) client_close(c[i]);
    for (int i = 0; i < 5; i++) site_check_serves(s);
    SITE_AWAIT(s, -1, http_connections(s->http) == 0);
    site_close(s);
}

TEST(http_accepts_again_after_all_connections_were_taken_from_two_addresses)
{
    fill_and_leave(64);
    fill_and_leave(2);
    fill_and_leave(1);
}

TEST(http_closes_the_longest_idle_connection_for_a_new_one)
{
    enum { LIMIT = 4 };
    site *s = site_open_with((http_options){.connections = LIMIT});
    client *c[LIMIT];

    for (int i = 0; i < LIMIT; i++) c[i] = client_open_from(s, 0x7f000001 + (uint32_t)i);
    SITE_AWAIT(s, -1, http_connections(s->http) == LIMIT);
    client_say(c[0], SITE_GET("/now")); /* now the second one has been idle for longest */
    client_hear(c[0], "hello");
    site_check_serves(s);
    client_hear_end(c[1]);
    client_forget(c[0]);
    client_say(c[0], SITE_GET("/now"));
    client_hear(c[0], "hello");
    for (int i = 0; i < LIMIT; i++) client_close(c[i]);
    site_close(s);
}

TEST(http_answers_503_where_every_connection_is_busy)
{
    site *s = site_open_with((http_options){.connections = 2});
    client *a = client_hold(s, SITE_GET("/hold")), *b = client_hold(s, SITE_GET("/hold"));
    client *c = client_ask(s, SITE_GET("/now"));

    CHECK(strncmp(c->got, "HTTP/1.1 503 ", 13) == 0 && strstr(c->got, "Retry-After: 1\r\n"));
    CHECK(strstr(c->got, "\"server_is_overloaded\"") && http_refused(s->http) == 1);
    site_answer(s, 0, "a");
    site_answer(s, 1, "b");
    client_hear(a, "\r\n\r\na");
    client_hear(b, "\r\n\r\nb");
    site_check_serves(s);
    client_close(a);
    client_close(b);
    client_close(c);
    site_close(s);
}

/* 16 connections, 14 of them for one address. */
static void hold_a_share(site *s, client *c[14])
{
    for (int i = 0; i < 8; i++) c[i] = client_hold(s, SITE_GET("/hold"));
    for (int i = 8; i < 14; i++) c[i] = client_open(s);
    SITE_AWAIT(s, -1, http_connections(s->http) == 14);
}

static void let_go(site *s, client *c[14])
{
    for (int i = 0; i < 8; i++) site_answer(s, i, "done");
    for (int i = 0; i < 14; i++) client_close(c[i]);
    site_close(s);
}

TEST(http_keeps_room_for_others_when_one_address_has_its_share)
{
    site *s = site_open_with((http_options){.connections = 16});
    client *c[14], *other;

    hold_a_share(s, c);
    site_check_serves(s); /* in the place of the address's own idle one */
    client_hear_end(c[8]);
    other = client_open_from(s, OTHER_ADDRESS);
    client_say(other, SITE_GET("/now"));
    client_hear(other, "hello");
    client_close(other);
    let_go(s, c);
}

TEST(http_lets_a_trusted_proxy_have_every_connection)
{
    peer_set proxies;
    site *s;
    client *c[14], *more[2];

    CHECK(!peer_set_parse(&proxies, "127.0.0.1"));
    s = site_open_with((http_options){.connections = 16, .trusted_proxies = &proxies});
    hold_a_share(s, c);
    for (int i = 0; i < 2; i++) more[i] = client_open(s);
    SITE_AWAIT(s, -1, http_connections(s->http) == 16);
    client_say(c[8], SITE_GET("/now"));
    client_hear(c[8], "hello");
    for (int i = 0; i < 2; i++) client_close(more[i]);
    let_go(s, c);
}

/* --- answers that arrive --- */

TEST(http_lets_a_client_read_its_413_that_sends_all_of_its_body_first)
{
    enum { BODY = 4 << 20 };
    site *s = site_open();
    client *c = client_open(s);
    char *body = calloc(1, BODY);

    CHECK(body);
    client_say(c, "POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 4194304\r\n\r\n");
    client_say_bytes(c, body, BODY);
    client_hear_end(c);
    CHECK(strncmp(c->got, "HTTP/1.1 413 ", 13) == 0 && strstr(c->got, "request_too_large"));
    free(body);
    client_close(c);
    site_close(s);
}

/* The client reads nothing before it has sent all, and no write may fail it. */
static void check_hears_after_sending(site *s, client *c, const char *status)
{
    enum { REST = 16 << 20 }; /* more than both sockets hold */
    char *rest = malloc(REST);

    CHECK(rest);
    memset(rest, '0', REST);
    CHECK(client_say_bytes(c, rest, REST));
    client_hear_end(c);
    CHECK(strncmp(c->got, status, strlen(status)) == 0 && strstr(c->got, "\"error\""));
    CHECK(s->n_dispatched == 0);
    free(rest);
    client_close(c);
    SITE_AWAIT(s, -1, http_connections(s->http) == 0);
    site_close(s);
}

TEST(http_lets_a_client_read_its_400_that_sends_a_chunk_line_without_end)
{
    site *s = site_open();
    client *c = client_open(s);

    client_say(c, "POST /echo HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n");
    client_say(c, "1\r\n{\r\n1;");
    check_hears_after_sending(s, c, "HTTP/1.1 400 ");
}

TEST(http_lets_a_client_read_its_408_that_sends_on)
{
    site *s = site_open();
    client *c = client_open(s);

    client_say(c, "POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 90000\r\n\r\n0");
    site_turn(s, -1);
    site_tick(s, SITE_READ_S + 1);
    check_hears_after_sending(s, c, "HTTP/1.1 408 ");
}

/* What is wrong with each never reaches a handler, nor any code of ours. */
static const char *const not_http[] = {
    "GET /now HTTP/9.9\r\nHost: x\r\n\r\n",
    "POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: abc\r\n\r\n",
    "POST /echo HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
    "GET /now HTTP/1.1\r\nHost: x\r\nno colon\r\n\r\n",
};

TEST(http_says_in_json_what_is_no_http)
{
    site *s = site_open();

    for (size_t i = 0; i < sizeof not_http / sizeof *not_http; i++) {
        client *c = client_ask(s, not_http[i]);
        const char *body = strstr(c->got, "\r\n\r\n{");
        cJSON *json = body ? cJSON_Parse(body + 4) : NULL;

        if (!json) fprintf(stderr, "%s: %s\n", not_http[i], c->got);
        CHECK(json && cJSON_HasObjectItem(json, "error"));
        CHECK(strstr(c->got, "Content-Type: application/json\r\n"));
        cJSON_Delete(json);
        client_close(c);
    }
    site_close(s);
}

TEST(http_says_431_in_json_when_headers_are_larger_than_their_memory)
{
    site *s = site_open();
    client *c = client_open(s);
    char header[1024];

    memset(header, 'a', sizeof header);
    memcpy(header + sizeof header - 3, "\r\n", 3);
    memcpy(header, "X: ", 3);
    client_say(c, "GET /now HTTP/1.1\r\nHost: x\r\n");
    for (int i = 0; i < 80; i++) client_say(c, header);
    client_say(c, "\r\n");
    client_hear_end(c);
    CHECK(strncmp(c->got, "HTTP/1.1 431 ", 13) == 0 && strstr(c->got, "\r\n\r\n{\"error\""));
    CHECK(s->n_dispatched == 0);
    client_close(c);
    site_close(s);
}

TEST(http_does_not_promise_to_keep_what_it_closes)
{
    site *s = site_open();
    client *c = client_ask(s, "GET /now HTTP/1.1\r\nHost: x\r\nConnection: TE, Close\r\n\r\n");

    CHECK(strstr(c->got, "hello") && strstr(c->got, "Connection: close\r\n"));
    CHECK(!strstr(c->got, "Keep-Alive"));
    client_close(c);
    site_close(s);
}
