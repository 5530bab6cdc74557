/* received.c - how much has been read from a socket.
 *
 * A file of its own: only the kernel's tcp_info has bytes_received, and its header cannot stand
 * beside libc's, which libuv includes. */
#include "server/http/received.h"

#include <linux/tcp.h>
#include <netinet/in.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

uint64_t received_bytes(int fd)
{
    struct tcp_info info = {0};
    socklen_t n = sizeof info;
    int waiting = 0;

    if (getsockopt(fd, IPPROTO_TCP, TCP_INFO, &info, &n)) return 0;
    ioctl(fd, FIONREAD, &waiting);
    return info.tcpi_bytes_received - (uint64_t)waiting;
}
