/* test_peer.c - addresses of clients, and sets of networks. */
#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>
#include <sys/un.h>

#include "server/http/peer.h"
#include "tests/test.h"

static peer of(const char *text)
{
    struct sockaddr_in v4 = {.sin_family = AF_INET};
    struct sockaddr_in6 v6 = {.sin6_family = AF_INET6};

    if (inet_pton(AF_INET, text, &v4.sin_addr) == 1) return peer_of((struct sockaddr *)&v4);
    CHECK(inet_pton(AF_INET6, text, &v6.sin6_addr) == 1);
    return peer_of((struct sockaddr *)&v6);
}

TEST(peer_is_the_same_as_ipv4_and_as_ipv6_that_carries_it)
{
    const struct sockaddr_un local = {.sun_family = AF_UNIX};

    CHECK(peer_equal(of("10.1.2.3"), of("::ffff:10.1.2.3")));
    CHECK(!peer_equal(of("10.1.2.3"), of("10.1.2.4")));
    CHECK(peer_equal(peer_of((const struct sockaddr *)&local), of("::")));
}

typedef struct row {
    const char *set, *address;
    bool in;
} row;

static const row rows[] = {
    {"", "127.0.0.1", false},
    {"all", "10.9.8.7", true},
    {"all", "fd00::1", true},
    {"127.0.0.1", "127.0.0.1", true},
    {"127.0.0.1", "127.0.0.2", false},
    {"10.0.0.0/8, 192.168.1.0/24", "10.255.0.1", true},
    {"10.0.0.0/8, 192.168.1.0/24", "192.168.1.77", true},
    {"10.0.0.0/8, 192.168.1.0/24", "192.168.2.77", false},
    {"192.168.1.128/25", "192.168.1.127", false},
    {"192.168.1.128/25", "192.168.1.128", true},
    {"0.0.0.0/0", "8.8.8.8", true},
    {"0.0.0.0/0", "fd00::1", false},
    {"fd00::/8", "fdff::1", true},
    {"fd00::/8", "fe00::1", false},
    {"::1", "::1", true},
};

TEST(peer_set_has_what_its_networks_hold)
{
    peer_set s;

    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        CHECK(!peer_set_parse(&s, rows[i].set));
        if (peer_set_has(&s, of(rows[i].address)) != rows[i].in)
            fprintf(stderr, "'%s' and %s\n", rows[i].set, rows[i].address);
        CHECK(peer_set_has(&s, of(rows[i].address)) == rows[i].in);
    }
}

TEST(peer_set_names_the_entry_that_is_no_network)
{
    static const char *const wrong[] = {"10.0.0.0/33", "10.0.0.0/", "10.0.0.0/-1", "10.0.0",
                                        "fd00::/129",  "proxy",     "::1/1x"};
    char list[PEER_SET_MAX * 9 + 16], good_then[64];
    peer_set s;

    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        snprintf(good_then, sizeof good_then, "10.0.0.1, %s", wrong[i]);
        CHECK(peer_set_parse(&s, good_then) == good_then + 10);
    }
    list[0] = '\0';
    for (int i = 0; i <= PEER_SET_MAX; i++) strcat(list, "10.0.0.1,");
    CHECK(peer_set_parse(&s, list) == list + 9 * PEER_SET_MAX);
}
