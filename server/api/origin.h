/* origin.h - requests that a web page makes without its reader's knowledge.
 *
 * A page from anywhere may send requests to 127.0.0.1, and may have a name of its own resolve
 * to it (DNS rebinding), so that the browser takes us for its site. Therefore:
 *
 *   Host       must be one of the allowed names; on a loopback listener those of the loopback,
 *              elsewhere any, unless --allowed-hosts says otherwise
 *   Origin     of what is no GET, HEAD or OPTIONS: none, the host itself, or in --cors-origin
 *   preflight  OPTIONS with Access-Control-Request-Method: 204 with what is allowed, or 403
 *
 * Clients that are no browsers send no Origin and notice nothing. */
#ifndef SERVER_API_ORIGIN_H
#define SERVER_API_ORIGIN_H

#include <stdbool.h>

typedef struct origin_policy {
    const char *allowed_hosts; /* "a.example, *.b.example", "all"; empty or NULL: as above */
    const char
        *cors_origins; /* "https://a.example, http://localhost:3000", "*", empty or NULL */
    bool loopback;     /* does the listener take connections from this machine only? */
} origin_policy;

/* May a request with this Host header (NULL: none) be answered? Its port does not matter. */
bool origin_host_is_allowed(const origin_policy *p, const char *host);

/* Is this Origin header in the list of --cors-origin? */
bool origin_is_listed(const origin_policy *p, const char *origin);

/* May a request that changes something come from this Origin (NULL: from no page)? */
bool origin_may_post(const origin_policy *p, const char *origin, const char *host);

/* Does an address of --listen take connections from this machine only? */
bool origin_is_loopback(const char *listen);

#endif
