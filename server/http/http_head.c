/* http_head.c - what is kept of a request's head: its id, its path, whether more may follow. */
#include <string.h>
#include <strings.h>

#include "server/http/http_state.h"
#include "server/random.h"

static bool sane_id(const char *id)
{
    const size_t n = strspn(id, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
                                "0123456789-_.:");

    return n > 0 && n <= HTTP_ID_BYTES && id[n] == '\0';
}

void http_head_id(http_request *r)
{
    const char *inbound = http_header(r, "x-request-id");

    if (inbound && sane_id(inbound))
        strcpy(r->id, inbound);
    else
        random_id(r->id, "req_");
}

/* Is `close` one of the words of the Connection headers? */
static enum MHD_Result note_close(void *cls, enum MHD_ValueKind kind, const char *name,
                                  const char *list)
{
    bool *closes = cls;

    (void)kind;
    if (strcasecmp(name, "Connection") != 0) return MHD_YES;
    while (list && *(list += strspn(list, " \t,"))) {
        const size_t n = strcspn(list, " \t,");

        *closes |= n == 5 && strncasecmp(list, "close", 5) == 0;
        list += n;
    }
    return MHD_YES;
}

bool http_head_says_close(struct MHD_Connection *mhd)
{
    bool closes = false;

    MHD_get_connection_values(mhd, MHD_HEADER_KIND, note_close, &closes);
    return closes;
}

/* A client of a proxy may name the whole URL; what is before the path says nothing that the
 * Host header does not. */
const char *http_head_path(const char *target)
{
    const bool absolute = strncasecmp(target, "http://", 7) == 0 ||
                          strncasecmp(target, "https://", 8) == 0;
    const char *path = absolute ? strchr(strchr(target, '/') + 2, '/') : target;

    return path ? path : "/";
}
