/* hangup.c - makes whoever polls a socket see an error on it, without a reset for the client.
 *
 * libmicrohttpd lets go of a connection in the middle of an upload when its socket has an error
 * or is shut both ways. To shut the reading side is no way out while the client sends: Linux
 * answers the next byte with a reset, and a client whose write fails does not look whether
 * there was an answer to read. So the socket is given an error that the client knows nothing
 * of. The kernel is asked for the time at which the last bytes went out, and puts it in the
 * queue of errors, where it is an EPOLLERR to all who poll:
 *
 *   prepare --> the last bytes are sent --> finish, EPOLLERR --> undo, by who reads on
 *
 * Where there is no such time (a Unix socket has none) there is no error either. */
#include "server/http/hangup.h"

#include <linux/net_tstamp.h>
#include <poll.h>
#include <sys/socket.h>

static void ask_for_times(int fd, int which)
{
    setsockopt(fd, SOL_SOCKET, SO_TIMESTAMPING, &which, sizeof which);
}

void hangup_prepare(int fd)
{
    ask_for_times(fd, SOF_TIMESTAMPING_TX_SCHED | SOF_TIMESTAMPING_OPT_TSONLY);
}

bool hangup_finish(int fd)
{
    struct pollfd p = {.fd = fd};

    shutdown(fd, SHUT_WR); /* what waited for an acknowledgement is sent with it */
    return poll(&p, 1, 0) == 1 && (p.revents & POLLERR);
}

void hangup_undo(int fd)
{
    struct msghdr dropped = {0};

    ask_for_times(fd, 0);
    while (recvmsg(fd, &dropped, MSG_ERRQUEUE | MSG_DONTWAIT) >= 0)
        ;
}
