/* listeners.c - opens the API's listener and the one for operators.
 *
 * All that can be wrong with their options is found before a socket is bound. Descriptors are
 * counted once, here: a server that runs out of them later drops connections at random. */
#include "server/api/listeners.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

#include "server/api/dispatch.h"
#include "server/http/address.h"
#include "server/http/tls.h"

enum {
    ADMIN_CONNECTIONS = 128,
    ADMIN_BODY_BYTES = 64 * 1024, /* operators send no prompts */
    OTHER_FILES = 64,             /* model, plans, epoll sets, what lingers */
    LEAST_CONNECTIONS = 8,        /* fewer are no server */
    WHY_BYTES = 512,
};

static int complain(const char *option, const char *value, const char *why)
{
    fprintf(stderr, "xquantd: --%s %s: %s\n", option, value, why);
    return 1;
}

/* --- options --- */

/* Octal, as chmod has it: 660 and 0660 are the same. */
static int read_mode(const char *text, unsigned *out)
{
    char *end;
    const unsigned long mode = strtoul(text, &end, 8);

    if (!*text || *end || mode > 0777)
        return complain("unix-mode", text, "is no mode like 0660");
    *out = (unsigned)mode;
    return 0;
}

static int read_proxies(const config *c, peer_set *out)
{
    const char *wrong = peer_set_parse(out, c->trusted_proxies);

    if (!wrong) return 0;
    return complain("trusted-proxies", wrong, "is no address or network, or is one too many");
}

/* One without the other would be served in the clear, or not at all. */
static int read_certificate(const config *c)
{
    char why[WHY_BYTES];

    if (!*c->tls_cert != !*c->tls_key)
        return complain(*c->tls_cert ? "tls-cert" : "tls-key",
                        *c->tls_cert ? c->tls_cert : c->tls_key,
                        "takes --tls-cert and --tls-key together");
    if (!*c->tls_cert || tls_load(c->tls_cert, c->tls_key, why, sizeof why) == ERR_OK) return 0;
    fprintf(stderr, "xquantd: %s\n", why);
    return 1;
}

static int read_keys(server *s)
{
    char *wrong;

    if (!*s->config->api_key_file) return 0;
    wrong = keys_open(&s->keys, s->config->api_key_file);
    if (!wrong) return 0;
    fprintf(stderr, "xquantd: %s\n", wrong);
    free(wrong);
    return 1;
}

/* Each listener has its own: the admin one may be open to a network while the API is not. */
static origin_policy origins_of(const config *c, const char *listen)
{
    return (origin_policy){.allowed_hosts = c->allowed_hosts,
                           .cors_origins = c->cors_origin,
                           .loopback = origin_is_loopback(listen)};
}

/* --- descriptors --- */

/* As many connections as there are descriptors for, of those asked for; 0: too few to serve. */
static unsigned affordable_connections(unsigned wanted)
{
    struct rlimit limit;
    rlim_t rest;

    if (getrlimit(RLIMIT_NOFILE, &limit)) return wanted;
    /* Up to the hard limit, which an administrator has set; the soft one is 1024 for the sake
     * of programs that use select(). */
    limit.rlim_cur = limit.rlim_max;
    setrlimit(RLIMIT_NOFILE, &limit);
    if (getrlimit(RLIMIT_NOFILE, &limit) || limit.rlim_cur == RLIM_INFINITY) return wanted;
    rest = limit.rlim_cur > OTHER_FILES + ADMIN_CONNECTIONS
               ? limit.rlim_cur - OTHER_FILES - ADMIN_CONNECTIONS
               : 0;
    if (rest >= wanted) return wanted;
    if (rest < LEAST_CONNECTIONS) {
        fprintf(stderr,
                "xquantd: %llu open files are too few to serve (ulimit -n): %d are needed\n",
                (unsigned long long)limit.rlim_cur,
                OTHER_FILES + ADMIN_CONNECTIONS + LEAST_CONNECTIONS);
        return 0;
    }
    log_line(LOG_WARN, "fewer connections than --max-connections: too few open files",
             "connections", LOG_INT(rest), "files", LOG_INT(limit.rlim_cur), NULL);
    return (unsigned)rest;
}

