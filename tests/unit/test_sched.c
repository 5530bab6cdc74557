/* test_sched.c - the scheduler's border: order, cancel, a full queue, drain and close. */
#include "server/sched/sched.h"

#include <stdlib.h>
#include <string.h>

#include "tests/lab.h"
#include "tests/test.h"

enum { MOST = 64 };

typedef struct scene {
    uv_loop_t loop;
    lab lab;
    runtime runtime;
    sched *sched;
    int done, begun, progressed; /* begun: calls of progress, with tokens or without */
    err results[MOST];
    size_t tokens[MOST];
    int order[MOST]; /* which request was the i-th to be done */
} scene;

typedef struct caller {
    scene *scene;
    int number;
} caller;

static void on_done(generation *g, err e)
{
    caller *who = g->user;
    scene *s = who->scene;

    s->results[who->number] = e;
    s->tokens[who->number] = g->out.n_tokens;
    s->order[s->done++] = who->number;
    free(who);
    generation_free(g);
}

static void on_progress(generation *g)
{
    caller *who = g->user;

    who->scene->begun++;
    if (atomic_load(&g->out.published)) who->scene->progressed++;
}

/* `running`: how many at once, up to 4. */
static scene *open_scene(int limit, int running)
{
    cache_options o = {.mode = "xq4",
                       .budget_bytes = 64 << 20,
                       .workspace_bytes = 512 << 20,
                       .page_format = KV_INT8,
                       .max_running = running};
    scene *s = calloc(1, sizeof *s);

    CHECK(uv_loop_init(&s->loop) == 0);
    lab_open(&s->lab, LAB_EMBEDDED, "xq4", 2);
    cache_close(s->lab.cache);
    o.team = s->lab.team;
    o.ctx_tokens = s->lab.m->ctx;
    CHECK(cache_open(&s->lab.cache, s->lab.m, &s->lab.kern, &o) == ERR_OK);
    s->runtime = (runtime){.tokens = s->lab.tokens,
                           .weights = s->lab.m,
                           .team = s->lab.team,
                           .cache = s->lab.cache,
                           .forward = s->lab.forward,
                           .max_running = (size_t)running,
                           .kern = s->lab.kern,
                           .ctx_size = s->lab.m->ctx};
    CHECK(sched_open(&s->sched, &s->loop, &s->runtime, limit) == ERR_OK);
    return s;
}

/* Ends on uv_loop_close succeeding: no handle is left. */
static void close_scene(scene *s)
{
    sched_close(s->sched);
    uv_run(&s->loop, UV_RUN_DEFAULT);
    CHECK(uv_loop_close(&s->loop) == 0);
    lab_close(&s->lab);
    free(s);
}

static generation *make(scene *s, int number, size_t prompt, size_t tokens)
{
    generation_in in = {
        .n_ids = prompt, .max_tokens = tokens, .sample = sample_greedy, .top = -1};
    caller *who = malloc(sizeof *who);
    generation *g = NULL;

    in.ids = malloc((prompt + 1) * sizeof *in.ids);
    for (size_t i = 0; i < prompt; i++)
        in.ids[i] = (int32_t)(20 + ((size_t)number + i) % 100); /* nothing to share */
    in.ignore_eos = true;
    CHECK(generation_new(&g, s->lab.tokens, &in) == ERR_OK);
    *who = (caller){s, number};
    g->user = who;
    g->done = on_done;
    g->progress = on_progress;
    return g;
}

static generation_group *group(generation *const *members, size_t n)
{
    generation_group *w = NULL;

    CHECK(generation_group_new(&w, members, n) == ERR_OK);
    return w;
}

static err submit(scene *s, generation *g)
{
    generation_group *alone = group(&g, 1);

    return sched_submit(s->sched, &alone, 1);
}

static void discard(generation *g)
{
    free(g->user);
    generation_free(g);
}

