/* http_request.c - one request: its body, its answer or stream, and who still holds it.
 *
 * MHD's callbacks begin and end it, a handler answers it in between, in the same turn of the
 * loop or in a later one; until then its connection is suspended.
 *
 * A handler may learn late that nobody waits any more. Until it lets go, whatever it says is
 * dropped (http_is_gone): the client hung up (gone), was answered in the handler's place
 * (settled: refused, or out of time), or there was no memory for the answer (starved). */
#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/epoll.h>
#include <sys/socket.h>

#include "engine/clock.h"
#include "server/http/http_state.h"
#include "server/http/wire_error.h"
#include "server/http/wire_form.h"

enum { STREAM_BLOCK = 16384 };

static const char ping_comment[] = ": ping\n\n";

/* --- memory --- */

http_request *http_request_new(http *h, http_connection *c, struct MHD_Connection *mhd)
{
    http_request *r = calloc(1, sizeof *r);

    if (!r) return NULL;
    r->http = h;
    r->connection = c;
    r->mhd = mhd;
    r->attached = true;
    r->arrived_ns = clock_ns();
    return r;
}

static void request_free(http_request *r)
{
    if (r->response) MHD_destroy_response(r->response);
    for (size_t i = 0; i < r->n_headers; i++) {
        free(r->headers[i].name);
        free(r->headers[i].value);
    }
    free(r->method);
    free(r->path);
    free(r->body);
    free(r->error.param);
    free(r->error.message);
    free(r->out);
    free(r);
}

/* Make room for n more bytes past `end`, and for a NUL. Doubling, so that a body that comes in
 * crumbs is copied twice at most; the quarter keeps the doubled size from wrapping. */
static bool reserve(char **bytes, size_t *room, size_t end, size_t n)
{
    size_t want = *room ? *room : 1024;
    char *grown;

    if (n >= SIZE_MAX / 4 - end) return false;
    if (end + n + 1 <= *room) return true;
    while (want < end + n + 1) want *= 2;
    grown = realloc(*bytes, want);
    if (!grown) return false;
    *bytes = grown;
    *room = want;
    return true;
}

/* Copies: the answer's text is the library's by the time that the request is logged. */
void http_note_error(http_request *r, const char *code, const char *param, const char *message)
{
    free(r->error.param);
    free(r->error.message);
    r->error = (http_error){code, param ? strdup(param) : NULL, strdup(message)};
}

/* --- the request comes in --- */

bool http_request_begin(http_request *r, const char *method, const char *path, bool modern)
{
    r->method = strdup(method);
    r->path = strdup(http_head_path(path));
    if (!r->method || !r->path) {
        free(r->method); /* with neither it is not listed as finished */
        r->method = NULL;
        return false;
    }
    http_head_id(r);
    r->keeps_alive = modern && !http_head_says_close(r->mhd);
    return true;
}

/* A chunked body says its size only by ending: once over the limit the rest is dropped, and
 * 413 follows, because MHD takes no answer in the middle of an upload. */
void http_request_collect(http_request *r, const char *bytes, size_t n)
{
    if (r->chunked) http_upload_progress(r->connection);
    if (r->refused) return;
    if (n > r->http->options.max_body_bytes - r->body_bytes)
        r->refused = &http_refuse_too_large;
    else if (!reserve(&r->body, &r->body_room, r->body_bytes, n))
        r->refused = &http_refuse_memory;
    if (r->refused) return;
    memcpy(r->body + r->body_bytes, bytes, n);
    r->body_bytes += n;
    r->body[r->body_bytes] = '\0';
}

void http_request_dispatch(http_request *r)
{
    r->dispatched = true;
    r->connection->deadline_ns = 0;
    r->http->n_requests++;
    if (r->refused) {
        http_request_refuse(r, r->refused);
        return;
    }
    r->held = true;
    r->http->options.dispatch(r);
    assert(!r->held || r->kept); /* it answered, or called http_hold */
}

void http_hold(http_request *r, void (*gone)(http_request *r), void *user)
{
    r->kept = true;
    r->on_gone = gone;
    r->user = user;
}

/* --- suspend and resume --- */

/* MHD watches no suspended connection: a set of our own tells of hang-ups. Not EPOLLIN,
 * which pipelined requests would fire. A half-closed connection counts as gone. */
static void suspend(http_request *r)
{
    struct epoll_event e = {.events = EPOLLRDHUP | EPOLLONESHOT, .data.ptr = r->connection};

    assert(!r->suspended && !r->http->closing);
    MHD_suspend_connection(r->mhd);
    r->suspended = true;
    r->watched = epoll_ctl(r->http->watch_fd, EPOLL_CTL_ADD, r->connection->fd, &e) == 0;
}

