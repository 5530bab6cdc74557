/* test_routes.c - every row of routes.def over a real listener. The handlers are stand-ins,
 * made from the same table, so the linker leaves the real ones in their library. */
#include <arpa/inet.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "server/routes.h"
#include "server/server.h"
#include "tests/test.h"

static void answer_row_path(http_request *r, const char *path)
{
    char *body = strdup(path);

    http_answer(r, 200, "text/plain", body, strlen(body));
}

#define ROUTE(method, path, handler, listeners, help) \
    void handler(http_request *r)                     \
    {                                                 \
        answer_row_path(r, path);                     \
    }
#include "server/routes.def"
#undef ROUTE

static char got[8192];
static char last_label[64];

static void remember_label(http_request *r)
{
    snprintf(last_label, sizeof last_label, "%s", http_route(r) ? http_route(r) : "none");
}

static int connect_to(unsigned port)
{
    struct sockaddr_in to = {.sin_family = AF_INET,
                             .sin_port = htons((uint16_t)port),
                             .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    const int fd = socket(AF_INET, SOCK_STREAM, 0);

    CHECK(connect(fd, (struct sockaddr *)&to, sizeof to) == 0);
    return fd;
}

static void read_to_end(uv_loop_t *loop, int fd)
{
    struct pollfd p[] = {{.fd = uv_backend_fd(loop), .events = POLLIN},
                         {.fd = fd, .events = POLLIN}};
    const uint64_t end_ns = uv_hrtime() + 20000000000u;
    size_t n = 0;
    ssize_t more = -1;

    while (more != 0 && uv_hrtime() < end_ns) {
        uv_run(loop, UV_RUN_NOWAIT);
        more = recv(fd, got + n, sizeof got - 1 - n, MSG_DONTWAIT);
        if (more > 0) n += (size_t)more;
        if (more < 0) poll(p, 2, 2);
    }
    got[n] = '\0';
    CHECK(more == 0);
}

/* One request to one listener; the answer is in `got`. s NULL: a server that is not asked. */
static void ask(void (*dispatch)(http_request *), server *s, const char *method,
                const char *path)
{
    uv_loop_t loop;
    http *h;
    http_options o = {.listen = "127.0.0.1:0",
                      .max_body_bytes = 1000,
                      .connections = 4,
                      .idle_seconds = 9,
                      .read_seconds = 9,
                      .server = s,
                      .dispatch = dispatch,
                      .finished = remember_label};
    char request[512];
    int fd;

    CHECK(uv_loop_init(&loop) == 0);
    CHECK(http_open(&h, &loop, &o) == ERR_OK);
    fd = connect_to(http_port(h));
    snprintf(request, sizeof request,
             "%s %s HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: 0\r\n\r\n",
             method, path);
    CHECK(send(fd, request, strlen(request), 0) == (ssize_t)strlen(request));
    read_to_end(&loop, fd);
    close(fd);
    http_close(h);
    uv_run(&loop, UV_RUN_DEFAULT);
    CHECK(uv_loop_close(&loop) == 0);
}

static bool status_is(int status)
{
    return strlen(got) > 12 && atoi(got + 9) == status;
}

static bool body_is(const char *text)
{
    const char *body = strstr(got, "\r\n\r\n");

    return body && strcmp(body + 4, text) == 0;
}

static void write_path(char out[128], const route *to, const char *id)
{
    const char *brace = strstr(to->path, "{id}");

    if (brace)
        snprintf(out, 128, "%.*s%s", (int)(brace - to->path), to->path, id);
    else
        snprintf(out, 128, "%s", to->path);
}

TEST(routes_lead_to_their_handlers_on_the_listeners_they_name)
{
    size_t n;
    const route *table = routes_table(&n);
    char path[128];

    for (size_t i = 0; i < n; i++) {
        write_path(path, &table[i], "org/name");
        ask(routes_dispatch_api, NULL, table[i].method, path);
        CHECK(status_is((table[i].listeners & ROUTES_API) ? 200 : 404));
        CHECK(body_is(table[i].path) && strcmp(last_label, table[i].path) == 0);
        ask(routes_dispatch_admin, NULL, table[i].method, path);
        CHECK(status_is((table[i].listeners & ROUTES_ADMIN) ? 200 : 404));
    }
}

TEST(routes_take_model_names_with_slashes_encoded_or_not)
{
    static const char *const names[] = {"org/name", "org%2Fname", "name.gguf", "a/b/c"};

    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        char path[128];

        snprintf(path, sizeof path, "/v1/models/%s", names[i]);
        ask(routes_dispatch_api, NULL, "GET", path);
        CHECK(status_is(200) && body_is("/v1/models/{id}"));
    }
}

TEST(routes_answer_404_for_what_only_looks_like_a_path)
{
    static const char *const wrong[] = {"/",
                                        "/v1",
                                        "/v1/",
                                        "/v1/chat/completions/",
                                        "/v1/v1/chat/completions",
                                        "/V1/models",
                                        "/v1/models/",
                                        "/v1/models%00/x",
                                        "/metricsx",
                                        "/../metrics",
                                        "//metrics"};

    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        const int status = strstr(wrong[i], "%00") ? 400 : 404;

        ask(routes_dispatch_api, NULL, "GET", wrong[i]);
        CHECK(status_is(status));
        CHECK(strstr(got, "Content-Type: application/json\r\n"));
        CHECK(strstr(got, "\"error\":{\"message\":"));
        CHECK(status == 400 || strstr(got, "\"code\":\"unknown_url\""));
    }
}

TEST(routes_answer_405_and_say_what_is_allowed)
{
    static const char *const post[] = {"GET", "HEAD", "PUT", "post"};
    static const char *const get[] = {"POST", "DELETE", "get"};

    for (size_t i = 0; i < sizeof post / sizeof *post; i++) {
        ask(routes_dispatch_api, NULL, post[i], "/v1/chat/completions");
        CHECK(status_is(405) && strstr(got, "Allow: POST, OPTIONS\r\n"));
    }
    for (size_t i = 0; i < sizeof get / sizeof *get; i++) {
        ask(routes_dispatch_api, NULL, get[i], "/v1/models");
        CHECK(status_is(405) && strstr(got, "Allow: GET, HEAD, OPTIONS\r\n"));
        CHECK(strcmp(last_label, "other") == 0);
    }
}

TEST(routes_answer_head_like_get_and_options_without_a_handler)
{
    ask(routes_dispatch_api, NULL, "HEAD", "/v1/models");
    CHECK(status_is(200) && body_is("") && strstr(got, "Content-Length: 10\r\n"));
    ask(routes_dispatch_api, NULL, "OPTIONS", "/v1/chat/completions");
    CHECK(status_is(204) && body_is("") && strstr(got, "Allow: POST, OPTIONS\r\n"));
    ask(routes_dispatch_api, NULL, "OPTIONS", "/nowhere");
    CHECK(status_is(404));
}

TEST(routes_refuse_new_work_while_the_server_drains)
{
    const metrics_info info = {.model_name = "m", .ctx_size = 1024};
    server s = {.draining = true};

    CHECK(metrics_new(&s.metrics, &info) == ERR_OK);
    ask(routes_dispatch_api, &s, "POST", "/v1/completions");
    CHECK(status_is(503) && strstr(got, "\"code\":\"draining\""));
    ask(routes_dispatch_api, &s, "GET", "/metrics");
    CHECK(status_is(200));
    metrics_free(s.metrics);
}
