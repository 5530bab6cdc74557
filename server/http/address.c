/* address.c - "127.0.0.1:8080", "[::1]:0", ":8080", "unix:/run/xquantd.sock" as sockets. */
#include "server/http/address.h"

#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>

enum {
    HOST_BYTES = 256,
    PORT_BYTES = 6,
    BACKLOG = 1024 /* the kernel takes less: somaxconn */
};

static const char unix_prefix[] = "unix:";

bool address_is_unix(const char *address)
{
    return strncmp(address, unix_prefix, sizeof unix_prefix - 1) == 0;
}

/* --- Unix sockets --- */

static bool unix_address(const char *address, struct sockaddr_un *out)
{
    const char *path = address + sizeof unix_prefix - 1;

    *out = (struct sockaddr_un){.sun_family = AF_UNIX};
    /* sun_path has room for 108 bytes, its NUL included, wherever the socket is to lie. */
    errno = *path ? ENAMETOOLONG : EINVAL;
    if (!*path || strlen(path) >= sizeof out->sun_path) return false;
    strcpy(out->sun_path, path);
    return true;
}

/* -1: errno says whether nobody listens (ECONNREFUSED) or nothing is there (ENOENT). */
static int unix_connect(const struct sockaddr_un *to)
{
    const int s = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    int why;

    if (s < 0 || connect(s, (const struct sockaddr *)to, sizeof *to) == 0) return s;
    why = errno;
    close(s);
    errno = why;
    return -1;
}

/* A file that a server left behind when it died refuses connections, and is in the way of the
 * next one. One that somebody listens on is not ours to take, nor is what is no socket. */
static bool unix_clear(const struct sockaddr_un *at)
{
    struct stat st;
    const int s = unix_connect(at);

    if (s >= 0) {
        close(s);
        errno = EADDRINUSE;
        return false;
    }
    if (errno == ENOENT) return true;
    if (errno != ECONNREFUSED) return false;
    if (lstat(at->sun_path, &st) || !S_ISSOCK(st.st_mode)) {
        errno = EADDRINUSE;
        return false;
    }
    return unlink(at->sun_path) == 0;
}

/* The mode is that of the file before it can be connected to. */
static bool unix_bind(int s, const struct sockaddr_un *at, unsigned mode)
{
    return bind(s, (const struct sockaddr *)at, sizeof *at) == 0 &&
           chmod(at->sun_path, mode) == 0 && listen(s, BACKLOG) == 0;
}

/* There is a moment between clear and bind: two servers that start at once are not kept apart
 * here, the second bind fails. */
static err unix_listen(const char *address, unsigned mode, int *fd)
{
    struct sockaddr_un at;
    int s, why;

    if (!unix_address(address, &at) || !unix_clear(&at)) return ERR_ADDRESS;
    s = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (s < 0) return ERR_ADDRESS;
    if (unix_bind(s, &at, mode)) {
        *fd = s;
        return ERR_OK;
    }
    why = errno;
    close(s);
    errno = why;
    return ERR_ADDRESS;
}

void address_forget(const char *address)
{
    if (address_is_unix(address)) unlink(address + sizeof unix_prefix - 1);
}

/* --- addresses of the network --- */

/* Split at the last colon, for those of an IPv6 address are within brackets, which go. An empty
 * host is every address of this machine. */
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

/* Does `use` on each address until one works; that one's socket. A name may have addresses of
 * both families of which only one is set up here: localhost is often ::1 first. The errno that
 * is reported is the last address's. */
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

/* REUSEADDR: a restart need not wait for the old connections' TIME_WAIT. */
static bool use_listen(int s, const struct addrinfo *a)
{
    const int on = 1;

    setsockopt(s, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    return bind(s, a->ai_addr, a->ai_addrlen) == 0 && listen(s, BACKLOG) == 0;
}

err address_listen(const char *address, unsigned unix_mode, int *fd, unsigned *port)
{
    struct sockaddr_storage bound;
    socklen_t n = sizeof bound;
    int s;

    if (address_is_unix(address)) {
        TRY(unix_listen(address, unix_mode, fd));
        *port = 0;
        return ERR_OK;
    }
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

/* With a limit on each read and write: a daemon that accepts and then never answers must fail
 * its health check, not hang it. */
err address_connect(const char *address, int seconds, int *fd)
{
    const struct timeval limit = {.tv_sec = seconds};
    struct sockaddr_un local;

    if (!address_is_unix(address)) {
        TRY(try_each(address, 0, use_connect, fd));
    } else {
        if (!unix_address(address, &local)) return ERR_ADDRESS;
        *fd = unix_connect(&local);
        if (*fd < 0) return ERR_ADDRESS;
    }
    setsockopt(*fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
    setsockopt(*fd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof limit);
    return ERR_OK;
}
