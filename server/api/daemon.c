/* daemon.c - the daemon: opens what it needs on one loop, serves, drains, closes.
 *
 * Draining, after SIGTERM or SIGINT: readiness is 503 at once, the API takes no connection
 * and no new work, what waits is answered 503, what runs has --shutdown-timeout to end and
 * is canceled then. The admin listener answers until the end. */
#include "server/api/daemon.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "engine/clock.h"
#include "engine/kern/cpu.h"
#include "server/api/listeners.h"
#include "server/api/notify.h"
#include "server/api/response_store.h"
#include "server/api/server.h"

enum {
    TOKENIZE_THREADS = 2,
    TICK_MS = 1000,
    DRAIN_TICK_MS = 20,
    KEPT_POOLS = 4,
    WHAT_BYTES = 1024,
};

static const uint64_t second_ns = 1000000000u;
static const uint64_t flush_ns = 2000000000u; /* for the last answers of a canceled drain */

typedef struct daemon_state {
    server s; /* what handlers see */
    struct {
        daemon_load *run;
        uv_thread_t thread;
        uv_async_t done; /* sent by the thread when e and what are set */
        bool running;
        err e;
        char what[WHAT_BYTES];
    } load;
    int code; /* the process's exit code */
    uv_loop_t loop;
    uv_signal_t term, interrupt, hangup, usr1;
    uv_timer_t tick;
    bool serving; /* those five and load.done are open */
    bool canceled;
    bool looking; /* at the sessions */
    uint64_t cancel_ns, stop_ns;
} daemon_state;

/* --- what a finished request leaves behind --- */

static const char *method_label(const char *method)
{
    static const char *const known[] = {"GET", "HEAD", "POST", "DELETE", "OPTIONS"};

    for (size_t i = 0; i < sizeof known / sizeof *known; i++)
        if (strcmp(method, known[i]) == 0) return known[i];
    return "other";
}

/* Probes come every second: they are worth a line only to who debugs. 503 is ours on purpose. A
 * client's mistake is told wherever it was made, so that a wrong base URL can be found. */
static log_level level_of(const http_request *r, int status)
{
    if (status >= 500 && status != 503) return LOG_WARN;
    if (status >= 400 && status < 499) return LOG_INFO;
    return strncmp(http_path(r), "/v1/", 4) == 0 ? LOG_INFO : LOG_DEBUG;
}

/* Every request ends here, once, whoever answered it. 499 is nginx's word for a client that
 * left. */
static void on_finished(http_request *r)
{
    const server *s = http_server(r);
    const char *label = http_route(r) ? http_route(r) : "other";
    const int status = http_status(r) ? http_status(r) : 499; /* the client left */
    const double ms = clock_ms_between(http_arrived_ns(r), clock_ns());
    const http_error *said = http_answered_error(r);
    size_t body_bytes;

    http_body(r, &body_bytes);
    if (s->loaded) {
        metrics_count_http(s->metrics, label, method_label(http_method(r)), status);
        if (body_bytes) metrics_observe_body(s->metrics, body_bytes);
    }
    log_line(level_of(r, status), "request", "req_id", LOG_TEXT(http_id(r)), "method",
             LOG_TEXT(http_method(r)), "path", LOG_TEXT(http_path(r)), "status",
             LOG_INT(status), "total_ms", LOG_NUM(ms), "code", LOG_TEXT(said->code), "param",
             LOG_TEXT(said->param), "message", LOG_TEXT(said->message), NULL);
}

/* --- the end --- */

/* Only what serve opened: a start that failed has none of them. */
static void close_handles(daemon_state *d)
{
    if (!d->serving) return;
    uv_close((uv_handle_t *)&d->term, NULL);
    uv_close((uv_handle_t *)&d->interrupt, NULL);
    uv_close((uv_handle_t *)&d->hangup, NULL);
    uv_close((uv_handle_t *)&d->usr1, NULL);
    uv_close((uv_handle_t *)&d->tick, NULL);
    uv_close((uv_handle_t *)&d->load.done, NULL);
}

