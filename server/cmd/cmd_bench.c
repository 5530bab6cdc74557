/* cmd_bench.c - `xquantd bench`: speed, re-attach time and capacity of cache modes. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <uv.h>

#include "config/config.h"
#include "engine/kern/cpu.h"
#include "server/cmd/bench.h"
#include "server/cmd/command.h"
#include "server/cmd/plan_maker.h"
#include "server/document.h"
#include "server/folders.h"
#include "server/progress.h"
#include "server/runtime.h"
#include "server/text.h"
#include "xcache/codec/codec.h"

/* What can be measured, ored: a word of --tests each. */
enum { SPEED = 1, REMAT = 2, ATTACH = 4, CONTEXTS = 8 };

static const char *const test_words[] = {"speed", "remat", "attach", "contexts"};
enum { TESTS = sizeof test_words / sizeof test_words[0] };

/* Lengths of the conversations that are counted. */
static const size_t lengths[] = {2048, 1500};
enum { LENGTHS = sizeof lengths / sizeof lengths[0] };

enum {
    PROMPT = 512,         /* tokens read */
    ANSWER = 64,          /* tokens decoded: within a block, so that none is sealed */
    BATCH = 8,            /* contexts that decode together */
    CASES = 6,            /* of speed */
    CACHED = 1920,        /* tokens attached again */
    POOL = 128 << 20,     /* bytes filled */
    MODE_BYTES = 32,      /* no mode's name is longer */
    DEFAULT_SUBJECTS = 32 /* more than there are modes */
};

static const reader_mode yardstick = {"kv16", NULL}; /* whose prefill a rebuild replaces */

/* A mode, what is asked of it, and what came out. */
typedef struct subject {
    char name[MODE_BYTES];
    unsigned tests;
    plan *plan;
    bench_time speed[CASES];
    bench_attach attach;
    bench_fill fill;
} subject;

/* What the command holds while it runs, and what is at fault if it fails. */
typedef struct session {
    const config *c;
    unsigned tests;
    runtime runtime;
    bench bench;
    int32_t *ids; /* of the text */
    bench_case cases[CASES];
    size_t n_cases;
    subject *subjects; /* [n] */
    size_t n;
    size_t cached;      /* CACHED, or the whole blocks in it */
    bench_time prefill; /* of them by the yardstick */
    progress bar;
    double work, done; /* about as many tokens of prefill */
    char about[4400];
} session;

/* --- what to measure --- */

/* The bit of a word; 0: it is none. */
static unsigned test_bit(const char *word, size_t n)
{
    for (unsigned i = 0; i < TESTS; i++)
        if (strlen(test_words[i]) == n && memcmp(test_words[i], word, n) == 0) return 1u << i;
    return 0;
}

