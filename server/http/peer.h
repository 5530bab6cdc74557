/* peer.h - who is at the other end of a connection: an address, and sets of them.
 *
 * Every address is 16 bytes: IPv4 as ::ffff:a.b.c.d, a Unix socket as all zero. A set is a list
 * of networks, `10.0.0.0/8, 192.168.1.7, fd00::/8`, or `all`. */
#ifndef SERVER_HTTP_PEER_H
#define SERVER_HTTP_PEER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>

enum { PEER_SET_MAX = 32 };

typedef struct peer {
    uint8_t bytes[16];
} peer;

typedef struct peer_set {
    struct {
        peer network;
        unsigned bits; /* of the 128 that must be equal */
    } list[PEER_SET_MAX];
    size_t n;
} peer_set;

peer peer_of(const struct sockaddr *address);
bool peer_equal(peer a, peer b);

/* Read a list separated by commas; an empty text is an empty set. Returns NULL, or the text
 * from the entry on that is no address or network, or is one too many. */
const char *peer_set_parse(peer_set *out, const char *list);

bool peer_set_has(const peer_set *s, peer p);

#endif
