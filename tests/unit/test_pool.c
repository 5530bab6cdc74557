/* test_pool.c - the budget holds to the byte; what is given back can be taken again. */
#include "xcache/pool.h"

#include <stdlib.h>
#include <string.h>

#include "tests/test.h"

TEST(pool_holds_as_many_blocks_as_the_budget_pays_for)
{
    pool *p = NULL;

    CHECK(pool_open(&p, 1000, 1001, false) == ERR_NOROOM && !p);
    CHECK(pool_open(&p, 64 * 10 + 63, 60, false) == ERR_OK);
    CHECK(pool_block_bytes(p) == 64 && pool_blocks(p) == 10 && pool_free_blocks(p) == 10);
    CHECK(pool_budget_bytes(p) == 64 * 10 + 63);
    pool_close(p);
}

TEST(pool_gives_each_block_once_and_refuses_when_empty)
{
    enum { N = 50 };
    pool_block taken[N], extra;
    pool *p = NULL;

    CHECK(pool_open(&p, N * 128, 128, false) == ERR_OK);
    for (int i = 0; i < N; i++) {
        CHECK(pool_take(p, &taken[i]) == ERR_OK);
        memset(pool_bytes(p, taken[i]), i, 128);
    }
    CHECK(pool_take(p, &extra) == ERR_NOROOM);
    for (int i = 0; i < N; i++) /* nobody wrote over a neighbour */
        for (int j = 0; j < 128; j++) CHECK(pool_bytes(p, taken[i])[j] == i);
    pool_give(p, taken[7]);
    CHECK(pool_free_blocks(p) == 1 && pool_is_free(p, taken[7]));
    CHECK(pool_take(p, &extra) == ERR_OK && extra == taken[7]);
    pool_close(p);
}

TEST(pool_survives_ten_thousand_random_operations)
{
    enum { N = 37 };
    pool_block taken[N];
    size_t n = 0;
    uint32_t state = 9;
    pool *p = NULL;

    CHECK(pool_open(&p, N * 64, 64, false) == ERR_OK);
    for (int i = 0; i < 10000; i++) {
        state = state * 1664525u + 1013904223u;
        if (state >> 31) {
            pool_block b;
            const err e = pool_take(p, &b);

            CHECK((e == ERR_OK) == (n < N));
            if (e == ERR_OK) taken[n++] = b;
        } else if (n) {
            const size_t at = (state >> 8) % n;

            pool_give(p, taken[at]);
            taken[at] = taken[--n];
        }
        CHECK(pool_free_blocks(p) == N - n);
    }
    pool_close(p);
}

/* Every byte of a block, so that it shows who wrote over it. */
static void paint(pool *p, pool_block b, int colour, size_t bytes)
{
    memset(pool_bytes(p, b), colour, bytes);
}

static bool is_painted(const pool *p, pool_block b, int colour)
{
    const size_t bytes = pool_block_bytes(p) / (pool_is_half(p, b) ? 2 : 1);

    for (size_t i = 0; i < bytes; i++)
        if (pool_bytes(p, b)[i] != colour) return false;
    return true;
}

TEST(pool_keeps_two_halves_where_one_block_was)
{
    const uint8_t bytes[64] = {7};
    pool_block a = 0, b = 0, c;
    pool *p = NULL;

    CHECK(pool_open(&p, 2 * 128, 100, true) == ERR_OK);
    CHECK(pool_blocks(p) == 2 && pool_numbers(p) == 4 && pool_block_bytes(p) == 128);
    CHECK(pool_take(p, &a) == ERR_OK && pool_take(p, &b) == ERR_OK);
    CHECK(pool_take(p, &c) == ERR_NOROOM);
    pool_halve(p, a, bytes);
    CHECK(pool_is_half(p, a) && pool_free_blocks(p) == 0 && pool_used_bytes(p) == 192);
    pool_halve(p, b, bytes);
    CHECK(pool_half_blocks(p) == 2 && pool_free_blocks(p) == 1 && pool_used_bytes(p) == 128);
    CHECK(pool_take(p, &c) == ERR_OK && !pool_is_half(p, c));
    CHECK(memcmp(pool_bytes(p, a), bytes, 64) == 0 && memcmp(pool_bytes(p, b), bytes, 64) == 0);
    pool_close(p);
}

/* Blocks are taken, halved and given back at random, until the free halves lie anywhere. */
TEST(pool_of_halves_survives_ten_thousand_random_operations)
{
    enum { N = 11, BYTES = 128 };
    pool_block taken[2 * N];
    int colour[2 * N];
    size_t n = 0, used = 0, joined = 0;
    uint32_t state = 5;
    pool *p = NULL;

    CHECK(pool_open(&p, N * BYTES, BYTES, true) == ERR_OK);
    for (int i = 0; i < 10000; i++) {
        const size_t at = n ? (state >> 16) % n : 0;
        pool_block b;

        state = state * 1664525u + 1013904223u;
        if (state >> 30 == 0 && n) {
            used -= BYTES / (pool_is_half(p, taken[at]) ? 2 : 1);
            pool_give(p, taken[at]);
            taken[at] = taken[--n];
            colour[at] = colour[n];
        } else if (state >> 31 && n && !pool_is_half(p, taken[at])) {
            uint8_t bytes[BYTES / 2];

            memset(bytes, colour[at] = i & 255, sizeof bytes);
            pool_halve(p, taken[at], bytes);
            used -= BYTES / 2;
        } else {
            const size_t room = (N * BYTES - used) / BYTES; /* loose halves are joined */
            const bool joins = room && used % BYTES == 0 && pool_free_blocks(p) == room;

            CHECK((pool_take(p, &b) == ERR_OK) == (room > 0));
            if (!room) continue;
            joined += joins;
            paint(p, b, colour[n] = i & 255, BYTES);
            taken[n++] = b;
            used += BYTES;
        }
        CHECK(pool_used_bytes(p) == used && pool_free_blocks(p) == (N * BYTES - used) / BYTES);
        for (size_t j = 0; j < n; j++) CHECK(is_painted(p, taken[j], colour[j]));
    }
    CHECK(joined > 50);
    pool_close(p);
}
