/* test_sessions.c - the table of conversations: names, its limit, pins that go with a session.
 */
#include "server/api/sessions.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/lab.h"
#include "tests/test.h"

enum { BLOCK = 128, LIMIT = 10 * BLOCK };

typedef struct scene {
    uv_loop_t loop;
    lab lab;
    runtime runtime;
    sched *sched;
    sessions *table;
    int acted;
    err result;
} scene;

static const tenant mine = {1, {2, 3}}, other_salt = {1, {2, 4}};

static scene *open_scene(void)
{
    scene *s = calloc(1, sizeof *s);

    CHECK(uv_loop_init(&s->loop) == 0);
    lab_open(&s->lab, LAB_EMBEDDED, "xq4", 1);
    s->runtime = (runtime){.tokens = s->lab.tokens,
                           .weights = s->lab.m,
                           .team = s->lab.team,
                           .cache = s->lab.cache,
                           .forward = s->lab.forward,
                           .max_running = 1,
                           .kern = s->lab.kern,
                           .ctx_size = s->lab.m->ctx};
    CHECK(sched_open(&s->sched, &s->loop, &s->runtime, 4) == ERR_OK);
    CHECK(sessions_open(&s->table, s->sched, LIMIT) == ERR_OK);
    return s;
}

static void close_scene(scene *s)
{
    sched_close(s->sched);
    sessions_close(s->table);
    uv_run(&s->loop, UV_RUN_DEFAULT);
    CHECK(uv_loop_close(&s->loop) == 0);
    lab_close(&s->lab);
    free(s);
}

static void note(scene *s, const tenant *who, const char *name, size_t n)
{
    int32_t *ids = calloc(n, sizeof *ids);
    const int32_t answer[2] = {7, 8};

    CHECK(sessions_note(s->table, who, name, ids, n, answer, 2) == ERR_OK);
    free(ids);
}

static void on_acted(void *user, err e)
{
    scene *s = user;

    s->acted++;
    s->result = e;
}

/* Do it and wait for the end. */
static err act(scene *s, session_act what, const char *name)
{
    const int before = s->acted;
    session *of = name ? sessions_find(s->table, &mine, name) : NULL;
    const err e = sessions_act(s->table, what, of, on_acted, s);

    if (e != ERR_OK) return e;
    while (s->acted == before) uv_run(&s->loop, UV_RUN_ONCE);
    return s->result;
}

TEST(sessions_are_known_by_name_within_a_key_and_a_salt)
{
    scene *s = open_scene();
    size_t hot;

    note(s, &mine, "a", 5);
    note(s, &other_salt, "a", 9);
    note(s, &mine, "b", 6);
    CHECK(sessions_find(s->table, &mine, "a")->history->n == 7);
    CHECK(sessions_find(s->table, &other_salt, "a")->history->n == 11);
    CHECK(!sessions_find(s->table, &other_salt, "b") && sessions_count(s->table, &hot) == 3);
    note(s, &mine, "a", 20); /* a turn later: it is the latest now */
    CHECK(sessions_find(s->table, &mine, "a")->history->n == 22);
    CHECK(strcmp(sessions_first(s->table, &mine)->name, "a") == 0);
    CHECK(strcmp(sessions_next(sessions_first(s->table, &mine))->name, "b") == 0);
    CHECK(!sessions_next(sessions_next(sessions_first(s->table, &mine))));
    close_scene(s);
}

TEST(sessions_beyond_the_limit_go_least_recently_used_first_but_not_pinned_ones)
{
    scene *s = open_scene();
    char name[8];
    size_t hot;

    note(s, &mine, "pinned", 10);
    CHECK(act(s, SESSION_PIN, "pinned") == ERR_OK);
    for (int i = 0; i < 20; i++) {
        snprintf(name, sizeof name, "s%d", i);
        note(s, &mine, name, BLOCK);
    }
    CHECK(sessions_find(s->table, &mine, "pinned")->pinned);
    CHECK(sessions_find(s->table, &mine, "s19") && !sessions_find(s->table, &mine, "s0"));
    CHECK(sessions_count(s->table, &hot) * (2 * BLOCK) <= LIMIT + 2 * BLOCK);
    CHECK(act(s, SESSION_UNPIN, "pinned") == ERR_OK);
    note(s, &mine, "last", LIMIT); /* alone it may be too long: the next turn needs it */
    CHECK(!sessions_find(s->table, &mine, "pinned") && sessions_find(s->table, &mine, "last"));
    CHECK(sessions_count(s->table, &hot) == 1);
    close_scene(s);
}

