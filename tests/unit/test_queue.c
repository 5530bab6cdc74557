/* test_queue.c - turns, priorities, and that nobody is lost. */
#include "server/sched/queue.h"

#include <stdlib.h>

#include "tests/test.h"

enum { MOST = 64 };

/* Generations that are only waited with, each in a group of one. */
static generation all[MOST];
static generation_group *groups[MOST];

static queue open_queue(size_t limit)
{
    for (int i = 0; i < MOST; i++) {
        generation *g = &all[i];

        free(groups[i]);
        *g = (generation){0};
        CHECK(generation_group_new(&groups[i], &g, 1) == ERR_OK);
    }
    return (queue){.limit = limit};
}

/* Its number. */
static int number(const generation_group *w)
{
    return (int)(w->members[0] - all);
}

static bool add(queue *q, int i, uint64_t tenant, int priority)
{
    all[i].in.tenant = tenant;
    all[i].in.priority = priority;
    return queue_add(q, groups[i]);
}

/* The number of who is next; -1: nobody. */
static int take(queue *q)
{
    const generation_group *w = queue_take(q);

    return w ? number(w) : -1;
}

TEST(queue_of_one_tenant_is_first_come_first_served)
{
    queue q = open_queue(MOST);

    for (int i = 0; i < 10; i++) CHECK(add(&q, i, 7, 0));
    for (int i = 0; i < 10; i++) CHECK(take(&q) == i);
    CHECK(take(&q) == -1 && q.n == 0);
}

TEST(queue_gives_every_tenant_its_turn)
{
    static const int order[] = {0, 6, 8, 1, 7, 2, 3, 4, 5};
    queue q = open_queue(MOST);

    for (int i = 0; i < 6; i++) CHECK(add(&q, i, 1, 0));
    for (int i = 6; i < 8; i++) CHECK(add(&q, i, 2, 0));
    CHECK(add(&q, 8, 3, 0));
    for (size_t i = 0; i < sizeof order / sizeof order[0]; i++) CHECK(take(&q) == order[i]);
}

TEST(queue_lets_a_newcomer_wait_for_one_turn_of_the_others)
{
    queue q = open_queue(MOST);

    for (int i = 0; i < 40; i++) CHECK(add(&q, i, 1, 0));
    for (int i = 0; i < 20; i++) CHECK(take(&q) == i);
    CHECK(add(&q, 50, 2, 0));
    CHECK(take(&q) == 20 && take(&q) == 50 && take(&q) == 21);
    CHECK(add(&q, 51, 2, 0)); /* nothing was saved up while it did not wait */
    CHECK(take(&q) == 22 && take(&q) == 51 && take(&q) == 23);
}

TEST(queue_puts_smaller_priorities_first_within_a_tenant_only)
{
    queue q = open_queue(MOST);

    CHECK(add(&q, 0, 1, 0) && add(&q, 1, 1, 0) && add(&q, 2, 2, 5) && add(&q, 3, 2, 5));
    CHECK(add(&q, 4, 1, -1) && add(&q, 5, 2, 4) && add(&q, 6, 1, -1));
    CHECK(take(&q) == 4 && take(&q) == 5); /* first turns */
    CHECK(take(&q) == 6 && take(&q) == 2);
    CHECK(take(&q) == 3 && take(&q) == 0 && take(&q) == 1 && take(&q) == -1);
}

TEST(queue_is_bounded_and_forgets_who_leaves)
{
    queue q = open_queue(3);

    CHECK(add(&q, 0, 1, 0) && add(&q, 1, 1, 0) && add(&q, 2, 2, 0));
    CHECK(!add(&q, 3, 3, 0));
    queue_remove(&q, groups[0]);
    CHECK(q.n == 2 && add(&q, 3, 3, 0));
    queue_remove(&q, groups[3]);
    CHECK(take(&q) == 2 && take(&q) == 1 && take(&q) == -1);
}

TEST(queue_keeps_the_place_of_who_cannot_run_yet)
{
    queue q = open_queue(2);
    generation_group *w;

    CHECK(add(&q, 0, 1, 0) && add(&q, 1, 2, -9));
    w = queue_take(&q);
    CHECK(w == groups[0] && add(&q, 2, 3, -9));
    queue_put_back(&q, w);
    CHECK(take(&q) == 0);
}

TEST(queue_keeps_all_in_the_order_of_turns_whatever_happens)
{
    queue q = open_queue(MOST);
    bool waits[MOST] = {false};
    uint32_t state = 1;

    for (int step = 0; step < 20000; step++) {
        const int i = (int)((state = state * 1664525u + 1013904223u) >> 8) % MOST;
        size_t n = 0;

        if (waits[i])
            queue_remove(&q, groups[i]);
        else
            CHECK(add(&q, i, state >> 28, (int)(state >> 30)));
        waits[i] = !waits[i];
        for (const generation_group *w = q.first; w; w = w->next, n++)
            CHECK(waits[number(w)] &&
                  (w->next ? w->next->prev == w && w->next->turn >= w->turn : q.last == w));
        CHECK(n == q.n && n == q.answers);
    }
}
