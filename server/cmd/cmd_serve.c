/* cmd_serve.c - `xquantd serve`: the daemon. It logs what memory it will take before it takes
 * it, so that a process which is killed while it starts has said why. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "engine/template/chat.h"
#include "server/api/daemon.h"
#include "server/cmd/command.h"
#include "server/http/address.h"
#include "server/log.h"

extern char **environ;

enum { HEALTH_SECONDS = 5 };

/* The admin listener keeps room for probes when the API's connections are all taken, and speaks
 * no TLS. */
static const char *health_address(const config *c)
{
    return strcmp(c->admin_listen, "off") == 0 ? c->listen : c->admin_listen;
}

/* --healthcheck: is the server that these options describe ready? For containers. */
static int check_health(const config *c)
{
    static const char request[] =
        "GET /readyz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
    static const char want[] = "HTTP/1.1 200 ";
    char got[sizeof want - 1];
    bool ok;
    int fd;

    if (address_connect(health_address(c), HEALTH_SECONDS, &fd)) return 1;
    ok = send(fd, request, sizeof request - 1, MSG_NOSIGNAL) == (ssize_t)sizeof request - 1 &&
         recv(fd, got, sizeof got, MSG_WAITALL) == (ssize_t)sizeof got &&
         memcmp(got, want, sizeof got) == 0;
    close(fd);
    return ok ? 0 : 1;
}

/* What is wrong with the model file's templates is said once, and not only to whoever chats. */
static void say_templates(const chat_setup *s)
{
    const char *name, *problem;

    if (*s->file_problem)
        log_line(LOG_WARN, "chat template", "problem", LOG_TEXT(s->file_problem), "instead",
                 LOG_TEXT(s->plain ? "plain lines" : "chats are refused"), NULL);
    for (size_t i = 0; (name = chat_name(s->templates, i, &problem)); i++)
        if (problem)
            log_line(LOG_WARN, "chat template", "name", LOG_TEXT(name), "problem",
                     LOG_TEXT(problem), NULL);
}

/* On a thread of its own, while the listeners say that the model is being loaded. */
static err load(runtime *r, const config *c, char *what, size_t n)
{
    char path[COMMAND_PATH];
    err e = command_locate_model(c, path, sizeof path, what, n);

    if (!e) e = runtime_begin(r, c, path, what, n);
    if (e) return e;
    log_line(LOG_INFO, "memory", "needs", LOG_TEXT(r->memory), NULL);
    say_templates(&r->chat);
    return runtime_finish(r, c, what, n);
}

static int serve(const config *c)
{
    runtime r = {0};
    int code;

    if (*c->log_file && log_open(c->log_file)) {
        fprintf(stderr, "xquantd: %s: %s\n", c->log_file, strerror(errno));
        return 1;
    }
    log_setup(c->log_format, c->log_level);
    code = daemon_run(c, &r, load);
    runtime_close(&r);
    return code;
}

/* Not through command_run: --print-config and --healthcheck open no model, and need no log. */
int cmd_serve(int argc, char **argv)
{
    config c;
    char *wrong = config_load(&c, CONFIG_SERVE, argc, argv, environ);
    int code = 0;

    if (wrong) {
        fprintf(stderr, "xquantd: %s\n", wrong);
        free(wrong);
        return 2;
    }
    if (c.print_config)
        config_print(stdout, &c, CONFIG_SERVE);
    else
        code = c.healthcheck ? check_health(&c) : serve(&c);
    config_free(&c);
    return code;
}
