/* test_threads.c - the parallel-for: every index once, slots apart, many rounds. */
#include "server/threads.h"

#include <stdatomic.h>
#include <stdlib.h>

#include "tests/test.h"

enum { MOST = 300 };

typedef struct tally {
    atomic_int calls[MOST];
    atomic_bool busy[8]; /* slots that are inside a task */
    atomic_bool clash;
    int slots;
} tally;

static void count(void *arg, int i, int slot)
{
    tally *t = arg;

    if (slot < 0 || slot >= t->slots || atomic_exchange(&t->busy[slot], true))
        atomic_store(&t->clash, true);
    atomic_fetch_add(&t->calls[i], 1);
    atomic_store(&t->busy[slot], false);
}

static void check_rounds(int threads, int rounds)
{
    tally *t = calloc(1, sizeof *t);
    team *crew = NULL;

    t->slots = threads;
    CHECK(threads_open(&crew, threads) == ERR_OK);
    CHECK(crew->slots == threads);
    for (int r = 0; r < rounds; r++) {
        const int n = (r * 7) % MOST;

        for (int i = 0; i < MOST; i++) atomic_store(&t->calls[i], 0);
        crew->run(crew, count, t, n);
        for (int i = 0; i < MOST; i++) CHECK(atomic_load(&t->calls[i]) == (i < n));
    }
    CHECK(!atomic_load(&t->clash));
    threads_close(crew);
    free(t);
}

TEST(threads_call_every_index_once_and_never_share_a_slot)
{
    check_rounds(1, 50);
    check_rounds(2, 3000);
    check_rounds(5, 1000);
}

typedef struct chain {
    atomic_int through; /* indices */
    int n;
    int slot_of[4];
} chain;

/* Index 0 ends only when all others are through, wherever they were to run. */
static void wait_for_others(void *arg, int i, int slot)
{
    chain *c = arg;

    c->slot_of[i] = slot;
    while (i == 0 && atomic_load(&c->through) < c->n - 1) continue;
    atomic_fetch_add(&c->through, 1);
}

TEST(threads_take_over_what_a_busy_slot_was_to_run)
{
    team *crew = NULL;

    CHECK(threads_open(&crew, 2) == ERR_OK);
    for (int round = 0; round < 50; round++) {
        chain c = {.n = 4};

        crew->run(crew, wait_for_others, &c, c.n);
        CHECK(atomic_load(&c.through) == c.n);
        CHECK(c.slot_of[1] != c.slot_of[0]); /* next in its lane; others may end before it */
    }
    threads_close(crew);
}

TEST(threads_close_when_nothing_ever_ran)
{
    team *crew = NULL;

    CHECK(threads_open(&crew, 4) == ERR_OK);
    threads_close(crew);
}

TEST(threads_usable_cores_is_at_least_one)
{
    CHECK(threads_usable_cores() >= 1);
}
