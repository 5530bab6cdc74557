/* site.c - a listener with stand-in routes, and clients that are raw sockets. */
#include "tests/site.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

/* --- handlers --- */

static void on_gone(http_request *r)
{
    site *s = http_server(r);

    CHECK(http_is_gone(r));
    s->n_gone++;
}

static void hold(site *s, http_request *r)
{
    CHECK(s->n_held < SITE_MAX_HELD);
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

static void dispatch_path(http_request *r)
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
    } else if (strcmp(path, "/echo") == 0) {
        echo(r);
    } else {
        if (strcmp(path, "/smuggled") == 0) s->n_smuggled++;
        http_add_header(r, "x-test", "yes");
        http_answer(r, 200, "text/plain", strdup("hello"), 5);
    }
}

static void count_finished(http_request *r)
{
    site *s = http_server(r);

    s->n_finished++;
    s->last_status = http_status(r);
}

/* --- the site --- */

static site *new_site(void)
{
    site *s = calloc(1, sizeof *s);

    CHECK(s && uv_loop_init(&s->loop) == 0);
    return s;
}

site *site_open_with(http_options o)
{
    site *s = new_site();

    if (!o.listen) o.listen = "127.0.0.1:0";
    if (!o.connections) o.connections = 400;
    if (!o.dispatch) {
        o.dispatch = dispatch_path;
        o.finished = count_finished;
        o.server = s;
    }
    o.max_body_bytes = SITE_BODY_LIMIT;
    o.idle_seconds = SITE_IDLE_S;
    o.read_seconds = SITE_READ_S;
    o.request_seconds = SITE_REQUEST_S;
    CHECK(http_open(&s->http, &s->loop, &o) == ERR_OK);
    return s;
}

site *site_open(void)
{
    return site_open_with((http_options){0});
}

site *site_open_for(void *server, void (*dispatch)(http_request *),
                    void (*finished)(http_request *))
{
    return site_open_with(
        (http_options){.server = server, .dispatch = dispatch, .finished = finished});
}

void site_shut(site *s)
{
    http_close(s->http);
    uv_run(&s->loop, UV_RUN_DEFAULT);
    CHECK(uv_loop_close(&s->loop) == 0);
}

void site_close(site *s)
{
    site_shut(s);
    free(s);
}

void site_turn(site *s, int fd)
{
    struct pollfd p[] = {{.fd = uv_backend_fd(&s->loop), .events = POLLIN},
                         {.fd = fd, .events = POLLIN}};

    uv_run(&s->loop, UV_RUN_NOWAIT);
    poll(p, 2, 2);
    uv_run(&s->loop, UV_RUN_NOWAIT);
}

void site_tick(site *s, unsigned seconds)
{
    http_tick(s->http, uv_hrtime() + seconds * (uint64_t)1000000000);
}

void site_answer(site *s, int i, const char *text)
{
    http_answer(s->held[i], 200, "text/plain", strdup(text), strlen(text));
}

err site_write(site *s, int i, const char *text)
{
    return http_stream_write(s->held[i], text, strlen(text));
}

void site_check_serves(site *s)
{
    client *c = client_ask(s, "GET /now HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");

    CHECK(strstr(c->got, " 200 ") && strstr(c->got, "hello"));
    client_close(c);
}

/* --- the client --- */

static struct sockaddr_in at(uint32_t address, unsigned port)
{
    return (struct sockaddr_in){.sin_family = AF_INET,
                                .sin_port = htons((uint16_t)port),
                                .sin_addr.s_addr = htonl(address)};
}

int client_connect(unsigned port)
{
    return client_connect_from(INADDR_LOOPBACK, port);
}

int client_connect_from(uint32_t address, unsigned port)
{
    const struct sockaddr_in from = at(address, 0), to = at(INADDR_LOOPBACK, port);
    const int fd = socket(AF_INET, SOCK_STREAM, 0);

    CHECK(bind(fd, (const struct sockaddr *)&from, sizeof from) == 0);
    if (connect(fd, (const struct sockaddr *)&to, sizeof to) == 0) return fd;
    close(fd);
    return -1;
}

void client_hang_up(int fd, bool hard)
{
    const struct linger reset = {.l_onoff = 1};

    if (hard) setsockopt(fd, SOL_SOCKET, SO_LINGER, &reset, sizeof reset);
    close(fd);
}

client *client_open(site *s)
{
    return client_open_from(s, INADDR_LOOPBACK);
}

client *client_open_from(site *s, uint32_t address)
{
    client *c = calloc(1, sizeof *c);

    CHECK(c);
    c->site = s;
    c->fd = client_connect_from(address, http_port(s->http));
    CHECK(c->fd >= 0);
    return c;
}

void client_close(client *c)
{
    if (c->fd >= 0) close(c->fd);
    free(c);
}

client *client_hold(site *s, const char *request)
{
    client *c = client_open(s);
    const int held = s->n_held + 1;

    client_say(c, request);
    SITE_AWAIT(s, c->fd, s->n_held == held);
    return c;
}

client *client_ask(site *s, const char *request)
{
    client *c = client_open(s);

    client_say(c, request);
    client_hear_end(c);
    return c;
}

client *client_announce(site *s)
{
    client *c = client_open(s);

    client_say(c, "POST /echo HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\n"
                  "Content-Length: 3\r\n\r\n");
    client_hear(c, "HTTP/1.1 100 Continue\r\n\r\n");
    return c;
}

bool client_say_bytes(client *c, const char *bytes, size_t n)
{
    while (n) {
        const ssize_t sent = send(c->fd, bytes, n, MSG_DONTWAIT | MSG_NOSIGNAL);

        if (sent < 0 && errno != EAGAIN) return false;
        if (sent > 0) {
            bytes += sent;
            n -= (size_t)sent;
        }
        site_turn(c->site, -1);
    }
    return true;
}

void client_say(client *c, const char *text)
{
    client_say_bytes(c, text, strlen(text));
}

void client_listen(client *c)
{
    const size_t room = CLIENT_BYTES - 1 - c->n;
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
    client_listen(c);
    return strstr(c->got, text) != NULL;
}

static bool heard_end(client *c)
{
    client_listen(c);
    return c->closed;
}

void client_hear(client *c, const char *text)
{
    SITE_AWAIT(c->site, c->fd, heard(c, text));
}

void client_hear_end(client *c)
{
    SITE_AWAIT(c->site, c->fd, heard_end(c));
}

void client_forget(client *c)
{
    c->n = 0;
    c->got[0] = '\0';
}

void client_leave(client *c, client_exit how)
{
    if (how == CLIENT_STOPS_SENDING) {
        shutdown(c->fd, SHUT_WR);
        return;
    }
    client_hang_up(c->fd, how == CLIENT_RESETS);
    c->fd = -1;
}
