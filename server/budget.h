/* budget.h - what a server takes of the machine's memory, told before it is taken. */
#ifndef SERVER_BUDGET_H
#define SERVER_BUDGET_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Bytes, by what they are for. */
typedef struct budget {
    uint64_t weights; /* packed */
    uint64_t pool;
    uint64_t contexts; /* of context_tokens tokens, that the pool holds */
    size_t context_tokens;
    uint64_t workspace;
    uint64_t scratch; /* buffers of a step, open pages, tables, positions */
    uint64_t plan;    /* what rebuilding multiplies with */
} budget;

/* What there is. */
typedef struct budget_limit {
    uint64_t bytes; /* of the machine, or of the tightest cgroup around us */
    uint64_t free;  /* of these, cached files counted in */
    bool cgroup;    /* it is a cgroup's */
} budget_limit;

enum { BUDGET_TEXT = 256 };

/* "weights 4.6 GiB, pool 8 GiB = 1,912 contexts of 4k tokens, workspace 1 GiB, scratch 210 MiB;
 * machine has 16 GiB". False: it cannot fit. */
bool budget_report(const budget *b, const budget_limit *limit, char text[BUDGET_TEXT]);

uint64_t budget_sum(const budget *b);

/* Read /proc and /sys/fs/cgroup below `root`, which is "" but for tests. */
budget_limit budget_read_limit(const char *root);

/* "4.6 GiB", "512 MiB", "17 bytes". Returns text. */
const char *budget_write_bytes(uint64_t bytes, char text[24]);

/* "1,912". Returns text. */
const char *budget_write_count(uint64_t n, char text[32]);

/* "4k" for 4096, "1500". Returns text. */
const char *budget_write_tokens(size_t n, char text[24]);

#endif
