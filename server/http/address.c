/* address.c - "127.0.0.1:8080", "[::1]:0", ":8080" as sockets. */
#include "server/http/address.h"

#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <netinet/in.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

enum { HOST_BYTES = 256, PORT_BYTES = 6, BACKLOG = 1024 };

/* Split at the last colon; brackets around the host go. */
static bool split(const char *address, char host[HOST_BYTES], char port[PORT_BYTES])
{
    const char *colon = strrchr(address, ':');
    size_t n;

    if (!colon) return false;
    n = (size_t)(colon - address);
    if (n >= 2 && address[0] == '[' && colon[-1] == ']') {
        address++;
        n -= 2;
    }
    if (n >= HOST_BYTES || strlen(colon + 1) >= PORT_BYTES) return false;
    memcpy(host, address, n);
    host[n] = '\0';
    strcpy(port, colon + 1);
    return port[0] && strspn(port, "0123456789") == strlen(port) && atoi(port) <= 65535;
}

/* Does `use` on each address until one works; that one's socket. */
static err try_each(const char *address, int flags, bool (*use)(int, const struct addrinfo *),
                    int *fd)
{
    const struct addrinfo hints = {.ai_socktype = SOCK_STREAM,
                                   .ai_flags = flags | AI_NUMERICSERV};
    struct addrinfo *list;
    char host[HOST_BYTES], port[PORT_BYTES];
    int s = -1, why = EADDRNOTAVAIL;

    errno = EINVAL;
    if (!split(address, host, port)) return ERR_ADDRESS;
    errno = EADDRNOTAVAIL;
    if (getaddrinfo(host[0] ? host : NULL, port, &hints, &list)) return ERR_ADDRESS;
    for (const struct addrinfo *a = list; a && s < 0; a = a->ai_next) {
        s = socket(a->ai_family, a->ai_socktype | SOCK_CLOEXEC, a->ai_protocol);
        if (s < 0 || use(s, a)) continue;
        why = errno;
        close(s);
        s = -1;
    }
    freeaddrinfo(list);
    errno = why;
    if (s < 0) return ERR_ADDRESS;
    *fd = s;
    return ERR_OK;
}

static bool use_listen(int s, const struct addrinfo *a)
{
    const int on = 1;

    setsockopt(s, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    return bind(s, a->ai_addr, a->ai_addrlen) == 0 && listen(s, BACKLOG) == 0;
}

err address_listen(const char *address, int *fd, unsigned *port)
{
    struct sockaddr_storage bound;
    socklen_t n = sizeof bound;
    int s;

    TRY(try_each(address, AI_PASSIVE, use_listen, &s));
    if (getsockname(s, (struct sockaddr *)&bound, &n) ||
        fcntl(s, F_SETFL, fcntl(s, F_GETFL) | O_NONBLOCK)) {
        close(s);
        return ERR_ADDRESS;
    }
    *port = ntohs(bound.ss_family == AF_INET6 ? ((struct sockaddr_in6 *)&bound)->sin6_port
                                              : ((struct sockaddr_in *)&bound)->sin_port);
    *fd = s;
    return ERR_OK;
}

static bool use_connect(int s, const struct addrinfo *a)
{
    return connect(s, a->ai_addr, a->ai_addrlen) == 0;
}

err address_connect(const char *address, int seconds, int *fd)
{
    const struct timeval limit = {.tv_sec = seconds};

    TRY(try_each(address, 0, use_connect, fd));
    setsockopt(*fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
    setsockopt(*fd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof limit);
    return ERR_OK;
}
