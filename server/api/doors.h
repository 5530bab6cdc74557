/* doors.h - what a request must show before a handler sees it: a host that is ours, an origin
 * that may, a content type that is read, a key that is known. Loop thread only. */
#ifndef SERVER_API_DOORS_H
#define SERVER_API_DOORS_H

#include <stdbool.h>
#include <stdint.h>

#include "server/api/keys.h"
#include "server/api/routes.h"

/* True: let it in, to `to` (NULL: it is to hear that there is no such route). Else it has been
 * answered: 401, 403 or 415. listener: ROUTES_API or ROUTES_ADMIN. */
bool doors_pass(http_request *r, const route *to, unsigned listener);

/* The key that a request came with, NULL where none is asked for; and whose it is. */
key *doors_key(const http_request *r);
uint64_t doors_tenant(const http_request *r);

/* An OPTIONS request; allow: the methods of its path. Answers it: 204, or 403 for the preflight
 * of a page that may not. */
void doors_answer_options(http_request *r, const char *allow);

#endif
