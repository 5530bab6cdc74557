/* origin.c - which hosts and origins a request may name. */
#include "server/api/origin.h"

#include <stddef.h>
#include <string.h>
#include <strings.h>

/* Names of this machine that no one else can have, by RFC 6761 and RFC 1122. */
static const char loopback_hosts[] = "localhost, *.localhost, 127.0.0.1, [::1]";

/* Is the text of n bytes the entry, or below it where that is *.entry? */
static bool matches(const char *entry, size_t entry_bytes, const char *text, size_t n)
{
    if (entry_bytes > 2 && strncmp(entry, "*.", 2) == 0) {
        entry++, entry_bytes--; /* ".entry" */
        return n > entry_bytes && strncasecmp(text + n - entry_bytes, entry, entry_bytes) == 0;
    }
    return n == entry_bytes && strncasecmp(text, entry, n) == 0;
}

static bool list_has(const char *list, const char *text, size_t n)
{
    while (list && *(list += strspn(list, " ,"))) {
        const size_t entry = strcspn(list, " ,");

        if (matches(list, entry, text, n)) return true;
        list += entry;
    }
    return false;
}

/* The length of a host without its port; the colons of an IPv6 address are within brackets. */
static size_t host_bytes(const char *host)
{
    const char *bracket = *host == '[' ? strchr(host, ']') : NULL;

    return bracket ? (size_t)(bracket + 1 - host) : strcspn(host, ":");
}

/* A page whose name is made to point at 127.0.0.1 (DNS rebinding) still sends its own name as
 * the host: on loopback only names of this machine are let in. */
bool origin_host_is_allowed(const origin_policy *p, const char *host)
{
    const char *list = p->allowed_hosts ? p->allowed_hosts : "";

    if (!*list && !p->loopback) return true;
    if (strcmp(list, "all") == 0) return true;
    if (!host) return !*list; /* HTTP/1.0: no browser of today */
    return list_has(*list ? list : loopback_hosts, host, host_bytes(host));
}

bool origin_is_listed(const origin_policy *p, const char *origin)
{
    if (!origin) return false;
    return list_has(p->cors_origins, origin, strlen(origin)) ||
           list_has(p->cors_origins, "*", 1);
}

bool origin_may_post(const origin_policy *p, const char *origin, const char *host)
{
    const char *authority;

    if (!origin || origin_is_listed(p, origin)) return true;
    /* Our own page. The scheme is left out: behind a proxy the origin says https, and we do not
     * know it. */
    authority = strstr(origin, "://");
    return authority && host && strcasecmp(authority + 3, host) == 0;
}

bool origin_is_loopback(const char *listen)
{
    return strncmp(listen, "127.", 4) == 0 || strncmp(listen, "[::1]", 5) == 0 ||
           strncasecmp(listen, "localhost:", 10) == 0;
}
