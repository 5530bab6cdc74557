/* test_pool.c - the budget holds to the byte; what is given back can be taken again. */
#include "xcache/pool.h"

#include <stdlib.h>
#include <string.h>

#include "tests/test.h"

TEST(pool_holds_as_many_blocks_as_the_budget_pays_for)
{
    pool *p = NULL;

    CHECK(pool_open(&p, 1000, 1001, 1) == ERR_NOROOM && !p);
    CHECK(pool_open(&p, 64 * 10 + 63, 60, 1) == ERR_OK);
    CHECK(pool_block_bytes(p) == 64 && pool_blocks(p) == 10 && pool_free_blocks(p) == 10);
    CHECK(pool_budget_bytes(p) == 64 * 10 + 63);
    pool_close(p);
}

TEST(pool_gives_each_block_once_and_refuses_when_empty)
{
    enum { N = 50 };
    pool_block taken[N], extra;
    pool *p = NULL;

    CHECK(pool_open(&p, N * 128, 128, 1) == ERR_OK);
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

    CHECK(pool_open(&p, N * 64, 64, 1) == ERR_OK);
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
    for (size_t i = 0; i < pool_bytes_of(p, b); i++)
        if (pool_bytes(p, b)[i] != colour) return false;
    return true;
}

TEST(pool_keeps_two_halves_where_one_block_was)
{
    const uint8_t bytes[64] = {7};
    pool_block a = 0, b = 0, c;
    pool *p = NULL;

    CHECK(pool_open(&p, 2 * 128, 100, 2) == ERR_OK);
    CHECK(pool_blocks(p) == 2 && pool_numbers(p) == 4 && pool_block_bytes(p) == 128);
    CHECK(pool_take(p, &a) == ERR_OK && pool_take(p, &b) == ERR_OK);
    CHECK(pool_take(p, &c) == ERR_NOROOM);
    pool_shrink(p, a, bytes);
    CHECK(pool_is_small(p, a) && pool_free_blocks(p) == 0 && pool_used_bytes(p) == 192);
    pool_shrink(p, b, bytes);
    CHECK(pool_small_blocks(p) == 2 && pool_free_blocks(p) == 1 && pool_used_bytes(p) == 128);
    CHECK(pool_take(p, &c) == ERR_OK && !pool_is_small(p, c));
    CHECK(memcmp(pool_bytes(p, a), bytes, 64) == 0 && memcmp(pool_bytes(p, b), bytes, 64) == 0);
    pool_close(p);
}

TEST(pool_swaps_a_whole_block_and_a_small_one)
{
    uint8_t bytes[64];
    pool_block a = 0, b = 0;
    pool *p = NULL;

    CHECK(pool_open(&p, 2 * 192, 192, 3) == ERR_OK);
    CHECK(pool_take(p, &a) == ERR_OK && pool_take(p, &b) == ERR_OK);
    paint(p, b, 9, 192);
    memset(bytes, 7, sizeof bytes);
    pool_shrink(p, a, bytes);
    pool_swap(p, a, b);
    CHECK(!pool_is_small(p, a) && pool_is_small(p, b));
    CHECK(is_painted(p, a, 9) && is_painted(p, b, 7));
    pool_give(p, b);
    CHECK(pool_free_blocks(p) == 1 && pool_small_blocks(p) == 0 && is_painted(p, a, 9));
    pool_give(p, a);
    CHECK(pool_free_blocks(p) == 2 && pool_used_bytes(p) == 0);
    pool_close(p);
}

enum { FRAMES = 11, MOST = FRAMES * POOL_MOST_PARTS };

/* A pool of so many parts, and a model of it. */
typedef struct scene {
    pool *pool;
    size_t parts, part, bytes;
    pool_block taken[MOST];
    int colour[MOST];
    size_t n, used, joined;
} scene;

static void take(scene *s, int colour)
{
    const size_t room = (FRAMES * s->bytes - s->used) / s->bytes; /* loose places are joined */
    const bool joins = room && s->used % s->bytes == 0 && pool_free_blocks(s->pool) == room;
    pool_block b;

    CHECK((pool_take(s->pool, &b) == ERR_OK) == (room > 0));
    if (!room) return;
    s->joined += joins;
    paint(s->pool, b, s->colour[s->n] = colour, s->bytes);
    s->taken[s->n++] = b;
    s->used += s->bytes;
}

static void give(scene *s, size_t at)
{
    s->used -= pool_bytes_of(s->pool, s->taken[at]);
    pool_give(s->pool, s->taken[at]);
    s->taken[at] = s->taken[--s->n];
    s->colour[at] = s->colour[s->n];
}

/* To other bytes, or to what it begins with. */
static void shrink(scene *s, size_t at, int colour, bool other)
{
    uint8_t bytes[64 * POOL_MOST_PARTS];

    memset(bytes, colour, sizeof bytes);
    if (other) s->colour[at] = colour;
    pool_shrink(s->pool, s->taken[at], other ? bytes : pool_bytes(s->pool, s->taken[at]));
    s->used -= s->bytes - s->part;
}

/* Blocks are taken, shrunk, swapped and given back at random, until the small ones lie
 * anywhere.
 */
static void run_parts(size_t parts)
{
    scene s = {.parts = parts, .part = 64, .bytes = 64 * parts};
    uint32_t state = 5;

    CHECK(pool_open(&s.pool, FRAMES * s.bytes, s.bytes, parts) == ERR_OK);
    for (int i = 0; i < 10000; i++) {
        const size_t at = s.n ? (state >> 16) % s.n : 0;

        state = state * 1664525u + 1013904223u;
        if (state >> 30 == 0 && s.n)
            give(&s, at);
        else if (state >> 31 && s.n && !pool_is_small(s.pool, s.taken[at]))
            shrink(&s, at, i & 255, state >> 20 & 1);
        else if (state >> 27 == 8 && s.n) { /* they change names, and what they hold */
            pool_swap(s.pool, s.taken[at], s.taken[0]);
            const int colour = s.colour[at];
            s.colour[at] = s.colour[0];
            s.colour[0] = colour;
        } else
            take(&s, i & 255);
        CHECK(pool_used_bytes(s.pool) == s.used);
        CHECK(pool_free_blocks(s.pool) == (FRAMES * s.bytes - s.used) / s.bytes);
        for (size_t j = 0; j < s.n; j++) CHECK(is_painted(s.pool, s.taken[j], s.colour[j]));
    }
    CHECK(s.joined > 50);
    while (s.n) give(&s, 0);
    CHECK(pool_free_blocks(s.pool) == FRAMES && !pool_small_blocks(s.pool));
    pool_close(s.pool);
}

TEST(pool_of_parts_survives_ten_thousand_random_operations)
{
    run_parts(2);
    run_parts(3);
    run_parts(6);
    run_parts(POOL_MOST_PARTS);
}
