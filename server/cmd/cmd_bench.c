/* cmd_bench.c - `xquantd bench`: speed, re-attach time and capacity of cache modes, and what it
 * costs to hold an answer to a form.
 *
 *   options -> subjects: a mode, and what is asked of it -> plan -> each in turn -> report
 *
 * Nothing is measured side by side: figures of one machine under two loads say nothing. Work is
 * guessed beforehand in tokens of prefill, for the bar alone. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "config/config.h"
#include "server/cmd/bench_report.h"
#include "server/cmd/command.h"
#include "server/cmd/plan_maker.h"
#include "server/document.h"
#include "server/folders.h"
#include "server/progress.h"
#include "server/runtime.h"
#include "xcache/codec/codec.h"

enum {
    PROMPT = 512,         /* tokens read */
    ANSWER = 64,          /* tokens decoded: within a block, so that none is sealed */
    BATCH = 8,            /* contexts that decode together */
    CACHED = 1920,        /* tokens attached again */
    DEFAULT_SUBJECTS = 32 /* more than there are modes */
};

static const reader_mode yardstick = {"kv16", NULL}; /* whose prefill a rebuild replaces */

/* What the command holds while it runs, and what is at fault if it fails. One struct, closed in
 * one place whatever was reached. */
typedef struct session {
    const config *c;
    runtime runtime;
    plan *plan; /* of the klt modes; NULL: there is none of them */
    bench bench;
    int32_t *ids; /* of the text */
    bench_report report;
    progress bar;
    double work, done; /* about as many tokens of prefill */
    char about[4400];
} session;

/* --- what to measure --- */

typedef struct test_word {
    const char *word;
    unsigned bit;
} test_word;

/* From one list: the words of --tests, what help says of them, and the bits. */
static const test_word words[] = {
#define BENCH_TEST(name, word) {word, BENCH_##name},
#include "server/cmd/bench_tests.def"
#undef BENCH_TEST
};
static const char all_words[] =
#define BENCH_TEST(name, word) " " word
#include "server/cmd/bench_tests.def"
#undef BENCH_TEST
    ;

/* The bit of a word; 0: it is none. */
static unsigned test_bit(const char *word, size_t n)
{
    for (const test_word *w = words; w < words + sizeof words / sizeof *words; w++)
        /* The whole word, for no word may be the beginning of another one later. */
        if (strlen(w->word) == n && memcmp(w->word, word, n) == 0) return w->bit;
    return 0;
}

/* "speed,attach" to bits; false after a sentence on stderr. */
static bool parse_tests(const char *list, unsigned *tests)
{
    for (const char *at = list;; at++) {
        const size_t n = strcspn(at, ",");
        const unsigned bit = test_bit(at, n);

        if (!bit) {
            fprintf(stderr, "xquantd: --tests: '%.*s' is none of:%s\n", (int)n, at, all_words);
            return false;
        }
        *tests |= bit;
        at += n;
        if (!*at) return true;
    }
}

/* Ask `tests` of a mode; each mode is listed once. There is room. */
static void add_mode(session *s, const char *name, unsigned tests)
{
    bench_subject *at = s->report.subjects;

    tests &= s->report.tests;
    if (!tests) return;
    while (at < s->report.subjects + s->report.n && strcmp(at->name, name) != 0) at++;
    if (at == s->report.subjects + s->report.n) {
        snprintf(at->name, sizeof at->name, "%.*s", BENCH_MODE_BYTES - 1, name);
        s->report.n++;
    }
    at->tests |= tests;
}

/* Every fixed mode is counted, some are timed, and one klt mode is both. */
static void add_default_modes(session *s)
{
    char mode[16];

    for (size_t i = 0; codec_mode(i, mode); i++) add_mode(s, mode, BENCH_CONTEXTS);
    add_mode(s, "kv16", BENCH_SPEED);
    add_mode(s, "xq4", BENCH_SPEED | BENCH_REMAT | BENCH_ATTACH);
    add_mode(s, "cl3", BENCH_REMAT | BENCH_ATTACH);
    /* Where heads share keys and values a layer input saves less: 7.5 is about as near to exact
     * there as 16 is here. */
    add_mode(s, model_is_mha(s->runtime.weights) ? "klt16" : "klt7.5",
             BENCH_SPEED | BENCH_REMAT | BENCH_ATTACH | BENCH_CONTEXTS);
}

