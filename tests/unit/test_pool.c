/* test_pool.c - the budget holds to the byte; what is given back can be taken again. */
#include "xcache/pool.h"

#include <stdlib.h>
#include <string.h>

#include "tests/test.h"

TEST(pool_holds_as_many_blocks_as_the_budget_pays_for)
{
    pool *p = NULL;

    CHECK(pool_open(&p, 1000, 1001) == ERR_NOROOM && !p);
    CHECK(pool_open(&p, 64 * 10 + 63, 60) == ERR_OK);
    CHECK(pool_block_bytes(p) == 64 && pool_blocks(p) == 10 && pool_free_blocks(p) == 10);
    CHECK(pool_budget_bytes(p) == 64 * 10 + 63);
    pool_close(p);
}

TEST(pool_gives_each_block_once_and_refuses_when_empty)
{
    enum { N = 50 };
    pool_block taken[N], extra;
    pool *p = NULL;

    CHECK(pool_open(&p, N * 128, 128) == ERR_OK);
    for (int i = 0; i < N; i++) {
        CHECK(pool_take(p, &taken[i]) == ERR_OK);
        memset(pool_bytes(p, taken[i]), i, 128);
    }
    CHECK(pool_take(p, &extra) == ERR_NOROOM);
    for (int i = 0; i < N; i++) /* nobody wrote over a neighbour */
        for (int j = 0; j < 128; j++) CHECK(pool_bytes(p, taken[i])[j] == i);
    CHECK(pool_drop(p, taken[7]) == 0);
    pool_give(p, taken[7]);
    CHECK(pool_free_blocks(p) == 1 && pool_is_free(p, taken[7]));
    CHECK(pool_take(p, &extra) == ERR_OK && extra == taken[7]);
    pool_close(p);
}

TEST(pool_counts_who_holds_a_block_and_the_block_once)
{
    pool_block b;
    pool *p = NULL;

    CHECK(pool_open(&p, 4 * 64, 64) == ERR_OK);
    CHECK(pool_take(p, &b) == ERR_OK && pool_holders(p, b) == 1);
    CHECK(pool_hold(p, b) == 2 && pool_held_blocks(p) == 1);
    CHECK(pool_drop(p, b) == 1 && pool_held_blocks(p) == 1);
    CHECK(pool_drop(p, b) == 0 && pool_held_blocks(p) == 0);
    CHECK(pool_free_blocks(p) == 3 && !pool_is_free(p, b)); /* it rests */
    CHECK(pool_hold(p, b) == 1 && pool_drop(p, b) == 0);
    pool_give(p, b);
    CHECK(pool_free_blocks(p) == 4);
    pool_close(p);
}

TEST(pool_survives_ten_thousand_random_operations)
{
    enum { N = 37 };
    pool_block taken[N];
    size_t n = 0;
    uint32_t state = 9;
    pool *p = NULL;

    CHECK(pool_open(&p, N * 64, 64) == ERR_OK);
    for (int i = 0; i < 10000; i++) {
        state = state * 1664525u + 1013904223u;
        if (state >> 31) {
            pool_block b;
            const err e = pool_take(p, &b);

            CHECK((e == ERR_OK) == (n < N));
            if (e == ERR_OK) taken[n++] = b;
        } else if (n) {
            const size_t at = (state >> 8) % n;

            CHECK(pool_drop(p, taken[at]) == 0);
            pool_give(p, taken[at]);
            taken[at] = taken[--n];
        }
        CHECK(pool_free_blocks(p) == N - n);
    }
    pool_close(p);
}