static void run_until(scene *s, int done)
{
    while (s->done < done) uv_run(&s->loop, UV_RUN_ONCE);
}

TEST(sched_runs_in_order_and_hands_every_token_over)
{
    scene *s = open_scene(MOST, 1);
    sched_stats stats;

    for (int i = 0; i < 20; i++) CHECK(submit(s, make(s, i, 5 + 10 * (size_t)i, 4)) == ERR_OK);
    run_until(s, 20);
    for (int i = 0; i < 20; i++)
        CHECK(s->order[i] == i && s->results[i] == ERR_OK && s->tokens[i] == 4);
    CHECK(s->progressed > 0);
    sched_read_stats(s->sched, &stats);
    CHECK(stats.batch.new_tokens == 80 && stats.running == 0 && stats.waiting == 0);
    CHECK(stats.batch.prompt_tokens == 20 * 5 + 10 * 190);
    CHECK(stats.cache.idle_tokens == 128 * 8); /* 125 + 3 .. 195 + 3 computed: one block each */
    close_scene(s);
}

TEST(sched_full_queue_is_busy_and_close_delivers_the_rest)
{
    scene *s = open_scene(3, 1);
    int taken = 0;

    for (int i = 0; i < MOST; i++) {
        generation *g = make(s, taken, 600, 300);
        const err e = submit(s, g);

        CHECK(e == ERR_OK || e == ERR_BUSY);
        if (e == ERR_OK)
            taken++;
        else
            discard(g);
    }
    CHECK(taken == 3 || taken == 4); /* one may run already */
    sched_close(s->sched);
    CHECK(s->done == taken);
    for (int i = 0; i < taken; i++) CHECK(s->results[i] == ERR_CANCELED);
    uv_run(&s->loop, UV_RUN_DEFAULT);
    CHECK(uv_loop_close(&s->loop) == 0);
    lab_close(&s->lab);
    free(s);
}

TEST(sched_lets_a_second_tenant_wait_for_one_turn)
{
    scene *s = open_scene(MOST, 1);

    for (int i = 0; i < 10; i++) {
        generation *g = make(s, i, 30, i ? 3 : 100);

        g->in.tenant = i == 9 ? 2 : 1;
        CHECK(submit(s, g) == ERR_OK);
    }
    run_until(s, 10);
    CHECK(s->order[0] == 0 && (s->order[1] == 9 || s->order[2] == 9));
    close_scene(s);
}

/* All places but one are another's for a long time, and more of his wait. */
TEST(sched_lets_a_second_tenant_in_at_once)
{
    scene *s = open_scene(MOST, 3);

    for (int i = 0; i < 8; i++) {
        generation *g = make(s, i, 30, 400);

        g->in.tenant = 2;
        CHECK(submit(s, g) == ERR_OK);
    }
    while (!s->progressed) uv_run(&s->loop, UV_RUN_ONCE);
    for (int i = 8; i < 10; i++) {
        generation *g = make(s, i, 30, 3);

        g->in.tenant = 3;
        CHECK(submit(s, g) == ERR_OK);
    }
    run_until(s, 2);
    CHECK(s->order[0] == 8 && s->order[1] == 9);
    run_until(s, 10);
    for (int i = 0; i < 10; i++) CHECK(s->results[i] == ERR_OK);
    close_scene(s);
}

TEST(sched_says_when_a_refused_request_may_come_again)
{
    scene *s = open_scene(MOST, 1);
    unsigned seconds;

    CHECK(sched_retry_seconds(s->sched) == 1);
    for (int i = 0; i < 20; i++) CHECK(submit(s, make(s, i, 30, 60)) == ERR_OK);
    run_until(s, 10);
    seconds = sched_retry_seconds(s->sched);
    CHECK(seconds >= 1 && seconds <= SCHED_RETRY_MOST);
    close_scene(s);
}

