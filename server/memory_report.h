/* memory_report.h - what a server takes of the machine's memory, told before it is taken.
 * Nothing here enforces it: the pool and the workspace keep to their own bounds (xcache/). */
#ifndef SERVER_MEMORY_REPORT_H
#define SERVER_MEMORY_REPORT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Bytes, by what they are for. */
typedef struct memory_needs {
    uint64_t weights; /* packed */
    uint64_t pool;
    uint64_t contexts; /* of context_tokens tokens, that the pool holds */
    size_t context_tokens;
    uint64_t workspace;
    uint64_t scratch; /* buffers of a step, open pages, tables, positions, the tokens' tree */
    uint64_t plan;    /* what rebuilding multiplies with, where a plan is used */
    uint64_t factors; /* the same of a mode that has none: projections in floats, bases */
} memory_needs;

/* Whose limit it is. */
typedef enum memory_source {
    MEMORY_MACHINE,
    MEMORY_CGROUP,
    MEMORY_RLIMIT_AS,
    MEMORY_RLIMIT_DATA
} memory_source;

/* What there is. */
typedef struct memory_limit {
    uint64_t bytes; /* of the tightest; of an RLIMIT what it leaves beside what is mapped */
    uint64_t free;  /* of these, cached files counted in */
    memory_source source;
} memory_limit;

enum { MEMORY_REPORT_TEXT = 256 };

/* "weights 4.6 GiB, pool 8 GiB = 1,912 contexts of 4k tokens, workspace 1 GiB, scratch 210 MiB;
 * machine has 16 GiB". False: it cannot fit. */
bool memory_report_write(const memory_needs *b, const memory_limit *limit,
                         char text[MEMORY_REPORT_TEXT]);

uint64_t memory_report_sum(const memory_needs *b);

/* Read /proc and /sys/fs/cgroup below `root`, which is "" but for tests, and our rlimits. */
memory_limit memory_report_limit(const char *root);

/* "4.6 GiB", "512 MiB", "17 bytes". Returns text. */
const char *memory_report_bytes(uint64_t bytes, char text[24]);

/* "1,912". Returns text. */
const char *memory_report_count(uint64_t n, char text[32]);

/* "4k" for 4096, "1500". Returns text. */
const char *memory_report_tokens(size_t n, char text[24]);

#endif
