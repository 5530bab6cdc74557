/* dispatch.h - from a request to its handler, by the table of routes.h.
 *
 * Paths match exactly. HEAD is GET without the body; OPTIONS is 204; a known path with
 * another method is 405, both with Allow; anything else is 404. While the server drains,
 * POST is refused with 503 before its handler sees it. */
#ifndef SERVER_API_DISPATCH_H
#define SERVER_API_DISPATCH_H

#include "server/http/http.h"

/* http_options.dispatch of the two listeners. http_server(r) is the server (server.h). */
void dispatch_api(http_request *r);
void dispatch_admin(http_request *r);

#endif