TEST(sched_cancels_what_waits_and_what_runs)
{
    scene *s = open_scene(MOST, 1);
    generation *g[6];

    for (int i = 0; i < 6; i++) {
        g[i] = make(s, i, 50, i == 0 ? 1500 : 3);
        CHECK(submit(s, g[i]) == ERR_OK);
    }
    while (!s->progressed) uv_run(&s->loop, UV_RUN_ONCE); /* the first is decoding */
    atomic_store(&g[3]->cancel, true);
    run_until(s, 1);
    CHECK(s->order[0] == 3 && s->results[3] == ERR_CANCELED); /* while the first still runs */
    atomic_store(&g[0]->cancel, true);
    run_until(s, 6);
    CHECK(s->results[0] == ERR_CANCELED && s->tokens[0] < 1500);
    for (int i = 1; i < 6; i++) CHECK(i == 3 || (s->results[i] == ERR_OK && s->tokens[i] == 3));
    close_scene(s);
}

/* Many times, so that no step ends between the cancel and the next request each time. */
TEST(sched_place_of_a_canceled_request_is_free_at_once)
{
    enum { TIMES = 200 };
    scene *s = open_scene(1, 1);
    generation *running = make(s, 0, 50, 1500), *waiting;

    CHECK(submit(s, running) == ERR_OK);
    while (!s->progressed) uv_run(&s->loop, UV_RUN_ONCE);
    waiting = make(s, 1, 50, 3);
    CHECK(submit(s, waiting) == ERR_OK);
    for (int i = 0; i < TIMES; i++) {
        generation *next = make(s, 1, 50, 3);

        atomic_store(&waiting->cancel, true);
        CHECK(submit(s, next) == ERR_OK);
        waiting = next;
        uv_run(&s->loop, UV_RUN_NOWAIT);
        if (s->done > MOST - 4) s->done = 0; /* their order does not matter */
    }
    atomic_store(&running->cancel, true);
    atomic_store(&waiting->cancel, true);
    close_scene(s);
}

TEST(sched_refuses_what_can_never_run)
{
    scene *s = open_scene(4, 1);
    generation *g = make(s, 0, 2000, 49);

    CHECK(sched_check(s->sched, 2000, 48, 1) == ERR_OK);
    CHECK(sched_check(s->sched, 2000, 49, 1) == ERR_TOOLONG);
    CHECK(sched_check(s->sched, 0, 10, 1) == ERR_EMPTY);
    CHECK(sched_check(s->sched, SIZE_MAX, SIZE_MAX, 1) == ERR_TOOLONG);
    CHECK(submit(s, g) == ERR_TOOLONG);
    discard(g);
    close_scene(s);
}

TEST(sched_drain_ends_what_waits_and_lets_the_running_one_finish)
{
    scene *s = open_scene(MOST, 1);
    generation *late;

    for (int i = 0; i < 3; i++) CHECK(submit(s, make(s, i, 20, i == 0 ? 200 : 5)) == ERR_OK);
    while (!s->progressed) uv_run(&s->loop, UV_RUN_ONCE);
    sched_drain(s->sched);
    late = make(s, 3, 5, 5);
    CHECK(submit(s, late) == ERR_DRAINING);
    discard(late);
    run_until(s, 3);
    CHECK(s->results[0] == ERR_OK && s->tokens[0] == 200);
    CHECK(s->results[1] == ERR_DRAINING && s->results[2] == ERR_DRAINING);
    close_scene(s);
}

/* The ids of one answer. */
typedef struct answer {
    int32_t ids[40];
    size_t n;
} answer;

static answer answers[MOST];

static void on_kept(generation *g, err e)
{
    const caller *who = g->user;
    answer *a = &answers[who->number];

    a->n = g->out.n_tokens;
    for (size_t i = 0; i < a->n; i++) a->ids[i] = g->out.tokens[i].id;
    on_done(g, e);
}