TEST(sessions_that_fork_have_the_same_past_and_their_own_future)
{
    scene *s = open_scene();
    session *made = NULL;

    note(s, &mine, "trunk", 30);
    CHECK(sessions_fork(s->table, sessions_find(s->table, &mine, "trunk"), "branch", &made) ==
          ERR_OK);
    CHECK(made->history == sessions_find(s->table, &mine, "trunk")->history);
    CHECK(sessions_fork(s->table, made, "trunk", &made) == ERR_BUSY);
    note(s, &mine, "trunk", 40);
    CHECK(sessions_find(s->table, &mine, "branch")->history->n == 32);
    CHECK(act(s, SESSION_DELETE, "trunk") == ERR_OK);
    CHECK(!sessions_find(s->table, &mine, "trunk") && act(s, SESSION_LOOK, NULL) == ERR_OK);
    close_scene(s);
}

/* What was asked before the end is answered, and what is pinned is let go of. */
TEST(sessions_say_where_a_prompt_has_left_the_turn_before)
{
    scene *s = open_scene();
    const session *x;

    note(s, &mine, "a", 10); /* ids of 0, then 7 and 8 */
    x = sessions_find(s->table, &mine, "a");
    CHECK(x->parted_at == SIZE_MAX);
    note(s, &mine, "a", 9); /* 7 is where a tenth 0 was */
    CHECK(x->parted_at == 9);
    CHECK(sessions_note(s->table, &mine, "a", (const int32_t[12]){[9] = 7, 8, 3}, 12, NULL,
                        0) == ERR_OK);
    CHECK(x->parted_at == SIZE_MAX);
    close_scene(s);
}

/* What is over is let go of when somebody takes a turn. */
TEST(sessions_that_are_retained_are_pinned_until_then)
{
    scene *s = open_scene();
    session *x;

    note(s, &mine, "a", 10);
    x = sessions_find(s->table, &mine, "a");
    CHECK(sessions_retain(s->table, x, UINT64_MAX) == ERR_OK);
    act(s, SESSION_LOOK, NULL);
    CHECK(x->pinned);
    note(s, &other_salt, "b", 10);
    act(s, SESSION_LOOK, NULL);
    CHECK(x->pinned);
    CHECK(sessions_retain(s->table, x, 1) == ERR_OK);
    note(s, &other_salt, "b", 10);
    act(s, SESSION_LOOK, NULL);
    CHECK(!x->pinned && !x->pinned_until_unix);
    act(s, SESSION_PIN, "a"); /* by hand: for good */
    CHECK(x->pinned && sessions_retain(s->table, x, 1) == ERR_OK && !x->pinned_until_unix);
    act(s, SESSION_UNPIN, "a");
    close_scene(s);
}

TEST(sessions_close_with_acts_under_way)
{
    scene *s = open_scene();

    note(s, &mine, "a", 300);
    for (int i = 0; i < 10; i++) {
        session *a = sessions_find(s->table, &mine, "a");

        CHECK(sessions_act(s->table, i % 2 ? SESSION_LOOK : SESSION_PIN, a, on_acted, s) ==
              ERR_OK);
    }
    sched_close(s->sched);
    CHECK(s->acted == 10);
    sessions_close(s->table);
    uv_run(&s->loop, UV_RUN_DEFAULT);
    CHECK(uv_loop_close(&s->loop) == 0);
    lab_close(&s->lab);
    free(s);
}
