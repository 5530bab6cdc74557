/* routes.c - the table of routes.def.
 *
 * In a file of its own: dispatch, metrics and the tests read the same rows. */
#include "server/api/routes.h"

static const route table[] = {
#define ROUTE(method, path, handler, listeners, help) {method, path, handler, listeners, help},
#include "server/api/routes.def"
#undef ROUTE
};

const route *routes_table(size_t *n)
{
    *n = sizeof table / sizeof *table;
    return table;
}
