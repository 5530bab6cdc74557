/* test_prefix.c - blocks are found by what led to them, and by nothing else. */
#include "xcache/prefix.h"

#include "tests/test.h"
#include "xcache/lru.h"

enum { N = 64 };

static prefix_key key_of(const prefix_table *t, prefix_key before, int32_t id)
{
    return prefix_next(t, before, &id, sizeof id);
}

TEST(prefix_finds_a_block_by_its_chain)
{
    const prefix_key root = {1, 2};
    prefix_table *t = NULL;
    prefix_key a, b;

    CHECK(prefix_open(&t, N, 128) == ERR_OK);
    a = key_of(t, root, 7);
    b = key_of(t, a, 8);
    CHECK(prefix_find(t, a, PREFIX_NONE) == PREFIX_NONE);
    CHECK(prefix_add(t, a, PREFIX_NONE, 5) && prefix_add(t, b, 5, 9));
    CHECK(prefix_find(t, a, PREFIX_NONE) == 5 && prefix_find(t, b, 5) == 9);
    CHECK(prefix_find(t, b, PREFIX_NONE) == PREFIX_NONE); /* another parent */
    CHECK(prefix_find(t, key_of(t, root, 8), PREFIX_NONE) == PREFIX_NONE);
    CHECK(prefix_has(t, 9) && !prefix_has(t, 8) && prefix_of(t, 9).low == b.low);
    prefix_remove(t, 5);
    CHECK(prefix_find(t, a, PREFIX_NONE) == PREFIX_NONE && prefix_find(t, b, 5) == 9);
    prefix_close(t);
}

TEST(prefix_keys_depend_on_every_bit_before_them)
{
    const prefix_key root = {1, 2}, other = {1, 3};
    prefix_table *t = NULL;

    CHECK(prefix_open(&t, N, 128) == ERR_OK);
    CHECK(key_of(t, root, 7).low != key_of(t, other, 7).low);
    CHECK(key_of(t, root, 7).high != key_of(t, root, 8).high);
    CHECK(key_of(t, root, 7).low == key_of(t, root, 7).low);
    prefix_close(t);
}

TEST(prefix_survives_collisions_in_every_bucket)
{
    const prefix_key root = {0, 0};
    prefix_table *t = NULL;
    prefix_key keys[N];
    size_t in = 0;

    CHECK(prefix_open(&t, N, 5) == ERR_OK); /* 32 keys for 64 blocks */
    for (pool_block i = 0; i < N; i++) {
        keys[i] = key_of(t, root, (int32_t)i);
        CHECK(keys[i].low < 32 && keys[i].high == 0);
        in += prefix_add(t, keys[i], PREFIX_NONE, i);
    }
    CHECK(in > 16 && in <= 32);
    for (pool_block i = 0; i < N; i++) {
        const pool_block b = prefix_find(t, keys[i], PREFIX_NONE);

        CHECK(b <= i && prefix_has(t, b) && keys[b].low == keys[i].low);
    }
    for (pool_block i = 0; i < N; i++)
        if (prefix_has(t, i)) prefix_remove(t, i);
    for (pool_block i = 0; i < N; i++)
        CHECK(prefix_find(t, keys[i], PREFIX_NONE) == PREFIX_NONE);
    prefix_close(t);
}

TEST(lru_gives_the_oldest_whatever_was_taken_from_between)
{
    lru l;

    CHECK(lru_open(&l, 8) == ERR_OK && l.oldest == LRU_NONE);
    for (uint32_t i = 0; i < 5; i++) lru_add(&l, i);
    lru_remove(&l, 2);
    lru_remove(&l, 0);
    lru_add(&l, 0);
    CHECK(l.count == 4 && lru_has(&l, 0) && !lru_has(&l, 2));
    for (uint32_t want[] = {1, 3, 4, 0}, i = 0; i < 4; i++) {
        CHECK(l.oldest == want[i]);
        lru_remove(&l, l.oldest);
    }
    CHECK(l.count == 0 && l.oldest == LRU_NONE && l.newest == LRU_NONE);
    lru_close(&l);
}
