/* test_paths.c - the two ways to keys and values: a workspace of floats gives what streaming
 * gives, to the bit; one of int8 stays near it. (Q8_0 weights round activations to 8 bits, so
 * the least change of a key is worth a KL of 4e-4 to 7e-4, which halves show too.) */
#include <stdlib.h>
#include <string.h>

#include "tests/lab.h"
#include "tests/test.h"

enum { N = 640 };

/* Logits [N,V] of the ids over a cache of this mode and path. */
static void read_over(lab *l, const char *mode, uint64_t pages, kv_format format,
                      const int32_t *ids, float *logits)
{
    const cache_options o = {.mode = mode,
                             .plan = l->plan,
                             .budget_bytes = 64 << 20,
                             .workspace_bytes = pages,
                             .page_format = format,
                             .max_running = 1,
                             .team = l->team,
                             .ctx_tokens = l->m->ctx};

    cache_close(l->cache);
    CHECK(cache_open(&l->cache, l->m, &l->kern, &o) == ERR_OK);
    cache_end(lab_read(l, ids, N, LAB_BLOCKS, logits));
}

static void check_paths(const char *mode)
{
    float *streamed, *paged;
    int32_t ids[N];
    size_t bytes;
    double kl;
    lab l;

    lab_open(&l, LAB_EMBEDDED, mode, 2);
    CHECK(lab_text_ids(&l, "models/calibration.txt", ids, N));
    bytes = N * l.m->V * sizeof *streamed;
    streamed = malloc(bytes);
    paged = malloc(bytes);
    read_over(&l, mode, CACHE_STREAMING, KV_FLOAT, ids, streamed);
    read_over(&l, mode, 1 << 30, KV_FLOAT, ids, paged);
    CHECK(memcmp(streamed, paged, bytes) == 0);
    read_over(&l, mode, 1 << 30, KV_INT8, ids, paged);
    kl = lab_kl(streamed, paged, N, l.m->V);
    CHECK(kl > 0 && kl < 1e-3);
    read_over(&l, mode, 1 << 30, KV_HALF, ids, paged);
    CHECK(lab_kl(streamed, paged, N, l.m->V) < kl);
    free(streamed);
    free(paged);
    lab_close(&l);
}

TEST(paths_agree_in_modes_of_each_kind)
{
    check_paths("kivi4");
    check_paths("xq4");
    check_paths("cl3");
    check_paths("klt16");
}