static void unwatch(http_request *r)
{
    if (r->watched) epoll_ctl(r->http->watch_fd, EPOLL_CTL_DEL, r->connection->fd, NULL);
    r->watched = false;
}

void http_request_wake(http_request *r)
{
    if (!r->mhd || !r->suspended) return;
    unwatch(r);
    r->suspended = false;
    MHD_resume_connection(r->mhd);
    http_stir(r->http);
}

enum MHD_Result http_request_proceed(http_request *r)
{
    enum MHD_Result queued;

    if (r->gone) return MHD_NO;
    if (r->starved) return http_page_queue(r->mhd, HTTP_STARVED_STATUS, r->http->starved);
    if (!r->response) {
        suspend(r);
        return MHD_YES;
    }
    queued = http_page_queue(r->mhd, (unsigned)r->status, r->response);
    MHD_destroy_response(r->response); /* MHD has its own reference */
    r->response = NULL;
    return queued;
}

/* --- letting go --- */

/* Once at most, and never after the answer: the handler's memory may be gone by then. */
static void notify_gone(http_request *r)
{
    void (*gone)(http_request *) = r->on_gone;

    r->on_gone = NULL;
    if (r->held && gone) gone(r);
}

void http_request_lost(http_request *r)
{
    if (r->gone) return;
    r->gone = true;
    if (r->streaming && r->connection) shutdown(r->connection->fd, SHUT_RDWR); /* see reader */
    http_request_wake(r);
    notify_gone(r);
}

void http_request_detach(http_request *r)
{
    unwatch(r);
    /* Unwatched first: MHD closes the descriptor next; its number may be another's at once. */
    if (r->dispatched) r->http->n_requests--;
    if (r->held && !http_is_gone(r)) http_request_lost(r);
    r->mhd = NULL;
    r->connection = NULL;
    r->attached = false;
    if (!r->held) request_free(r);
}

static void release(http_request *r)
{
    assert(r->held);
    r->held = false;
    if (r->attached)
        http_request_wake(r);
    else
        request_free(r);
}

/* --- the answer goes out --- */

void http_add_header(http_request *r, const char *name, const char *value)
{
    char *copy[2];

    assert(r->n_headers < HTTP_MAX_HEADERS);
    if (http_is_gone(r)) return;
    copy[0] = strdup(name);
    copy[1] = strdup(value);
    if (!copy[0] || !copy[1]) { /* an answer without Retry-After is better than none */
        free(copy[0]);
        free(copy[1]);
        return;
    }
    r->headers[r->n_headers].name = copy[0];
    r->headers[r->n_headers].value = copy[1];
    r->n_headers++;
}

/* False: not even the content's type. Of the others clients have no need. */
static bool add_own_headers(http_request *r, const char *content_type)
{
    const http *h = r->http;
    char keep[32];

    if (content_type &&
        MHD_add_response_header(r->response, "Content-Type", content_type) != MHD_YES)
        return false;
    MHD_add_response_header(r->response, "x-request-id", r->id);
    if (h->draining || (r->refused && r->refused->early)) {
        MHD_add_response_header(r->response, "Connection", "close");
    } else if (r->keeps_alive) {
        snprintf(keep, sizeof keep, "timeout=%u", h->options.idle_seconds);
        MHD_add_response_header(r->response, "Keep-Alive", keep);
    }
    if (r->events) {
        MHD_add_response_header(r->response, "Cache-Control", "no-cache");
        /* nginx would gather events until a buffer of it is full. */
        MHD_add_response_header(r->response, "X-Accel-Buffering", "no");
    }
    return true;
}

/* `made` becomes the answer; NULL: out of memory. */
static void set_response(http_request *r, struct MHD_Response *made, int status,
                         const char *content_type)
{
    r->response = made;
    r->status = status;
    if (!made || !add_own_headers(r, content_type)) {
        if (made) MHD_destroy_response(made);
        r->response = NULL;
        r->status = HTTP_STARVED_STATUS;
        r->starved = true;
        return;
    }
    for (size_t i = 0; i < r->n_headers; i++)
        MHD_add_response_header(made, r->headers[i].name, r->headers[i].value);
}

/* Takes body. NULL, which only what has no type may be without: it could not be made. */
static struct MHD_Response *whole(char *body, size_t n, const char *content_type)
{
    struct MHD_Response *made;

    if (!body && content_type) return NULL;
    if (!body) return MHD_create_response_from_buffer(0, "", MHD_RESPMEM_PERSISTENT);
    made = MHD_create_response_from_buffer(n, body, MHD_RESPMEM_MUST_FREE);
    if (!made) free(body);
    return made;
}

static void answer_object(http_request *r, char *body, int status)
{
    static const char json[] = "application/json";

    set_response(r, whole(body, body ? strlen(body) : 0, json), status, json);
}