/* Tokenizing first: what it delivers may still go to the scheduler. Every request is
 * answered after that, so the listeners can close. Tolerates what was never opened. */
static void stop(daemon_state *d)
{
    server *s = &d->s;

    close_handles(d);
    workers_close(s->workers);
    sched_close(s->sched);
    guides_close(s->guides);
    listeners_close(s);
    sessions_close(s->sessions);
    response_store_close(s->responses);
}

/* Twice bounded: until --shutdown-timeout for answers, then two seconds for the last bytes of
 * those that were canceled. */
static void drain_further(daemon_state *d, uint64_t now_ns)
{
    const unsigned left = http_requests(d->s.api);

    if (left == 0 || (d->canceled && now_ns >= d->stop_ns)) {
        uv_stop(&d->loop);
    } else if (!d->canceled && now_ns >= d->cancel_ns) {
        log_line(LOG_WARN, "canceling what still runs", "requests", LOG_INT(left), NULL);
        d->canceled = true;
        d->stop_ns = now_ns + flush_ns;
        sched_cancel_all(d->s.sched);
    }
}

/* --- the loop's callbacks --- */

static void on_looked(void *user, err e)
{
    daemon_state *d = user;

    (void)e;
    d->looking = false;
}

/* For xquantd_sessions: which of them are hot. One look at a time. */
static void look_at_sessions(daemon_state *d)
{
    size_t hot;

    if (d->looking || !sessions_count(d->s.sessions, &hot)) return;
    d->looking = sessions_act(d->s.sessions, SESSION_LOOK, NULL, on_looked, d) == ERR_OK;
}

/* Once is enough: what was computed from another file is in the cache, so only a new start
 * helps, and a file that is put back changes nothing. */
static void watch_model(server *s)
{
    if (!runtime_file_changed(s->runtime)) return;
    s->changed = true;
    s->ready = false;
    log_line(LOG_ERROR, "the model's file has changed; answering 503 until the next start",
             "model", LOG_TEXT(s->runtime->model_path), NULL);
}

/* One timer for all deadlines: a second's precision, and none to stop. A drain ticks faster,
 * for it ends with the last request. */
static void on_tick(uv_timer_t *t)
{
    daemon_state *d = t->data;
    const uint64_t now_ns = clock_ns();

    http_tick(d->s.api, now_ns);
    if (d->s.admin) http_tick(d->s.admin, now_ns);
    if (d->s.draining)
        drain_further(d, now_ns);
    else if (d->s.loaded)
        look_at_sessions(d);
    if (d->s.loaded && !d->s.changed) watch_model(&d->s);
}

static void begin_drain(daemon_state *d, int signum)
{
    server *s = &d->s;
    const uint64_t now_ns = clock_ns();

    s->ready = false;
    s->draining = true;
    d->cancel_ns = now_ns + (uint64_t)s->config->shutdown_timeout * second_ns;
    log_line(LOG_INFO, "draining", "signal", LOG_INT(signum), "requests",
             LOG_INT(http_requests(s->api)), NULL);
    notify_send("STOPPING=1");
    http_drain(s->api);
    sched_drain(s->sched);
    uv_timer_start(&d->tick, on_tick, 0, DRAIN_TICK_MS);
}

/* A second signal is a person who does not want to wait. */
/* A thread in the middle of a file or a download cannot be called back, and nobody has been
 * promised an answer: the sockets are closed, and the process ends. */
static void stop_loading(daemon_state *d, int signum)
{
    http_drain(d->s.api);
    if (d->s.admin) http_drain(d->s.admin);
    log_line(LOG_INFO, "stopped while loading", "signal", LOG_INT(signum), NULL);
    _exit(0);
}

static void on_stop_signal(uv_signal_t *h, int signum)
{
    daemon_state *d = h->data;

    if (d->s.draining) {
        log_line(LOG_WARN, "second signal: exiting at once", "signal", LOG_INT(signum), NULL);
        _exit(128 + signum);
    }
    if (d->load.running) stop_loading(d, signum);
    begin_drain(d, signum);
}