/* `n` requests of all lengths, `running` at once; greedy and drawn. */
static void answer_all(int n, int running)
{
    scene *s = open_scene(MOST, running);

    for (int i = 0; i < n; i++) {
        generation *g = make(s, i, 1 + 37 * (size_t)i, 10 + (size_t)i);

        g->done = on_kept;
        if (i % 2) {
            g->in.sample.temperature = 1;
            g->in.sample.seed = (uint64_t)i;
        }
        CHECK(submit(s, g) == ERR_OK);
    }
    run_until(s, n);
    for (int i = 0; i < n; i++) CHECK(s->results[i] == ERR_OK);
    close_scene(s);
}

TEST(sched_gives_the_same_tokens_alone_and_in_a_batch)
{
    enum { N = 12 };
    static answer alone[N];

    answer_all(N, 1);
    memcpy(alone, answers, sizeof alone);
    memset(answers, 0, sizeof answers);
    answer_all(N, 4);
    for (int i = 0; i < N; i++) {
        CHECK(answers[i].n == alone[i].n && alone[i].n == 10 + (size_t)i);
        CHECK(memcmp(answers[i].ids, alone[i].ids, sizeof alone[i].ids) == 0);
    }
}

TEST(sched_runs_copies_together_and_cancels_them_together)
{
    scene *s = open_scene(2, 3);
    generation *g[6];
    generation_group *a, *b;
    sched_stats stats;

    for (int i = 0; i < 6; i++) {
        g[i] = make(s, 0, 300, 60);
        ((caller *)g[i]->user)->number = i;
    }
    a = group(g, 3);
    b = group(g + 3, 3);
    CHECK(sched_submit(s->sched, (generation_group *[]){a, b, b}, 3) == ERR_BUSY);
    CHECK(sched_submit(s->sched, (generation_group *[]){a, b}, 2) == ERR_OK);
    while (!s->progressed) uv_run(&s->loop, UV_RUN_ONCE);
    sched_read_stats(s->sched, &stats);
    CHECK(stats.running == 3 && stats.waiting == 3); /* answers, not groups */
    atomic_store(&g[4]->cancel, true); /* the second row waits still: there is no room */
    run_until(s, 6);
    for (int i = 0; i < 3; i++) CHECK(s->results[i] == ERR_OK && s->tokens[i] == 60);
    for (int i = 3; i < 6; i++) CHECK(s->results[i] == ERR_CANCELED && s->tokens[i] == 0);
    sched_read_stats(s->sched, &stats);
    CHECK(stats.batch.prompt_tokens == 300 && stats.batch.new_tokens == 180);
    close_scene(s);
}

TEST(sched_ends_copies_whose_leader_is_canceled_while_it_reads)
{
    scene *s = open_scene(4, 3);
    generation *g[3];
    generation_group *all;

    for (int i = 0; i < 3; i++) {
        g[i] = make(s, 0, 1900, 10);
        ((caller *)g[i]->user)->number = i;
    }
    all = group(g, 3);
    CHECK(sched_submit(s->sched, &all, 1) == ERR_OK);
    while (!s->begun) uv_run(&s->loop, UV_RUN_ONCE);
    atomic_store(&g[0]->cancel, true);
    run_until(s, 3);
    for (int i = 0; i < 3; i++) CHECK(s->results[i] == ERR_CANCELED);
    close_scene(s);
}

TEST(sched_runs_several_at_once_and_nobody_waits_for_the_longest)
{
    scene *s = open_scene(MOST, 4);

    CHECK(submit(s, make(s, 0, 20, 400)) == ERR_OK);
    for (int i = 1; i < 6; i++) CHECK(submit(s, make(s, i, 300, 5)) == ERR_OK);
    run_until(s, 6);
    CHECK(s->order[5] == 0 && s->tokens[0] == 400);
    for (int i = 1; i < 6; i++) CHECK(s->results[i] == ERR_OK && s->tokens[i] == 5);
    close_scene(s);
}