/* "speed,attach" to bits; false after a sentence on stderr. */
static bool parse_tests(const char *list, unsigned *tests)
{
    for (const char *at = list;; at++) {
        const size_t n = strcspn(at, ",");
        const unsigned bit = test_bit(at, n);

        if (!bit) {
            fprintf(stderr,
                    "xquantd: --tests: '%.*s' is none of: speed remat attach contexts\n",
                    (int)n, at);
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
    subject *at = s->subjects;

    tests &= s->tests;
    if (!tests) return;
    while (at < s->subjects + s->n && strcmp(at->name, name) != 0) at++;
    if (at == s->subjects + s->n) {
        snprintf(at->name, sizeof at->name, "%.*s", MODE_BYTES - 1, name);
        s->n++;
    }
    at->tests |= tests;
}

/* Every fixed mode is counted, some are timed, and one klt mode is both. */
static void add_default_modes(session *s)
{
    char mode[16];

    for (size_t i = 0; codec_mode(i, mode); i++) add_mode(s, mode, CONTEXTS);
    add_mode(s, "kv16", SPEED);
    add_mode(s, "xq4", SPEED | REMAT | ATTACH);
    add_mode(s, "cl3", REMAT | ATTACH);
    add_mode(s, model_is_mha(s->runtime.weights) ? "klt16" : "klt7.5",
             SPEED | REMAT | ATTACH | CONTEXTS);
}

/* "kv16,xq4" -> subjects; "auto" alone stands for the defaults. */
static err list_modes(session *s)
{
    char *list = strdup(s->c->cache), *at = list, *name;

    s->subjects = calloc(strlen(s->c->cache) + DEFAULT_SUBJECTS, sizeof *s->subjects);
    if (!list || !s->subjects) {
        free(list);
        return ERR_NOMEM;
    }
    if (strcmp(list, "auto") == 0)
        add_default_modes(s);
    else
        while ((name = strsep(&at, ","))) add_mode(s, name, s->tests);
    free(list);
    return ERR_OK;
}

static err open_plans(session *s)
{
    const plan_predictor form = plan_default_predictor(s->runtime.weights->D);

    for (size_t i = 0; i < s->n; i++) {
        fault why = {{0}};
        const err e = plan_maker_open(&s->runtime, s->subjects[i].name, form,
                                      &s->subjects[i].plan, &why);

        snprintf(s->about, sizeof s->about, "%s", why.field);
        TRY(e);
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

/* A prompt; answers at depths; answers together. */
static void list_cases(session *s)
{
    const size_t B = s->runtime.block_tokens, most = forward_max_rows(s->runtime.forward);
    const size_t running = (size_t)s->c->max_running;
    const bench_case cases[CASES] = {
        {PROMPT, 0, 1, B},     {ANSWER, 0, 1, 1},
        {ANSWER, B, 1, 1},     {ANSWER, 8 * B, 1, 1},
        {ANSWER, B, BATCH, 1}, {ANSWER, B, running < most ? running : most, 1},
    };

    memcpy(s->cases, cases, sizeof cases);
    s->n_cases = running > BATCH ? CASES : CASES - 1;
    s->cached = CACHED / B * B;
}

/* --- how long it may take, in tokens of prefill --- */

static double case_work(const session *s, const bench_case *k)
{
    const double steps = (double)(k->tokens / k->step * (1 + s->bench.repeat));

    return (double)(k->depth * k->batch) + steps * (double)(5 + k->step * k->batch);
}

static double attach_work(const session *s)
{
    return (double)s->cached + 600.0 * s->bench.repeat;
}

static double prefill_work(const session *s)
{
    return (double)(s->cached * (size_t)(1 + s->bench.repeat));
}

enum { FILL_WORK = 3000 };

static double subject_work(const session *s, const subject *of)
{
    double work = of->tests & CONTEXTS ? FILL_WORK : 0;

    if (of->tests & (REMAT | ATTACH)) work += attach_work(s);
    for (size_t i = 0; of->tests & SPEED && i < s->n_cases; i++)
        work += case_work(s, &s->cases[i]);
    return work;
}

static void plan_work(session *s)
{
    s->work = s->tests & ATTACH ? prefill_work(s) : 0;
    for (size_t i = 0; i < s->n; i++) s->work += subject_work(s, &s->subjects[i]);
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

static err measure_speed(session *s, subject *of, const reader_mode *mode)
{
    for (size_t i = 0; i < s->n_cases; i++) {
        const stage at = next_stage(s, case_work(s, &s->cases[i]));

        TRY(bench_speed(&s->bench, mode, &s->cases[i], &at, &of->speed[i]));
    }
    return ERR_OK;
}

static err measure_subject(session *s, subject *of)
{
    const reader_mode mode = {of->name, of->plan};

    if (of->tests & SPEED) TRY(measure_speed(s, of, &mode));
    if (of->tests & (REMAT | ATTACH)) {
        const stage at = next_stage(s, attach_work(s));

        TRY(bench_reattach(&s->bench, &mode, s->cached, &at, &of->attach));
    }
    if (of->tests & CONTEXTS) {
        const stage at = next_stage(s, FILL_WORK);

        TRY(bench_fill_pool(&s->bench, &mode, POOL, &at, &of->fill));
    }
    return ERR_OK;
}

static err measure_prefill(session *s)
{
    const bench_case whole = {s->cached, 0, 1, s->runtime.block_tokens};
    const stage at = next_stage(s, prefill_work(s));

    return bench_speed(&s->bench, &yardstick, &whole, &at, &s->prefill);
}

static err measure(session *s)
{
    err e = ERR_OK;

    plan_work(s);
    if (s->tests & ATTACH) e = measure_prefill(s);
    for (size_t i = 0; i < s->n && e == ERR_OK; i++) {
        snprintf(s->about, sizeof s->about, "--cache %s", s->subjects[i].name);
        e = measure_subject(s, &s->subjects[i]);
    }
    progress_clear(&s->bar);
    return e;
}

/* --- output --- */

/* "AMD EPYC 9654", or "unknown". */
static void name_cpu(char *out, size_t n)
{
    uv_cpu_info_t *info = NULL;
    int count = 0;

    snprintf(out, n, "unknown");
    if (uv_cpu_info(&info, &count) != 0) return;
    if (count && *info[0].model) snprintf(out, n, "%s", info[0].model);
    uv_free_cpu_info(info, count);
}

static const char *case_word(const bench_case *k)
{
    return k->step > 1 ? "pp" : "tg";
}

/* Tokens of all contexts of a case. */
static double case_rate(const bench_case *k, const bench_time *t)
{
    return (double)(k->tokens * k->batch) / t->seconds;
}

static bool has_pages(const subject *of, unsigned test)
{
    return of->tests & test && of->attach.rebuilds;
}

static double share(double part, double whole)
{
    return whole > 0 ? part / whole : 0;
}

typedef void add_rows(text_builder *t, const session *s, const subject *of);

static void add_speed(text_builder *t, const session *s, const subject *of)
{
    for (size_t i = 0; of->tests & SPEED && i < s->n_cases; i++) {
        const bench_case *k = &s->cases[i];

        text_addf(t, ",{\"mode\":\"%s\",\"test\":\"%s\",\"tokens\":%zu,\"depth\":%zu", of->name,
                  case_word(k), k->tokens, k->depth);
        text_addf(t, ",\"batch\":%zu,\"tokens_per_s\":%.6g,\"spread\":%.4g}", k->batch,
                  case_rate(k, &of->speed[i]), of->speed[i].spread);
    }
}

static void add_remat(text_builder *t, const session *s, const subject *of)
{
    if (!has_pages(of, REMAT)) return;
    text_addf(t, ",{\"mode\":\"%s\",\"tokens_per_s\":%.6g,\"gflops\":%.6g", of->name,
              (double)s->cached / of->attach.time.seconds, of->attach.gflops);
    text_addf(t, ",\"ceiling_gflops\":%.6g,\"spread\":%.4g}", of->attach.ceiling_gflops,
              of->attach.time.spread);
}

static void add_attach(text_builder *t, const session *s, const subject *of)
{
    const bench_attach *a = &of->attach;

    if (!(of->tests & ATTACH)) return;
    text_addf(t, ",{\"mode\":\"%s\",\"tokens\":%zu,\"ms\":%.6g,\"prefill_ms\":%.6g", of->name,
              s->cached, a->time.seconds * 1e3, s->prefill.seconds * 1e3);
    text_addf(t, ",\"spread\":%.4g,\"gflops\":%.6g,\"ceiling_gflops\":%.6g", a->time.spread,
              a->gflops, a->ceiling_gflops);
    text_addf(t, ",\"share_of_ceiling\":%.4g,\"share_of_kv16_prefill\":%.4g}",
              share(a->gflops, a->ceiling_gflops), a->time.seconds / s->prefill.seconds);
}

static void add_contexts(text_builder *t, const session *s, const subject *of)
{
    (void)s;
    for (size_t i = 0; of->tests & CONTEXTS && i < LENGTHS; i++) {
        const bench_capacity n = bench_count(&of->fill, lengths[i]);

        text_addf(t, ",{\"mode\":\"%s\",\"tokens\":%zu,\"bytes_per_context\":%zu", of->name,
                  lengths[i], n.bytes_per_context);
        text_addf(t, ",\"per_gib\":%.6g,\"per_gib_of_all\":%.6g,\"contexts\":%.6g", n.per_gib,
                  n.per_gib_of_all, n.contexts);
        text_addf(t, ",\"pool_bytes\":%ju,\"blocks\":%zu,\"ratio\":%.6g}",
                  (uintmax_t)of->fill.pool_bytes, of->fill.blocks, of->fill.ratio);
    }
}

/* ,"name":[rows of every subject] */
static void add_list(text_builder *t, const session *s, const char *name, add_rows *add)
{
    text_builder rows = {0};
    char *text;

    for (size_t i = 0; i < s->n; i++) add(&rows, s, &s->subjects[i]);
    text_add_string(&rows, "");
    text = text_take(&rows, NULL);
    text_addf(t, ",\"%s\":[%s]", name, text && *text ? text + 1 : "");
    t->failed |= !text;
    free(text);
}

static bool print_json(const session *s)
{
    text_builder t = {0};
    char cpu[128], *text;

    name_cpu(cpu, sizeof cpu);
    text_add_string(&t, "{\"model\":");
    text_add_json_string(&t, s->runtime.model_name);
    text_addf(&t, ",\"threads\":%d,\"cpu\":", s->runtime.team->slots);
    text_add_json_string(&t, cpu);
    text_addf(&t, ",\"isa\":\"%s\",\"block_tokens\":%zu,\"repeat\":%d", cpu_name(cpu_flags()),
              s->runtime.block_tokens, s->bench.repeat);
    add_list(&t, s, "speed", add_speed);
    add_list(&t, s, "remat", add_remat);
    add_list(&t, s, "attach", add_attach);
    add_list(&t, s, "contexts", add_contexts);
    text_add_string(&t, "}\n");
    text = text_take(&t, NULL);
    if (text) fputs(text, stdout);
    free(text);
    return text && fflush(stdout) == 0;
}

static void print_speed(const session *s)
{
    printf("\n%-8s %4s %7s %6s %6s %9s %7s\n", "mode", "test", "tokens", "depth", "batch",
           "tokens/s", "spread");
    for (size_t i = 0; i < s->n; i++)
        for (size_t at = 0; s->subjects[i].tests & SPEED && at < s->n_cases; at++) {
            const bench_case *k = &s->cases[at];
            const bench_time *t = &s->subjects[i].speed[at];

            printf("%-8s %4s %7zu %6zu %6zu %9.1f %6.1f%%\n", s->subjects[i].name, case_word(k),
                   k->tokens, k->depth, k->batch, case_rate(k, t), t->spread * 100);
        }
}

static void print_attach(const session *s)
{
    printf("\n%zu cached tokens attached again", s->cached);
    if (s->tests & ATTACH) printf("; kv16 computes them in %.0f ms", s->prefill.seconds * 1e3);
    printf("\n%-8s %8s %9s %9s %8s %8s\n", "mode", "ms", "tokens/s", "GFLOP/s", "of sgemm",
           "of kv16");
    for (size_t i = 0; i < s->n; i++) {
        const bench_attach *a = &s->subjects[i].attach;

        if (!has_pages(&s->subjects[i], REMAT | ATTACH)) continue;
        printf("%-8s %8.1f %9.0f %9.1f %7.0f%%", s->subjects[i].name, a->time.seconds * 1e3,
               (double)s->cached / a->time.seconds, a->gflops,
               share(a->gflops, a->ceiling_gflops) * 100);
        printf(" %7.1f%%\n", share(a->time.seconds, s->prefill.seconds) * 100);
    }
}

static void print_contexts(const session *s)
{
    printf("\ncontexts per GiB, a pool of %d MiB filled\n%-8s %6s", POOL >> 20, "mode",
           "ratio");
    for (size_t i = 0; i < LENGTHS; i++) printf(" %9zu tok %9s", lengths[i], "of all");
    putchar('\n');
    for (size_t i = 0; i < s->n; i++) {
        const subject *of = &s->subjects[i];

        if (!(of->tests & CONTEXTS)) continue;
        printf("%-8s %6.2f", of->name, of->fill.ratio);
        for (size_t k = 0; k < LENGTHS; k++) {
            const bench_capacity n = bench_count(&of->fill, lengths[k]);

            printf(" %13.1f %9.1f", n.per_gib, n.per_gib_of_all);
        }
        putchar('\n');
    }
}

static bool print_tables(const session *s)
{
    char cpu[128];

    name_cpu(cpu, sizeof cpu);
    printf("%s, %d threads, %s (%s)\n", s->runtime.model_name, s->runtime.team->slots, cpu,
           cpu_name(cpu_flags()));
    if (s->tests & SPEED) print_speed(s);
    if (s->tests & (REMAT | ATTACH)) print_attach(s);
    if (s->tests & CONTEXTS) print_contexts(s);
    return fflush(stdout) == 0;
}

/* --- the run --- */

/* Prints only when all is well. */
static err run_session(session *s)
{
    TRY(command_open_model(&s->runtime, s->c, s->about, sizeof s->about));
    TRY(read_text(s));
    list_cases(s);
    TRY(list_modes(s));
    TRY(open_plans(s));
    TRY(measure(s));
    s->about[0] = '\0';
    errno = EIO;
    return (s->c->json ? print_json(s) : print_tables(s)) ? ERR_OK : ERR_SYSTEM;
}

static void close_session(session *s)
{
    for (size_t i = 0; i < s->n; i++) plan_close(s->subjects[i].plan);
    free(s->subjects);
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

    if (!parse_tests(c->tests, &s.tests)) return code;
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
