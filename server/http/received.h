/* received.h - how much has been read from a socket, as the kernel counts it. */
#ifndef SERVER_HTTP_RECEIVED_H
#define SERVER_HTTP_RECEIVED_H

#include <stdint.h>

/* Bytes that arrived on a TCP connection and were read from it, since it began; 0 for other
 * sockets. */
uint64_t received_bytes(int fd);

#endif
