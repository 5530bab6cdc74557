/* loading.c - says how far the model is: in the error that clients understand, and beside it
 * for who watches. The listeners are there first, so that a wrong address costs no loading and
 * a balancer learns the difference between a server that starts and one that is gone. */
#include "server/api/loading.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "server/api/server.h"
#include "server/http/answer.h"

void loading_answer(http_request *r)
{
    const server *s = http_server(r);
    const unsigned permille = atomic_load(&s->runtime->packed_permille);
    char body[256];
    const int n = snprintf(body, sizeof body,
                           "{\"status\":\"loading\",\"progress\":%.3f,\"error\":{\"message\":"
                           "\"The model is being loaded: %u %%.\",\"type\":\"server_error\","
                           "\"param\":null,\"code\":\"loading\"}}",
                           permille / 1000.0, permille / 10);

    http_add_header(r, "Retry-After", "1");
    http_answer(r, 503, "application/json", strdup(body), (size_t)n);
}
