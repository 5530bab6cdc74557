/* http_head.c - what is kept of a request's head: its id, its path, whether more may follow;
 * and its values without the blanks behind them. */
#include <dlfcn.h>
#include <string.h>
#include <strings.h>

#include "server/http/http_state.h"
#include "server/random.h"

typedef enum MHD_Result lookup_value(struct MHD_Connection *c, enum MHD_ValueKind kind,
                                     const char *name, size_t name_bytes, const char **value,
                                     size_t *value_bytes);

/* Blanks behind a value are no part of it (RFC 9110, 5.5). 0.9.75 leaves them there: "chunked "
 * is no coding that it knows, so that it would wait for the end of the connection, and "47 " no
 * number. But it asks for both through this public call of its own, found as http_page.c says,
 * and its values lie in its own buffer. Elsewhere "chunked " is refused by http_check. */
enum MHD_Result MHD_lookup_connection_value_n(struct MHD_Connection *c, enum MHD_ValueKind kind,
                                              const char *name, size_t name_bytes,
                                              const char **value, size_t *value_bytes)
{
    void *const found = dlsym(RTLD_NEXT, "MHD_lookup_connection_value_n");
    lookup_value *library;
    enum MHD_Result result;
    size_t n;

    memcpy(&library, &found, sizeof library); /* as http_page.c does */
    result = library(c, kind, name, name_bytes, value, value_bytes);
    if (result != MHD_YES || kind != MHD_HEADER_KIND || !value || !*value) return result;
    if (!http_parses_in_place()) return result;
    for (n = strlen(*value); n && strchr(" \t", (*value)[n - 1]);) n--;
    if ((*value)[n]) ((char *)*value)[n] = '\0';
    if (value_bytes) *value_bytes = n;
    return result;
}

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
