/* test_memory_idle.c - what contexts that nobody computes cost besides their blocks. */
#include <stdio.h>

#include "tests/lab.h"
#include "tests/test.h"
#include "xcache/sink_table.h"

/* Resident memory that is the process's own: the pool is shared memory and not in it. */
static size_t own_bytes(void)
{
    FILE *f = fopen("/proc/self/status", "r");
    size_t kib = 0;
    char line[256];

    CHECK(f != NULL);
    while (fgets(line, sizeof line, f))
        if (sscanf(line, "RssAnon: %zu kB", &kib) == 1) break;
    fclose(f);
    CHECK(kib > 0);
    return kib << 10;
}

/* A context of two blocks that no other has; but their first tokens are alike, of which the
 * table of sinks has a bounded number. Nothing is computed: what an open page holds is sealed
 * as it is. */
static void leave_context(lab *l, int32_t number)
{
    enum { TOKENS = 2 * CACHE_BLOCK_TOKENS };
    const cache_request wanted = {.tokens = TOKENS};
    int32_t ids[CACHE_BLOCK_TOKENS] = {[SINK_TOKENS] = number, number};
    context *c = NULL;

    CHECK(cache_begin(l->cache, &wanted, &c) == ERR_OK);
    for (int i = 0; i < 2; i++) {
        cache_push(c, ids, CACHE_BLOCK_TOKENS);
        cache_commit(c);
    }
    cache_end(c);
}

TEST(memory_of_an_idle_context_is_its_blocks_and_their_index_entries)
{
    enum { CONTEXTS = 300, ENTRY = 128, PAGES = 64 << 10 };
    cache_stats stats;
    size_t before;
    lab l;

    lab_open(&l, LAB_EMBEDDED, "xq4", 1);
    leave_context(&l, CONTEXTS);
    before = own_bytes();
    for (int32_t i = 0; i < CONTEXTS; i++) leave_context(&l, i);
    CHECK(own_bytes() <= before + CONTEXTS * 2 * ENTRY + PAGES);
    cache_read_stats(l.cache, &stats);
    CHECK(stats.idle_tokens == (CONTEXTS + 1) * 2 * CACHE_BLOCK_TOKENS);
    lab_close(&l);
}
