/* routes.h - the table routes.def: which handler a method and a path lead to (dispatch.h). */
#ifndef SERVER_API_ROUTES_H
#define SERVER_API_ROUTES_H

#include <stddef.h>

#include "server/http/http.h"

/* Which listener a route answers on; whether it does without an API key, and before the model
 * is loaded. */
enum {
    ROUTES_API = 1,
    ROUTES_ADMIN = 2,
    ROUTES_BOTH = 3,
    ROUTES_OPEN = 4,
    ROUTES_EARLY = 8,
    ROUTES_PROBE = ROUTES_BOTH | ROUTES_OPEN | ROUTES_EARLY,
};

typedef struct route {
    const char *method, *path;
    void (*handler)(http_request *r);
    unsigned listeners;
    const char *help;
} route;

/* The handlers, one each in api_*.c. Each answers r, or holds it and answers later. */
#define ROUTE(method, path, handler, listeners, help) void handler(http_request *r);
#include "server/api/routes.def"
#undef ROUTE

/* The whole table; *n rows. */
const route *routes_table(size_t *n);

#endif
