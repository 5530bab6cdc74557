/* peer.c - addresses of clients as 16 bytes, and sets of networks. */
#include "server/http/peer.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>

/* The longest entry is an IPv6 address that ends in dots, with its bits: 49 letters. */
enum { V4_BITS = 32, ALL_BITS = 128, ENTRY_BYTES = 64 };

/* The mapped form (RFC 4291, 2.5.5.2) is what a socket of both families says of such a client:
 * an entry of a set matches on either kind of listener. */
static peer from_v4(const void *four_bytes)
{
    peer p = {{[10] = 0xff, [11] = 0xff}};

    memcpy(p.bytes + 12, four_bytes, 4);
    return p;
}

/* Whoever comes through a Unix socket has no address: all zeros, which no client of a network
 * has. */
peer peer_of(const struct sockaddr *address)
{
    peer p = {{0}};

    if (address->sa_family == AF_INET)
        return from_v4(&((const struct sockaddr_in *)address)->sin_addr);
    if (address->sa_family == AF_INET6)
        memcpy(p.bytes, &((const struct sockaddr_in6 *)address)->sin6_addr, sizeof p.bytes);
    return p;
}

bool peer_equal(peer a, peer b)
{
    return memcmp(a.bytes, b.bytes, sizeof a.bytes) == 0;
}

/* strtoul alone would take a sign, or blanks, before the number. */
static bool parse_bits(const char *text, unsigned most, unsigned *out)
{
    char *end;
    const unsigned long n = strtoul(text, &end, 10);

    if (*text < '0' || *text > '9' || *end || n > most) return false;
    *out = (unsigned)n;
    return true;
}

/* One entry, its blanks gone: an address, or one and a number of bits. */
static bool parse_entry(char *entry, peer *network, unsigned *bits)
{
    char *slash = strchr(entry, '/');
    uint8_t v4[4];

    *bits = ALL_BITS; /* an address alone is a network of one */
    if (strcmp(entry, "all") == 0) {
        *network = (peer){{0}};
        *bits = 0;
        return true;
    }
    if (slash) *slash++ = '\0';
    if (inet_pton(AF_INET, entry, v4) == 1) {
        *network = from_v4(v4);
        if (!slash) return true;
        if (!parse_bits(slash, V4_BITS, bits)) return false;
        *bits += ALL_BITS - V4_BITS;
        return true;
    }
    if (inet_pton(AF_INET6, entry, network->bytes) != 1) return false;
    return !slash || parse_bits(slash, ALL_BITS, bits);
}

const char *peer_set_parse(peer_set *out, const char *list)
{
    char entry[ENTRY_BYTES];

    out->n = 0;
    while (*(list += strspn(list, " ,"))) {
        const size_t n = strcspn(list, " ,");

        if (n >= sizeof entry || out->n == PEER_SET_MAX) return list;
        memcpy(entry, list, n);
        entry[n] = '\0';
        if (!parse_entry(entry, &out->list[out->n].network, &out->list[out->n].bits))
            return list;
        out->n++;
        list += n;
    }
    return NULL;
}

/* Bits past the prefix do not count: 10.1.2.3/8 is what people write for 10.0.0.0/8. */
static bool in_network(peer p, peer network, unsigned bits)
{
    const size_t whole = bits / 8;
    const unsigned rest = bits % 8;

    if (memcmp(p.bytes, network.bytes, whole) != 0) return false;
    return rest == 0 || (p.bytes[whole] ^ network.bytes[whole]) >> (8 - rest) == 0;
}

bool peer_set_has(const peer_set *s, peer p)
{
    for (size_t i = 0; i < s->n; i++)
        if (in_network(p, s->list[i].network, s->list[i].bits)) return true;
    return false;
}