static void on_hangup(uv_signal_t *h, int signum)
{
    daemon_state *d = h->data;

    (void)signum;
    log_line(LOG_INFO, "reading keys and certificate; other options are read at start", NULL);
    listeners_reload(&d->s);
}

static void on_usr1(uv_signal_t *h, int signum)
{
    (void)h, (void)signum;
    if (log_reopen()) log_line(LOG_ERROR, "cannot open the log file anew", NULL);
}

/* --- the beginning --- */

static int complain(const char *what, const char *which, const char *why)
{
    fprintf(stderr, "xquantd: %s%s: %s\n", what, which, why);
    return 1;
}

/* After the scheduler: the mode that "auto" became is the cache's to say. */
static err open_metrics(server *s)
{
    const runtime *r = s->runtime;
    gguf_text arch = {0};
    char arch_name[32];
    sched_stats now;

    sched_read_stats(s->sched, &now);
    gguf_get_text(r->file, "general.architecture", &arch);
    snprintf(arch_name, sizeof arch_name, "%.*s", (int)arch.n, arch.n ? arch.at : "");
    const metrics_info info = {.version = XQUANTD_VERSION,
                               .revision = XQUANTD_REVISION,
                               .blas = "openblas",
                               .isa = cpu_name(cpu_flags()),
                               .model_name = r->model_name,
                               .arch = arch_name,
                               .weight_dtype = r->weights->weight_type,
                               .cache_mode = now.cache.mode,
                               .cache_bits = now.cache.bits_per_element,
                               .group_size = now.cache.group,
                               .ctx_size = r->ctx_size};
    return metrics_new(&s->metrics, &info);
}

/* After the listeners, so that a signal during a slow start ends the process as it always does.
 */
static void on_loaded(uv_async_t *h);

static void open_handles(daemon_state *d)
{
    uv_signal_init(&d->loop, &d->term);
    uv_signal_init(&d->loop, &d->interrupt);
    uv_signal_init(&d->loop, &d->hangup);
    uv_signal_init(&d->loop, &d->usr1);
    uv_timer_init(&d->loop, &d->tick);
    d->serving = true;
    d->term.data = d->interrupt.data = d->hangup.data = d->usr1.data = d->tick.data = d;
    uv_signal_start(&d->term, on_stop_signal, SIGTERM);
    uv_signal_start(&d->interrupt, on_stop_signal, SIGINT);
    uv_signal_start(&d->hangup, on_hangup, SIGHUP);
    uv_signal_start(&d->usr1, on_usr1, SIGUSR1);
    uv_timer_start(&d->tick, on_tick, TICK_MS, TICK_MS);
    uv_async_init(&d->loop, &d->load.done, on_loaded);
    d->load.done.data = d;
}

/* Ids of several times what the pool holds: what was evicted may yet be asked for. */
static err open_sessions(server *s)
{
    sched_stats now;

    sched_read_stats(s->sched, &now);
    return sessions_open(&s->sessions, s->sched,
                         KEPT_POOLS * now.cache.capacity_tokens + s->runtime->ctx_size);
}

/* `auto` took a mode whose KL with this model nobody has measured. One whose plan is not near
 * enough has been told so when its cache was opened. */
static void log_no_plan(const runtime *r, const char *mode)
{
    log_line(LOG_INFO, "a calibrated plan would hold more contexts in the same memory",
             "made_by", LOG_TEXT("xquantd calibrate"), "model", LOG_TEXT(r->model_path),
             "cache", LOG_TEXT(mode), "kl", LOG_TEXT("not measured"), NULL);
}