/* --- listening --- */

/* With the port that was really bound: 0 asks for any, and whoever starts us reads it here. */
static void log_listening(const char *name, const http *h, const char *address, bool tls)
{
    const char *colon = strrchr(address, ':');
    const int host = address_is_unix(address) ? (int)strlen(address) : (int)(colon - address);
    char text[WHY_BYTES];

    snprintf(text, sizeof text, "%.*s", host, address);
    log_line(LOG_INFO, "listening", "listener", LOG_TEXT(name), "address", LOG_TEXT(text),
             "port", LOG_INT(http_port(h)), "tls", LOG_TEXT(tls ? "on" : NULL), NULL);
}

static int listen_on(server *s, http **out, const char *name, http_options o)
{
    err e;

    o.idle_seconds = (unsigned)s->config->idle_timeout;
    o.read_seconds = (unsigned)s->config->read_timeout;
    o.server = s;
    e = http_open(out, s->loop, &o);
    if (e) {
        /* errno from the address alone, for http_open does more after it; a form that is none
         * is told apart from one that is taken */
        fprintf(stderr, "xquantd: cannot listen on %s: %s\n", o.listen,
                e != ERR_ADDRESS  ? err_text(e)
                : errno == EINVAL ? "it is none of " ADDRESS_FORMS
                                  : strerror(errno));
        return 1;
    }
    log_listening(name, *out, o.listen, o.tls);
    return 0;
}

/* The admin listener takes no TLS and no keys: it is for the machine or the cluster itself. */
static int open_sockets(server *s, unsigned mode, unsigned connections,
                        void (*finished)(http_request *r))
{
    const config *c = s->config;
    const http_options api = {.listen = c->listen,
                              .unix_mode = mode,
                              .tls = *c->tls_cert,
                              .max_body_bytes = (size_t)c->max_body_size,
                              .connections = connections,
                              .trusted_proxies = &s->proxies,
                              .request_seconds = (unsigned)c->request_timeout,
                              .dispatch = dispatch_api,
                              .finished = finished};
    const http_options admin = {.listen = c->admin_listen,
                                .unix_mode = mode,
                                .max_body_bytes = ADMIN_BODY_BYTES,
                                .connections = ADMIN_CONNECTIONS,
                                .dispatch = dispatch_admin,
                                .finished = finished};

    if (listen_on(s, &s->api, "api", api)) return 1;
    if (strcmp(c->admin_listen, "off") == 0) return 0;
    return listen_on(s, &s->admin, "admin", admin);
}

int listeners_open(server *s, void (*finished)(http_request *r))
{
    const config *c = s->config;
    unsigned mode, connections;

    if (read_mode(c->unix_mode, &mode) || read_proxies(c, &s->proxies) || read_keys(s) ||
        read_certificate(c))
        return 1;
    connections = affordable_connections((unsigned)c->max_connections);
    if (!connections) return 1;
    s->origins = origins_of(c, c->listen);
    s->admin_origins = origins_of(c, c->admin_listen);
    return open_sockets(s, mode, connections, finished);
}

void listeners_close(server *s)
{
    http_close(s->api);
    http_close(s->admin);
    keys_close(s->keys);
    tls_free();
}

/* A file that is being written when the signal comes is refused as a whole, never half taken.
 */
static void reload_keys(server *s)
{
    char *wrong = s->keys ? keys_reload(s->keys) : NULL;

    if (wrong)
        log_line(LOG_ERROR, "the API keys stay as they were", "reason", LOG_TEXT(wrong), NULL);
    else if (s->keys)
        log_line(LOG_INFO, "API keys read", "keys", LOG_INT(keys_count(s->keys)), NULL);
    free(wrong);
}

void listeners_reload(server *s)
{
    const config *c = s->config;
    char why[WHY_BYTES];

    reload_keys(s);
    if (!*c->tls_cert) return;
    if (tls_load(c->tls_cert, c->tls_key, why, sizeof why))
        log_line(LOG_ERROR, "the certificate stays as it was", "reason", LOG_TEXT(why), NULL);
    else
        log_line(LOG_INFO, "certificate read", "file", LOG_TEXT(c->tls_cert), NULL);
}
