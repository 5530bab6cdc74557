/* test_http_crowd.c - many streams at once: an engine on other threads, clients on others
 * again. */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "server/sched/workers.h"
#include "tests/site.h"

enum { STREAMS = 100, TOKENS = 30, CLIENT_THREADS = 4 };

/* A site whose every answer is a stream of tokens that worker threads make. */
typedef struct mill {
    site *site;
    workers *workers;
} mill;

typedef struct feed {
    job job; /* one token */
    mill *mill;
    http_request *request;
    int sent;
} feed;

static err make_token(job *j)
{
    (void)j;
    return ERR_OK;
}

static void token_made(job *j, err e)
{
    feed *f = (feed *)j;
    char event[32];

    (void)e;
    snprintf(event, sizeof event, "data: %d\n\n", f->sent++);
    http_stream_write(f->request, event, strlen(event));
    if (f->sent < TOKENS && !atomic_load(&j->cancel)) {
        CHECK(workers_submit(f->mill->workers, j) == ERR_OK);
        return;
    }
    http_stream_end(f->request);
    free(f);
}

static void stop_feeding(http_request *r)
{
    feed *f = http_user(r);

    atomic_store(&f->job.cancel, true);
}

static void run_tokens(http_request *r)
{
    mill *m = http_server(r);
    feed *f = calloc(1, sizeof *f);

    *f = (feed){.job = {.work = make_token, .done = token_made}, .mill = m, .request = r};
    http_hold(r, stop_feeding, f);
    http_stream_begin(r, 200, "text/event-stream");
    CHECK(workers_submit(m->workers, &f->job) == ERR_OK);
}

static void mill_open(mill *m, int streams)
{
    m->site = site_open_for(m, run_tokens, NULL);
    CHECK(workers_open(&m->workers, &m->site->loop, 2, streams) == ERR_OK);
}

/* Once every client has left. */
static void mill_close(mill *m)
{
    SITE_AWAIT(m->site, -1, http_connections(m->site->http) == 0);
    CHECK(http_requests(m->site->http) == 0);
    workers_close(m->workers);
    site_close(m->site);
}

typedef struct crowd {
    unsigned port, seed;
    int complete, left_early, wrong;
    atomic_int *finished;
} crowd;

/* Read a whole stream, or leave somewhere within it. Returns false if what came is wrong. */
static bool take_stream(int fd, size_t leave_after, bool *left)
{
    char got[8192], want[32];
    size_t n = 0;
    const char *at = got;

    while (n < sizeof got - 1) {
        const ssize_t more = recv(fd, got + n, sizeof got - 1 - n, 0);

        if (more <= 0) return false;
        n += (size_t)more;
        got[n] = '\0';
        *left = n >= leave_after;
        if (*left) return true;
        if (strstr(got, "\r\n0\r\n\r\n")) break;
    }
    for (int i = 0; i < TOKENS; i++) {
        snprintf(want, sizeof want, "data: %d\n\n", i);
        at = strstr(at, want);
        if (!at) return false;
    }
    return true;
}

static void visit(crowd *w, int i)
{
    static const char request[] = SITE_GET("/tokens");
    const bool aborts = i % 3 == 0;
    const size_t leave_after = aborts ? (size_t)(rand_r(&w->seed) % 600) : SIZE_MAX;
    bool left = false;
    const int fd = client_connect(w->port);

    if (fd < 0 || send(fd, request, sizeof request - 1, MSG_NOSIGNAL) < 0)
        w->wrong++;
    else if (leave_after && !take_stream(fd, leave_after, &left))
        w->wrong++;
    else if (left || !leave_after)
        w->left_early++;
    else
        w->complete++;
    if (fd >= 0) client_hang_up(fd, i % 2);
}

static void *visit_often(void *arg)
{
    crowd *w = arg;

    for (int i = 0; i < STREAMS; i++) visit(w, i);
    atomic_fetch_add(w->finished, 1);
    return NULL;
}

TEST(http_serves_hundreds_of_streams_from_other_threads_while_clients_come_and_go)
{
    mill m;
    pthread_t threads[CLIENT_THREADS];
    crowd crowds[CLIENT_THREADS];
    atomic_int done = 0;

    mill_open(&m, STREAMS * CLIENT_THREADS);
    for (int i = 0; i < CLIENT_THREADS; i++) {
        crowds[i] = (crowd){
            .port = http_port(m.site->http), .seed = (unsigned)i + 1, .finished = &done};
        CHECK(pthread_create(&threads[i], NULL, visit_often, &crowds[i]) == 0);
    }
    SITE_AWAIT(m.site, -1, atomic_load(&done) == CLIENT_THREADS);
    for (int i = 0; i < CLIENT_THREADS; i++) {
        pthread_join(threads[i], NULL);
        CHECK(crowds[i].wrong == 0);
        CHECK(crowds[i].complete >= STREAMS / 2 && crowds[i].left_early > 0);
    }
    mill_close(&m);
}

TEST(http_serves_a_hundred_streams_at_the_same_time)
{
    mill m;
    client *c[STREAMS];

    mill_open(&m, STREAMS);
    for (int i = 0; i < STREAMS; i++) c[i] = client_open(m.site);
    for (int i = 0; i < STREAMS; i++) client_say(c[i], SITE_GET("/tokens"));
    for (int i = 0; i < STREAMS; i += 5) client_leave(c[i], (i / 5) % CLIENT_EXITS);
    for (int i = 0; i < STREAMS; i++)
        if (i % 5) client_hear(c[i], "data: 29\n\n\r\n0\r\n\r\n");
    for (int i = 0; i < STREAMS; i++) client_close(c[i]);
    mill_close(&m);
}
