/* address.h - "127.0.0.1:8080", "[::1]:0", ":8080" as sockets. */
#ifndef SERVER_HTTP_ADDRESS_H
#define SERVER_HTTP_ADDRESS_H

#include "engine/err.h"

/* A listening, non-blocking socket and the port it got. ERR_ADDRESS; errno says why: EINVAL
 * for what is no address, else what the system refused. The caller closes *fd. */
err address_listen(const char *address, int *fd, unsigned *port);

/* A connected socket whose calls give up after `seconds`; 0.0.0.0 and :: mean this host.
 * Blocks. ERR_ADDRESS. The caller closes *fd. */
err address_connect(const char *address, int seconds, int *fd);

#endif
