/* bench_report.h - what `xquantd bench` measured, and its two forms on stdout. */
#ifndef SERVER_CMD_BENCH_REPORT_H
#define SERVER_CMD_BENCH_REPORT_H

#include <stdbool.h>
#include <stddef.h>

#include "server/cmd/bench.h"
#include "server/cmd/bench_grammar.h"
#include "server/runtime.h"

/* What can be measured: rows of bench_tests.def by number, and ored as bits. */
enum {
#define BENCH_TEST(name, word) BENCH_ROW_##name,
#include "server/cmd/bench_tests.def"
#undef BENCH_TEST
};

enum {
#define BENCH_TEST(name, word) BENCH_##name = 1 << BENCH_ROW_##name,
#include "server/cmd/bench_tests.def"
#undef BENCH_TEST
};

enum {
    BENCH_CASES = 6,        /* of speed, at most */
    BENCH_MODE_BYTES = 32,  /* no mode's name is longer */
    BENCH_POOL = 128 << 20, /* bytes filled */
};

/* A mode, what is asked of it, and what came out. */
typedef struct bench_subject {
    char name[BENCH_MODE_BYTES];
    unsigned tests;
    const struct plan *plan; /* borrowed; NULL: it needs none */
    bench_time speed[BENCH_CASES];
    bench_attach attach;
    bench_fill fill;
} bench_subject;

typedef struct bench_report {
    const runtime *runtime;
    unsigned tests; /* of all subjects together */
    int repeat;
    bench_case cases[BENCH_CASES];
    size_t n_cases;
    bench_subject *subjects; /* [n] */
    size_t n;
    size_t cached;      /* tokens attached again: whole blocks */
    bench_time prefill; /* of them by kv16 */
    bench_time decode;  /* of a token by kv16, beside the forms */
    bench_grammar grammars[BENCH_GRAMMARS];
} bench_report;

/* Print to stdout. False: it could not be written, or there is no memory. */
bool bench_report_json(const bench_report *r);
bool bench_report_tables(const bench_report *r);

#endif
