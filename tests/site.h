/* site.h - a real listener on a real loop, with stand-in routes, and clients that are raw
 * sockets: for tests of http. Server and clients share the test's thread, so whatever waits
 * here also lets the server run. A check that fails in here fails the test.
 *
 *   site *s = site_open();
 *   client *c = client_hold(s, SITE_GET("/hold"));
 *
 *   site_answer(s, 0, "late");
 *   client_hear(c, "late");
 *   client_close(c);
 *   site_close(s);
 */
#ifndef TESTS_SITE_H
#define TESTS_SITE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <uv.h>

#include "engine/err.h"
#include "server/http/http.h"
#include "tests/test.h"

enum {
    SITE_MAX_HELD = 8,
    SITE_BODY_LIMIT = 100000,
    SITE_IDLE_S = 120,
    SITE_READ_S = 30,
    SITE_REQUEST_S = 600,
    SITE_PATIENCE_S = 20,
    CLIENT_BYTES = 1 << 16
};

/* A whole request without a body, on a connection that stays open. */
#define SITE_GET(path) "GET " path " HTTP/1.1\r\nHost: x\r\n\r\n"

/* --- the server's side --- */

/* What the stand-in handlers saw, and the requests they keep, in order of arrival. */
typedef struct site {
    uv_loop_t loop;
    http *http;
    http_request *held[SITE_MAX_HELD];
    int n_held, n_dispatched, n_gone, n_finished, last_status;
    int n_smuggled; /* requests for /smuggled */
} site;

/* Listen on a free port. /hold keeps the request; /stream keeps it and begins an event
 * stream; /echo answers with the body; any other path answers `hello` at once. */
site *site_open(void);

/* The same with handlers of the caller's, who gets `server` back from http_server. */
site *site_open_for(void *server, void (*dispatch)(http_request *),
                    void (*finished)(http_request *));

/* site_open's with options of the caller's; what they leave 0 is as usual here. */
site *site_open_with(http_options o);

/* Close the listener and check that nothing is left on the loop. site_shut leaves s to the
 * caller, to look at and to free. */
void site_shut(site *s);
void site_close(site *s);

/* Let the server do what it can, then wait 2 ms for it or for a client's socket (or -1). */
void site_turn(site *s, int fd);

/* Turn until the condition holds; when patience is over the check fails. */
#define SITE_AWAIT(site_, fd_, cond)                                                \
    do {                                                                            \
        const uint64_t end_ = uv_hrtime() + SITE_PATIENCE_S * (uint64_t)1000000000; \
        while (!(cond) && uv_hrtime() < end_) site_turn((site_), (fd_));            \
        CHECK(cond);                                                                \
    } while (0)

/* The tick that comes `seconds` from now. */
void site_tick(site *s, unsigned seconds);

/* Answer the i-th held request with a text, or write the text into its stream. */
void site_answer(site *s, int i, const char *text);
err site_write(site *s, int i, const char *text);

/* Check that a request of a fresh client is answered. */
void site_check_serves(site *s);

/* --- the clients' side --- */

typedef struct client {
    site *site;
    int fd; /* -1: it left */
    char got[CLIENT_BYTES];
    size_t n;    /* bytes got, a NUL behind them */
    bool closed; /* by the server */
} client;

/* How a client may leave. */
typedef enum client_exit {
    CLIENT_CLOSES,
    CLIENT_RESETS,
    CLIENT_STOPS_SENDING,
    CLIENT_EXITS /* how many there are */
} client_exit;

/* A connected socket, or -1; to hang up hard is to send a reset. From any thread. */
int client_connect(unsigned port);
int client_connect_from(uint32_t address, unsigned port); /* a loopback one, 0x7f000002 */
void client_hang_up(int fd, bool hard);

/* Connect; the caller closes, before or after the site. */
client *client_open(site *s);
client *client_open_from(site *s, uint32_t address);
void client_close(client *c);

/* Connect and send a request that the site holds; back when it does. */
client *client_hold(site *s, const char *request);

/* Connect and send a request; back with all that came until the server closed. */
client *client_ask(site *s, const char *request);

/* Connect and announce a body of three bytes to /echo; back when the server asks for it. */
client *client_announce(site *s);

/* Send; what the server does not want because it closed is dropped. False: some was. */
void client_say(client *c, const char *text);
bool client_say_bytes(client *c, const char *bytes, size_t n);

/* Take what has arrived, if anything has. */
void client_listen(client *c);

/* Listen until the text is among what was got, or until the server closes. */
void client_hear(client *c, const char *text);
void client_hear_end(client *c);

/* Drop what was got. */
void client_forget(client *c);

void client_leave(client *c, client_exit how);

#endif
