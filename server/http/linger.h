/* linger.h - sockets that have had their last answer while their clients may still send.
 *
 * To close a socket with unread bytes in it sends a reset, and a reset overtakes the answer: a
 * client in the middle of an upload would see a broken connection instead of its 413. So our
 * side is shut, and what still comes is read and dropped until the client closes, for some
 * seconds and bytes at most. Everything here runs on the loop thread. */
#ifndef SERVER_HTTP_LINGER_H
#define SERVER_HTTP_LINGER_H

#include <stdint.h>
#include <uv.h>

typedef struct linger_socket linger_socket;

typedef struct linger_list {
    linger_socket *first;
    unsigned n;
} linger_list;

/* Take over fd: shut our side, drop what comes, close in the end. Never fails: without memory,
 * or with many lingering already, fd is closed at once. */
void linger_take(linger_list *l, uv_loop_t *loop, int fd);

/* Close those whose time is over (by clock_ns), or all. */
void linger_tick(linger_list *l, uint64_t now_ns);
void linger_close_all(linger_list *l);

#endif
