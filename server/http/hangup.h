/* hangup.h - makes whoever polls a socket see an error on it, without a reset for the client.
 */
#ifndef SERVER_HTTP_HANGUP_H
#define SERVER_HTTP_HANGUP_H

#include <stdbool.h>

/* Before the last bytes are sent; then end our side. True: pollers see an error by now. */
void hangup_prepare(int fd);
bool hangup_finish(int fd);

/* The error is taken back, and the socket only half closed. */
void hangup_undo(int fd);

#endif
