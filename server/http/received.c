/* received.c - how much has been read from a socket.
 *
 * A file of its own: only the kernel's tcp_info has bytes_received, and its header cannot stand
 * beside libc's, which libuv includes. */
#include "server/http/received.h"

#include <linux/tcp.h>
#include <netinet/in.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

enum { ATTEMPTS = 16 };

static uint32_t bytes_waiting(int fd)
{
    int n = 0;

    return ioctl(fd, FIONREAD, &n) ? 0 : (uint32_t)n;
}

/* What arrives between the two questions would count as waiting and not as arrived, or the
 * other way round: asked again until nothing has. */
uint64_t received_bytes(int fd)
{
    struct tcp_info info = {0};
    socklen_t n = sizeof info;
    uint32_t waiting = bytes_waiting(fd), before;

    for (int i = 0; i < ATTEMPTS; i++) {
        before = waiting;
        if (getsockopt(fd, IPPROTO_TCP, TCP_INFO, &info, &n)) return 0;
        waiting = bytes_waiting(fd);
        if (waiting == before) break;
    }
    return info.tcpi_bytes_received - waiting;
}
