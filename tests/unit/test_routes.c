/* test_routes.c - every row of routes.def over a real listener. The handlers are stand-ins,
 * made from the same table, so the linker leaves the real ones in their library. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "server/api/dispatch.h"
#include "server/api/routes.h"
#include "server/api/server.h"
#include "tests/site.h"

static void answer_row_path(http_request *r, const char *path)
{
    char *body = strdup(path);

    http_answer(r, 200, "text/plain", body, strlen(body));
}

#define ALIAS(method, path, handler, listeners, help)
#define ROUTE(method, path, handler, listeners, help) \
    void handler(http_request *r)                     \
    {                                                 \
        answer_row_path(r, path);                     \
    }
#include "server/api/routes.def"
#undef ROUTE

static char got[CLIENT_BYTES];
static char last_label[64];

static void remember_label(http_request *r)
{
    snprintf(last_label, sizeof last_label, "%s", http_route(r) ? http_route(r) : "none");
}

/* One request to one listener; the answer is in `got`. s NULL: a server that is not asked. */
static void ask(void (*dispatch)(http_request *), server *s, const char *method,
                const char *path)
{
    site *listener = site_open_for(s, dispatch, remember_label);
    client *c;
    char request[512];

    snprintf(request, sizeof request,
             "%s %s HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: 0\r\n\r\n",
             method, path);
    c = client_ask(listener, request);
    memcpy(got, c->got, sizeof got);
    client_close(c);
    site_close(listener);
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
        snprintf(out, 128, "%.*s%s%s", (int)(brace - to->path), to->path, id, brace + 4);
    else
        snprintf(out, 128, "%s", to->path);
}

/* The path that a row's handler answers with: that of the first row which it has. */
static const char *handler_path(const route *table, const route *row)
{
    while (table->handler != row->handler) table++;
    return table->path;
}

TEST(routes_lead_to_their_handlers_on_the_listeners_they_name)
{
    size_t n;
    const route *table = routes_table(&n);
    char path[128];

    for (size_t i = 0; i < n; i++) {
        write_path(path, &table[i], "org/name");
        ask(dispatch_api, NULL, table[i].method, path);
        CHECK(status_is((table[i].listeners & ROUTES_API) ? 200 : 404));
        CHECK(body_is(handler_path(table, &table[i])));
        CHECK(strcmp(last_label, table[i].path) == 0);
        ask(dispatch_admin, NULL, table[i].method, path);
        CHECK(status_is((table[i].listeners & ROUTES_ADMIN) ? 200 : 404));
    }
}

TEST(routes_take_model_names_with_slashes_encoded_or_not)
{
    static const char *const names[] = {"org/name", "org%2Fname", "name.gguf", "a/b/c"};

    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        char path[128];

        snprintf(path, sizeof path, "/v1/models/%s", names[i]);
        ask(dispatch_api, NULL, "GET", path);
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

        ask(dispatch_api, NULL, "GET", wrong[i]);
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
        ask(dispatch_api, NULL, post[i], "/v1/chat/completions");
        CHECK(status_is(405) && strstr(got, "Allow: POST, OPTIONS\r\n"));
    }
    for (size_t i = 0; i < sizeof get / sizeof *get; i++) {
        ask(dispatch_api, NULL, get[i], "/v1/models");
        CHECK(status_is(405) && strstr(got, "Allow: GET, HEAD, OPTIONS\r\n"));
        CHECK(strcmp(last_label, "other") == 0);
    }
}

TEST(routes_answer_head_like_get_and_options_without_a_handler)
{
    ask(dispatch_api, NULL, "HEAD", "/v1/models");
    CHECK(status_is(200) && body_is("") && strstr(got, "Content-Length: 10\r\n"));
    ask(dispatch_api, NULL, "OPTIONS", "/v1/chat/completions");
    CHECK(status_is(204) && body_is("") && strstr(got, "Allow: POST, OPTIONS\r\n"));
    ask(dispatch_api, NULL, "OPTIONS", "/nowhere");
    CHECK(status_is(404));
}

TEST(routes_refuse_new_work_while_the_server_drains)
{
    const metrics_info info = {.model_name = "m", .ctx_size = 1024};
    server s = {.draining = true, .loaded = true};

    CHECK(metrics_new(&s.metrics, &info) == ERR_OK);
    ask(dispatch_api, &s, "POST", "/v1/completions");
    CHECK(status_is(503) && strstr(got, "\"code\":\"draining\""));
    ask(dispatch_api, &s, "GET", "/metrics");
    CHECK(status_is(200));
    metrics_free(s.metrics);
}