/* What was configured and what became of it, in one line. */
static void log_ready(const server *s)
{
    const runtime *r = s->runtime;
    sched_stats stats;

    sched_read_stats(s->sched, &stats);
    log_line(LOG_INFO, "ready", "model", LOG_TEXT(r->model_name), "weights",
             LOG_TEXT(r->weights->weight_type), "ctx_size", LOG_INT(r->ctx_size), "cache",
             LOG_TEXT(stats.cache.mode), "cache_bytes", LOG_INT(stats.cache.capacity_bytes),
             "cache_tokens", LOG_INT(stats.cache.capacity_tokens), "threads",
             LOG_INT(r->team->slots), "isa", LOG_TEXT(cpu_name(cpu_flags())), "version",
             LOG_TEXT(XQUANTD_VERSION), NULL);
    if (r->cache_mode.plan_missing) log_no_plan(r, stats.cache.mode);
}

/* --- loading --- */

static void load(void *arg)
{
    daemon_state *d = arg;

    d->load.e = d->load.run(d->s.runtime, d->s.config, d->load.what, sizeof d->load.what);
    uv_async_send(&d->load.done);
}

static bool open_tools(server *s)
{
    const char *what = "cannot start";
    const err e = tool_setup_open(&s->tools, s->config, s->runtime->chat.templates,
                                  s->runtime->tokens, &what);

    if (e) complain(what, "", "no such format");
    return !e;
}

/* All that needs the model. What failed has been said. */
static bool open_rest(daemon_state *d)
{
    server *s = &d->s;
    const int limit = (int)s->config->max_queue;
    err e = workers_open(&s->workers, &d->loop, TOKENIZE_THREADS, limit);

    if (!e) e = guides_open(&s->guides, s->runtime->tokens);
    if (!e) e = sched_open(&s->sched, &d->loop, s->runtime, limit);
    if (!e) e = open_sessions(s);
    if (!e) e = response_store_open(&s->responses, (size_t)s->config->response_store);
    if (!e) e = open_metrics(s);
    if (e) complain("cannot start", "", err_text(e));
    return !e;
}

/* Of the load thread, which is through. */
static void on_loaded(uv_async_t *h)
{
    daemon_state *d = h->data;

    uv_thread_join(&d->load.thread);
    d->load.running = false;
    if (d->load.e) complain(d->load.what, "", err_text(d->load.e));
    if (d->load.e || !open_tools(&d->s) || !open_rest(d)) {
        d->code = 1;
        uv_stop(&d->loop);
        return;
    }
    d->s.loaded = d->s.ready = true;
    log_ready(&d->s);
    notify_send("READY=1");
}

static void serve(daemon_state *d)
{
    open_handles(d);
    if (uv_thread_create(&d->load.thread, load, d)) {
        d->code = complain("cannot start", "", "no thread to load the model on");
        return;
    }
    d->load.running = true;
    uv_run(&d->loop, UV_RUN_DEFAULT);
}

/* What would end the process, or a write to a client that left, and means nothing here. */
static void ignore_signals(void)
{
    signal(SIGPIPE, SIG_IGN);
    signal(SIGALRM, SIG_IGN);
    signal(SIGUSR2, SIG_IGN);
}

int daemon_run(const config *c, runtime *r, daemon_load *loader)
{
    daemon_state *d = calloc(1, sizeof *d);
    int code;

    if (!d) return complain("cannot start", "", err_text(ERR_NOMEM));
    if (uv_loop_init(&d->loop)) {
        free(d);
        return complain("cannot start", "", err_text(ERR_SYSTEM));
    }
    d->s = (server){.loop = &d->loop,
                    .config = c,
                    .runtime = r,
                    .started_unix = clock_unix_ns() / 1000000000u};
    d->load.run = loader;
    ignore_signals();
    d->code = listeners_open(&d->s, on_finished);
    if (!d->code) serve(d);
    stop(d);
    uv_run(&d->loop, UV_RUN_DEFAULT); /* the close callbacks */
    metrics_free(d->s.metrics);
    if (uv_loop_close(&d->loop)) log_line(LOG_ERROR, "the loop still has handles", NULL);
    if (d->s.loaded && !cache_is_sound(r->cache)) {
        log_line(LOG_ERROR, "the cache has lost count of its blocks", NULL);
        d->code = 1;
    }
    code = d->code;
    if (!code) log_line(LOG_INFO, "stopped", NULL);
    free(d);
    return code;
}