/* "kv16,xq4" -> subjects; "auto" alone stands for the defaults. */
static err list_modes(session *s)
{
    char *list = strdup(s->c->cache), *at = list, *name;

    s->report.subjects = calloc(strlen(s->c->cache) + DEFAULT_SUBJECTS,
                                sizeof *s->report.subjects);
    if (!list || !s->report.subjects) {
        free(list);
        return ERR_NOMEM;
    }
    if (strcmp(list, "auto") == 0)
        add_default_modes(s);
    else
        while ((name = strsep(&at, ","))) add_mode(s, name, s->report.tests);
    free(list);
    return ERR_OK;
}

/* First of all: one that must be made takes minutes. */
static err open_plan(session *s)
{
    for (size_t i = 0; i < s->report.n; i++) {
        bench_subject *of = &s->report.subjects[i];
        fault why = {0};
        err e = ERR_OK;

        if (codec_ratio(of->name) == 0) continue;
        if (!s->plan) e = plan_maker_open(&s->runtime, of->name, NULL, &s->plan, &why);
        snprintf(s->about, sizeof s->about, "%s", why.field);
        TRY(e);
        of->plan = s->plan;
    }
    return ERR_OK;
}

/* The text that ships, for layer inputs as they really are. */
static err read_text(session *s)
{
    char path[4200], *text;
    size_t n = 0;
    err e;

    folders_find_shipped("models/calibration.txt", path, sizeof path);
    snprintf(s->about, sizeof s->about, "%s", path);
    errno = ENOMEM;
    text = document_read(path, &n);
    if (!text) return ERR_SYSTEM;
    e = document_encode(s->runtime.tokens, text, n, TOKENIZER_PLAIN, &s->ids, &n);
    free(text);
    if (e == ERR_OK && n < BENCH_CTX) e = ERR_EMPTY;
    s->bench = (bench){.runtime = &s->runtime,
                       .ids = s->ids,
                       .n_ids = n,
                       .repeat = (int)s->c->repeat,
                       .max_running = (int)s->c->max_running};
    return e;
}

/* What the report is about: a prompt; answers at depths; answers together. */
static void list_cases(session *s)
{
    const size_t B = s->runtime.block_tokens, most = forward_max_rows(s->runtime.forward);
    const size_t running = (size_t)s->c->max_running;
    const bench_case cases[BENCH_CASES] = {
        {PROMPT, 0, 1, B},     {ANSWER, 0, 1, 1},
        {ANSWER, B, 1, 1},     {ANSWER, 8 * B, 1, 1},
        {ANSWER, B, BATCH, 1}, {ANSWER, B, running < most ? running : most, 1},
    };

    s->report.runtime = &s->runtime;
    s->report.repeat = s->bench.repeat;
    memcpy(s->report.cases, cases, sizeof cases);
    s->report.n_cases = running > BATCH ? BENCH_CASES : BENCH_CASES - 1;
    /* Whole blocks: an open one would be copied, not rebuilt. */
    s->report.cached = CACHED / B * B;
}

/* --- how long it may take, in tokens of prefill --- */

/* A step costs what its rows do, and about five rows more for going through the weights. */
static double case_work(const session *s, const bench_case *k)
{
    const double steps = (double)(k->tokens / k->step * (1 + s->bench.repeat));

    return (double)(k->depth * k->batch) + steps * (double)(5 + k->step * k->batch);
}

static double attach_work(const session *s)
{
    return (double)s->report.cached + 600.0 * s->bench.repeat;
}

static double prefill_work(const session *s)
{
    return (double)(s->report.cached * (size_t)(1 + s->bench.repeat));
}

enum { FILL_WORK = 3000 };

static double subject_work(const session *s, const bench_subject *of)
{
    double work = of->tests & BENCH_CONTEXTS ? FILL_WORK : 0;

    if (of->tests & (BENCH_REMAT | BENCH_ATTACH)) work += attach_work(s);
    for (size_t i = 0; of->tests & BENCH_SPEED && i < s->report.n_cases; i++)
        work += case_work(s, &s->report.cases[i]);
    return work;
}

/* A token of one answer stands for a step: the shortest there is. */
static const bench_case one_answer = {ANSWER, 0, 1, 1};

static double grammar_work(const session *s)
{
    return case_work(s, &one_answer) + 1000;
}

