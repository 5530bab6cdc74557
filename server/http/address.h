/* address.h - "127.0.0.1:8080", "[::1]:0", ":8080", "unix:/run/xquantd.sock" as sockets. */
#ifndef SERVER_HTTP_ADDRESS_H
#define SERVER_HTTP_ADDRESS_H

#include <stdbool.h>

#include "engine/err.h"

/* What an address may look like, for a sentence about one that does not. */
#define ADDRESS_FORMS "HOST:PORT, [IPV6]:PORT, :PORT or unix:PATH"

/* A listening, non-blocking socket and the port it got (0: a Unix socket). ERR_ADDRESS; errno
 * says why: EINVAL for what is no address, else what the system refused. A Unix socket that
 * nobody listens on any more is replaced. unix_mode: of its file. The caller closes *fd, and
 * then calls address_forget. */
err address_listen(const char *address, unsigned unix_mode, int *fd, unsigned *port);

/* Remove the file of a Unix socket that was listened on. */
void address_forget(const char *address);

bool address_is_unix(const char *address);

/* A connected socket whose calls give up after `seconds`; 0.0.0.0 and :: mean this host.
 * Blocks. ERR_ADDRESS. The caller closes *fd. */
err address_connect(const char *address, int seconds, int *fd);

#endif
