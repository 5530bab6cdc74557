/* bench.h - how fast a cache mode runs on this machine, and how much of it a pool holds.
 *
 * Every measurement opens a cache of its own, runs once unmeasured, then `repeat` times; a
 * figure is that of the run in the middle. The text is given, so that codes are those of real
 * layer inputs; nothing is sampled. */
#ifndef SERVER_CMD_BENCH_H
#define SERVER_CMD_BENCH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "engine/err.h"
#include "server/runtime.h"
#include "xcache/calibrate/reader.h"
#include "xcache/stage.h"

enum {
    BENCH_CTX = 2048,      /* positions that the runtime has to prepare; no context is longer */
    BENCH_REPEAT_MAX = 100 /* as options.def says */
};

typedef struct bench {
    const runtime *runtime; /* without a cache */
    const int32_t *ids;     /* [n_ids] a text of at least BENCH_CTX tokens */
    size_t n_ids;
    int repeat;
    int max_running; /* open pages of a server, whose memory is counted */
} bench;

/* `batch` contexts that hold `depth` tokens compute `tokens` more each, in steps of at most
 * `step` each: batch * step rows at once, no more than forward_max_rows. */
typedef struct bench_case {
    size_t tokens, depth, batch, step;
} bench_case;

/* What the runs of one measurement took: the middle one, and (longest - shortest) / it. */
typedef struct bench_time {
    double seconds, spread;
} bench_time;

/* Time a case: forward passes and, where a block fills up, its sealing. s: told of progress.
 * Errors: those of cache_open; NOMEM. */
err bench_speed(const bench *b, const reader_mode *mode, const bench_case *what, const stage *s,
                bench_time *out);

/* How long a context of `tokens` cached tokens, whole blocks, waits for its pages. */
typedef struct bench_attach {
    bool rebuilds; /* false: the mode has no pages, and the rest is 0 */
    bench_time time;
    double gflops;         /* bench_flop over that time */
    double ceiling_gflops; /* products of the rebuild's shape by OpenBLAS, fp32, all threads,
                              between the same runs */
} bench_attach;

err bench_reattach(const bench *b, const reader_mode *mode, size_t tokens, const stage *s,
                   bench_attach *out);

/* Flop of the products that rebuild one token: MHA xq and cl 4 D E L; GQA xq 4 E E L, cl
 * 4 D E L + 2 D min(2E, D) (L - 3); klt 2 (D p + D n + 2 D E) L, p = D or twice the rank of the
 * predictor, n = components stored, mean over layers. 0 for a mode without products. */
double bench_flop(const model *m, const reader_mode *mode);

/* A pool filled with sealed blocks until the next would evict one, by its own accounting. */
typedef struct bench_fill {
    uint64_t pool_bytes;
    size_t blocks, block_tokens, block_bytes;
    double ratio; /* fp16 K and V of the same tokens over the bytes in use */
    /* Of a server with a pool of 1 GiB and its other options as they are by default: */
    uint64_t gib_blocks; /* that fit */
    uint64_t gib_memory; /* pool, workspace, scratch and plan together */
} bench_fill;

/* Fill pool_bytes. Only the first block is computed: the others are sealed from the same layer
 * inputs under ids of their own, which takes the same room. */
err bench_fill_pool(const bench *b, const reader_mode *mode, uint64_t pool_bytes,
                    const stage *s, bench_fill *out);

/* Conversations of `tokens` tokens that a filled pool holds; only whole blocks are stored. */
typedef struct bench_capacity {
    double contexts;
    size_t bytes_per_context;
    double per_gib;        /* of pool */
    double per_gib_of_all; /* of pool, workspace, scratch and plan */
} bench_capacity;

bench_capacity bench_count(const bench_fill *f, size_t tokens);

#endif