static void plan_work(session *s)
{
    s->work = s->report.tests & BENCH_ATTACH ? prefill_work(s) : 0;
    for (size_t i = 0; i < s->report.n; i++) s->work += subject_work(s, &s->report.subjects[i]);
    if (s->report.tests & BENCH_GRAMMAR) s->work += grammar_work(s);
}

static void show_progress(void *arg, double done)
{
    session *s = arg;

    progress_show(&s->bar, done);
}

/* The next measurement, which takes `work`. */
static stage next_stage(session *s, double work)
{
    const stage next = {show_progress, s, s->done / s->work, work / s->work};

    s->done += work;
    return next;
}

/* --- measuring --- */

static err measure_speed(session *s, bench_subject *of, const reader_mode *mode)
{
    for (size_t i = 0; i < s->report.n_cases; i++) {
        const stage at = next_stage(s, case_work(s, &s->report.cases[i]));

        TRY(bench_speed(&s->bench, mode, &s->report.cases[i], &at, &of->speed[i]));
    }
    return ERR_OK;
}

static err measure_subject(session *s, bench_subject *of)
{
    const reader_mode mode = {of->name, of->plan};

    if (of->tests & BENCH_SPEED) TRY(measure_speed(s, of, &mode));
    if (of->tests & (BENCH_REMAT | BENCH_ATTACH)) {
        const stage at = next_stage(s, attach_work(s));

        TRY(bench_reattach(&s->bench, &mode, s->report.cached, &at, &of->attach));
    }
    if (of->tests & BENCH_CONTEXTS) {
        const stage at = next_stage(s, FILL_WORK);

        TRY(bench_fill_pool(&s->bench, &mode, BENCH_POOL, &at, &of->fill));
    }
    return ERR_OK;
}

static err measure_prefill(session *s)
{
    const bench_case whole = {s->report.cached, 0, 1, s->runtime.block_tokens};
    const stage at = next_stage(s, prefill_work(s));

    return bench_speed(&s->bench, &yardstick, &whole, &at, &s->report.prefill);
}

static err measure_grammars(session *s)
{
    const stage at = next_stage(s, grammar_work(s));

    TRY(bench_speed(&s->bench, &yardstick, &one_answer, &at, &s->report.decode));
    s->report.decode.seconds /= ANSWER;
    return bench_grammar_run(s->runtime.tokens, s->report.grammars);
}

static err measure(session *s)
{
    err e = ERR_OK;

    plan_work(s);
    if (s->report.tests & BENCH_ATTACH) e = measure_prefill(s);
    for (size_t i = 0; i < s->report.n && e == ERR_OK; i++) {
        snprintf(s->about, sizeof s->about, "--cache %s", s->report.subjects[i].name);
        e = measure_subject(s, &s->report.subjects[i]);
    }
    if (e == ERR_OK && s->report.tests & BENCH_GRAMMAR) e = measure_grammars(s);
    progress_clear(&s->bar);
    return e;
}

/* --- the run --- */

/* Prints only when all is well. ERR_SYSTEM of the last line is a write that failed: errno may
 * have been left by anything, so it is set to what a failed stdout means. */
static err run_session(session *s)
{
    TRY(command_open_model(&s->runtime, s->c, s->about, sizeof s->about));
    TRY(read_text(s));
    list_cases(s);
    TRY(list_modes(s));
    TRY(open_plan(s));
    TRY(measure(s));
    s->about[0] = '\0';
    errno = EIO;
    return (s->c->json ? bench_report_json(&s->report) : bench_report_tables(&s->report))
               ? ERR_OK
               : ERR_SYSTEM;
}

static void close_session(session *s)
{
    plan_close(s->plan);
    free(s->report.subjects);
    free(s->ids);
    runtime_close(&s->runtime);
}

static int fail(const session *s, err e)
{
    fprintf(stderr, "xquantd: %s%s%s\n", s->about, *s->about ? ": " : "",
            e == ERR_SYSTEM && errno ? strerror(errno) : err_text(e));
    return 1;
}

static int run(config *c)
{
    session s = {.c = c};
    int code = 2;
    err e;

    if (!parse_tests(c->tests, &s.report.tests)) return code;
    c->ctx_size = BENCH_CTX; /* positions that the model prepares */
    e = run_session(&s);
    code = e == ERR_OK ? 0 : fail(&s, e);
    close_session(&s);
    return code;
}

int cmd_bench(int argc, char **argv)
{
    return command_run(CONFIG_BENCH, argc, argv, run);
}
