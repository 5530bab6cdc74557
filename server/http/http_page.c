/* http_page.c - the error pages that libmicrohttpd makes itself, as JSON.
 *
 * What is no HTTP (a line without a version, headers larger than their memory, a length that is
 * no number) never reaches a handler: the library answers, with HTML, and 0.9.75 has no hook
 * for it. But it does so through its own public MHD_queue_response, found like any symbol of a
 * shared library: the one below stands before it. Answers of ours go past it, to the library's.
 * Where a build resolves the call otherwise, its pages stay HTML and nothing else changes.
 *
 * The page itself goes past the library: after some errors (a length that is no number, a
 * cookie of too many parts) 0.9.75 goes on as if nothing had been queued, makes the head of its
 * page a second time and sends both. What it sends then fails, because our side of the socket
 * is shut. */
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "server/http/http_state.h"
#include "server/http/tls.h"
#include "server/http/wire_error.h"
#include "server/log.h"

typedef enum MHD_Result queue_response(struct MHD_Connection *c, unsigned status,
                                       struct MHD_Response *response);

/* ISO C has no conversion from an object's address to a function's; POSIX copies the bytes. */
static queue_response *library_queue(void)
{
    void *const found = dlsym(RTLD_NEXT, "MHD_queue_response");
    queue_response *f;

    memcpy(&f, &found, sizeof f);
    return f;
}

enum MHD_Result http_page_queue(struct MHD_Connection *c, unsigned status,
                                struct MHD_Response *response)
{
    return library_queue()(c, status, response);
}

static const char *sentence_of(unsigned status)
{
    switch (status) {
    case 413:
        return "The request is too large.";
    case 414:
        return "The URL is too long.";
    case 431:
        return "The request's headers are too large.";
    case 501:
        return "The transfer coding is not supported.";
    case 505:
        return "The HTTP version is not supported.";
    default:
        return status >= 500 ? "The request cannot be served." : "The request is no HTTP.";
    }
}

static char *body_of(int status, const char *code, const char *message)
{
    const char *type = status >= 500 ? "server_error" : "invalid_request_error";

    return wire_error_body(type, code, NULL, message);
}

struct MHD_Response *http_page_starved(void)
{
    static char body[] = "{\"error\":{\"message\":\"Out of memory.\",\"type\":\"server_error\","
                         "\"param\":null,\"code\":\"server_is_overloaded\"}}";
    struct MHD_Response *page = MHD_create_response_from_buffer(sizeof body - 1, body,
                                                                MHD_RESPMEM_PERSISTENT);

    if (page && MHD_add_response_header(page, "Content-Type", "application/json") == MHD_YES &&
        MHD_add_response_header(page, "Retry-After", "5") == MHD_YES &&
        MHD_add_response_header(page, "Connection", "close") == MHD_YES)
        return page;
    if (page) MHD_destroy_response(page);
    return NULL;
}

static void *tls_session_of(struct MHD_Connection *c)
{
    const union MHD_ConnectionInfo *i = NULL;

    if (c) i = MHD_get_connection_info(c, MHD_CONNECTION_INFO_GNUTLS_SESSION);
    return i ? i->tls_session : NULL;
}

void http_page_send(int fd, struct MHD_Connection *c, const http_refusal *why,
                    const char *header)
{
    void *session = tls_session_of(c);
    char *body = body_of(why->status, why->code, why->message), text[1024];
    const int n = snprintf(text, sizeof text,
                           "HTTP/1.1 %d %s\r\nContent-Type: application/json\r\n%s"
                           "Connection: close\r\nContent-Length: %zu\r\n\r\n%s",
                           why->status, MHD_get_reason_phrase_for((unsigned)why->status),
                           header, body ? strlen(body) : 0, body ? body : "");

    free(body);
    if (n < 0 || (size_t)n >= sizeof text) return;
    if (session)
        tls_send_last(session, text, (size_t)n);
    else
        (void)!send(fd, text, (size_t)n, MSG_DONTWAIT | MSG_NOSIGNAL);
}

/* A request that has its first words is listed as finished, with this status; of another there
 * is nothing to list. */
void http_page_note(http_connection *c, const http_refusal *why)
{
    http_request *r = c->request;

    if (r && r->method) {
        r->status = why->status;
        http_note_error(r, why->code, NULL, why->message);
    } else {
        log_line(LOG_INFO, "request", "status", LOG_INT(why->status), "code",
                 LOG_TEXT(why->code), "message", LOG_TEXT(why->message), NULL);
    }
}

/* Called by the library, for an error page. */
enum MHD_Result MHD_queue_response(struct MHD_Connection *c, unsigned status,
                                   struct MHD_Response *page)
{
    http_connection *connection = http_connection_of(c);
    const http_refusal why = {(int)status, NULL, sentence_of(status), true};

    if (connection) {
        connection->lingers = true;
        http_page_send(connection->fd, c, &why, "");
        http_page_note(connection, &why);
        shutdown(connection->fd, SHUT_WR);
    }
    return http_page_queue(c, status, page);
}
