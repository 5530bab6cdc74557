/* test_origin.c - which hosts and origins a request may name. */
#include <stdio.h>
#include <string.h>

#include "server/api/origin.h"
#include "tests/test.h"

typedef struct host_row {
    const char *allowed;
    bool loopback;
    const char *host;
    bool ok;
} host_row;

static const host_row hosts[] = {
    {"", true, "localhost:8080", true},
    {"", true, "LOCALHOST", true},
    {"", true, "app.localhost:1", true},
    {"", true, "127.0.0.1:8080", true},
    {"", true, "[::1]:8080", true},
    {"", true, "evil.example:8080", false},
    {"", true, "127.0.0.1.evil.example", false},
    {"", true, "localhost.evil.example", false},
    {"", true, "", false},
    {"", true, NULL, true},
    {"", false, "anything.example", true},
    {"api.example", false, "api.example:443", true},
    {"api.example", false, "example", false},
    {"api.example", false, "x.api.example", false},
    {"api.example", false, NULL, false},
    {"*.example, other", false, "a.b.example", true},
    {"*.example, other", false, "example", false},
    {"*.example, other", false, "badexample", false},
    {"*.example, other", false, "other:9", true},
    {"api.example", true, "localhost", false},
    {"all", true, "evil.example", true},
};

TEST(origin_allows_the_hosts_it_should)
{
    for (size_t i = 0; i < sizeof hosts / sizeof *hosts; i++) {
        const host_row *r = &hosts[i];
        const origin_policy p = {r->allowed, "", r->loopback};

        if (origin_host_is_allowed(&p, r->host) != r->ok)
            fprintf(stderr, "'%s', '%s'\n", r->allowed, r->host ? r->host : "none");
        CHECK(origin_host_is_allowed(&p, r->host) == r->ok);
    }
}

typedef struct post_row {
    const char *cors, *origin, *host;
    bool ok;
} post_row;

static const post_row posts[] = {
    {"", NULL, "localhost:8080", true},
    {"", "http://localhost:8080", "localhost:8080", true},
    {"", "http://localhost:3000", "localhost:8080", false},
    {"", "http://evil.example", "localhost:8080", false},
    {"", "null", "localhost:8080", false},
    {"", "http://localhost:8080", NULL, false},
    {"http://localhost:3000", "http://localhost:3000", "localhost:8080", true},
    {"http://localhost:3000", "http://localhost:30000", "localhost:8080", false},
    {"https://a.example,https://b.example", "https://b.example", "x", true},
    {"*", "https://any.example", "x", true},
};

TEST(origin_lets_pages_post_that_are_listed_or_our_own)
{
    for (size_t i = 0; i < sizeof posts / sizeof *posts; i++) {
        const post_row *r = &posts[i];
        const origin_policy p = {"", r->cors, true};

        if (origin_may_post(&p, r->origin, r->host) != r->ok)
            fprintf(stderr, "'%s', '%s'\n", r->cors, r->origin ? r->origin : "none");
        CHECK(origin_may_post(&p, r->origin, r->host) == r->ok);
    }
}

TEST(origin_knows_a_listener_of_the_loopback)
{
    CHECK(origin_is_loopback("127.0.0.1:8080") && origin_is_loopback("[::1]:8080"));
    CHECK(origin_is_loopback("localhost:0"));
    CHECK(!origin_is_loopback("0.0.0.0:8080") && !origin_is_loopback(":8080"));
    CHECK(!origin_is_loopback("10.0.0.127:8080"));
}