void http_answer(http_request *r, int status, const char *content_type, char *body, size_t n)
{
    assert(r->held && !r->streaming);
    if (http_is_gone(r))
        free(body);
    else
        set_response(r, whole(body, n, content_type), status, content_type);
    release(r);
}

void http_request_refuse(http_request *r, const http_refusal *why)
{
    const char *type = why->status < 500 ? "invalid_request_error" : "server_error";
    char *body = wire_form_of(r->path)->body(why->status, type, why->code, NULL, why->message);

    r->settled = true; /* no handler has seen it, and none will */
    http_note_error(r, why->code, NULL, why->message);
    answer_object(r, body, why->status);
}

/* --- streams --- */

/* MHD asks for bytes. It must never be told 0 without a suspend: it would spin. And it must
 * not be told END_WITH_ERROR of a connection that was just resumed: 0.9.75 completes the
 * request and then forgets to close it until the idle timeout. A stream that nobody reads
 * ends plainly instead, on a socket that is shut already, so that sending fails. */
static ssize_t reader(void *cls, uint64_t position, char *out, size_t max)
{
    http_request *r = cls;
    size_t n = r->out_end - r->out_from;

    (void)position;
    if (r->gone) return MHD_CONTENT_READER_END_OF_STREAM;
    if (n == 0 && r->ended) return MHD_CONTENT_READER_END_OF_STREAM;
    if (n == 0) {
        suspend(r);
        return 0;
    }
    if (n > max) n = max;
    memcpy(out, r->out + r->out_from, n);
    r->out_from += n;
    return (ssize_t)n;
}

static err append(http_request *r, const char *bytes, size_t n)
{
    const size_t left = r->out_end - r->out_from;

    /* To the front first: the buffer grows with what the client has not read yet, not with what
     * it was ever sent. */
    if (r->out_from) {
        if (left) memmove(r->out, r->out + r->out_from, left);
        r->out_from = 0;
        r->out_end = left;
    }
    if (!reserve(&r->out, &r->out_room, left, n)) return ERR_NOMEM;
    memcpy(r->out + left, bytes, n);
    r->out_end += n;
    http_request_wake(r);
    return ERR_OK;
}

void http_stream_begin(http_request *r, int status, const char *content_type)
{
    static const char event_stream[] = "text/event-stream";

    assert(r->held && !r->streaming);
    if (http_is_gone(r)) return;
    r->streaming = true;
    r->events = strncasecmp(content_type, event_stream, sizeof event_stream - 1) == 0;
    r->written_ns = clock_ns();
    set_response(
        r, MHD_create_response_from_callback(MHD_SIZE_UNKNOWN, STREAM_BLOCK, reader, r, NULL),
        status, content_type);
    http_request_wake(r);
}

/* ERR_NOMEM loses an event in the middle: the caller ends the stream, as it does with a client
 * that is gone. */
err http_stream_write(http_request *r, const char *bytes, size_t n)
{
    if (http_is_gone(r)) return ERR_CANCELED;
    assert(r->held && r->streaming);
    r->written_ns = clock_ns();
    return append(r, bytes, n);
}

size_t http_stream_backlog(const http_request *r)
{
    return r->out_end - r->out_from;
}

/* What is still in the buffer goes out first: the reader ends the stream when it is empty. */
void http_stream_end(http_request *r)
{
    r->ended = true;
    release(r);
}

void http_request_ping(http_request *r, uint64_t now_ns)
{
    /* Behind a backlog a comment tells nothing: bytes are on their way already. */
    if (!r->events || !r->held || http_is_gone(r) || http_stream_backlog(r)) return;
    r->written_ns = now_ns;
    append(r, ping_comment, sizeof ping_comment - 1);
}

static void end_with_event(http_request *r, const char *body)
{
    const wire_form *form = wire_form_of(r->path);

    if (body && append(r, form->open, strlen(form->open)) == ERR_OK &&
        append(r, body, strlen(body)) == ERR_OK)
        append(r, form->close, strlen(form->close));
    r->ended = true;
}

void http_request_expire(http_request *r)
{
    static const char message[] = "The request took too long.";
    const wire_error row = wire_error_for(ERR_TIMEOUT);
    char *body = wire_form_of(r->path)->body(row.status, row.type, row.code, NULL, message);

    http_note_error(r, row.code, NULL, message);
    if (r->streaming) {
        end_with_event(r, body);
        free(body);
    } else {
        http_add_header(r, "x-should-retry", "false"); /* it would take as long again */
        answer_object(r, body, row.status);
    }
    /* Last: until here headers and events are taken as if a handler gave them. */
    r->settled = true;
    http_request_wake(r);
    notify_gone(r);
}
