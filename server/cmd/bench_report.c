/* bench_report.c - figures of a bench as tables, or as one JSON object.
 *
 * Both are built when all is measured: a figure that fails leaves no half of a document behind.
 * The CPU's name stands in front, since no figure here means anything without it. */
#include "server/cmd/bench_report.h"

#include <stdio.h>
#include <stdlib.h>
#include <uv.h>

#include "engine/kern/cpu.h"
#include "server/text.h"

/* Lengths of the conversations that are counted. 2048 is what others publish; 1500 ends within
 * a block, whose rest is paid for all the same.
 */
static const size_t lengths[] = {2048, 1500};
enum { LENGTHS = sizeof lengths / sizeof lengths[0] };

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

/* As llama-bench calls them: prompt processing, text generation. */
static const char *case_word(const bench_case *k)
{
    return k->step > 1 ? "pp" : "tg";
}

/* Tokens of all contexts of a case. */
static double case_rate(const bench_case *k, const bench_time *t)
{
    return (double)(k->tokens * k->batch) / t->seconds;
}

/* kv16 and others read what they store: there is nothing to rebuild, and no row. */
static bool has_pages(const bench_subject *of, unsigned test)
{
    return of->tests & test && of->attach.rebuilds;
}

/* JSON has no infinity; what was not measured is 0. */
static double share(double part, double whole)
{
    return whole > 0 ? part / whole : 0;
}

typedef void add_rows(text_builder *t, const bench_report *r, const bench_subject *of);

static void add_speed(text_builder *t, const bench_report *r, const bench_subject *of)
{
    for (size_t i = 0; of->tests & BENCH_SPEED && i < r->n_cases; i++) {
        const bench_case *k = &r->cases[i];

        text_addf(t, ",{\"mode\":\"%s\",\"test\":\"%s\",\"tokens\":%zu,\"depth\":%zu", of->name,
                  case_word(k), k->tokens, k->depth);
        text_addf(t, ",\"batch\":%zu,\"tokens_per_s\":%.6g,\"spread\":%.4g}", k->batch,
                  case_rate(k, &of->speed[i]), of->speed[i].spread);
    }
}

static void add_remat(text_builder *t, const bench_report *r, const bench_subject *of)
{
    if (!has_pages(of, BENCH_REMAT)) return;
    text_addf(t, ",{\"mode\":\"%s\",\"tokens_per_s\":%.6g,\"gflops\":%.6g", of->name,
              (double)r->cached / of->attach.time.seconds, of->attach.gflops);
    text_addf(t, ",\"ceiling_gflops\":%.6g,\"spread\":%.4g}", of->attach.ceiling_gflops,
              of->attach.time.spread);
}

static void add_attach(text_builder *t, const bench_report *r, const bench_subject *of)
{
    const bench_attach *a = &of->attach;

    if (!(of->tests & BENCH_ATTACH)) return;
    text_addf(t, ",{\"mode\":\"%s\",\"tokens\":%zu,\"ms\":%.6g,\"prefill_ms\":%.6g", of->name,
              r->cached, a->time.seconds * 1e3, r->prefill.seconds * 1e3);
    text_addf(t, ",\"spread\":%.4g,\"gflops\":%.6g,\"ceiling_gflops\":%.6g", a->time.spread,
              a->gflops, a->ceiling_gflops);
    text_addf(t, ",\"share_of_ceiling\":%.4g,\"share_of_kv16_prefill\":%.4g}",
              share(a->gflops, a->ceiling_gflops), a->time.seconds / r->prefill.seconds);
}

/* Two lengths: one that fills its blocks to the last token, and one as conversations are. */
static void add_contexts(text_builder *t, const bench_report *r, const bench_subject *of)
{
    (void)r;
    for (size_t i = 0; of->tests & BENCH_CONTEXTS && i < LENGTHS; i++) {
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
static void add_list(text_builder *t, const bench_report *r, const char *name, add_rows *add)
{
    text_builder rows = {0};
    char *text;

    for (size_t i = 0; i < r->n; i++) add(&rows, r, &r->subjects[i]);
    text_add_string(&rows, "");
    text = text_take(&rows,
                     NULL); /* every row begins with a comma, and the first is left out */
    text_addf(t, ",\"%s\":[%s]", name, text && *text ? text + 1 : "");
    /* A builder of its own cannot pass its failure on: an empty list would be taken for a test
     * that was not asked for. */
    t->failed |= !text;
    free(text);
}

/* Not of any mode: one list, if it was asked for. */
static void add_grammars(text_builder *t, const bench_report *r)
{
    text_add_string(t, ",\"grammar\":[");
    for (size_t i = 0; r->tests & BENCH_GRAMMAR && i < BENCH_GRAMMARS; i++) {
        const bench_grammar *g = &r->grammars[i];

        text_addf(t, "%s{\"form\":\"%s\",\"tokens\":%zu,\"walks\":%zu,\"compile_ms\":%.4g",
                  i ? "," : "", g->name, g->tokens, g->walks, g->compile_ms);
        text_addf(t, ",\"median_us\":%.4g,\"p95_us\":%.4g,\"worst_us\":%.4g", g->median_us,
                  g->p95_us, g->worst_us);
        text_addf(t, ",\"share_of_decode\":%.4g}",
                  share(g->median_us, r->decode.seconds * 1e6));
    }
    text_add_string(t, "]");
}

/* One object, whose lists have a name for each kind of test whether it ran or not. */
bool bench_report_json(const bench_report *r)
{
    text_builder t = {0};
    char cpu[128], *text;

    name_cpu(cpu, sizeof cpu);
    text_add_string(&t, "{\"model\":");
    text_add_json_string(&t, r->runtime->model_name);
    text_addf(&t, ",\"threads\":%d,\"cpu\":", r->runtime->team->slots);
    text_add_json_string(&t, cpu);
    text_addf(&t, ",\"isa\":\"%s\",\"block_tokens\":%zu,\"repeat\":%d", cpu_name(cpu_flags()),
              r->runtime->block_tokens, r->repeat);
    add_list(&t, r, "speed", add_speed);
    add_list(&t, r, "remat", add_remat);
    add_list(&t, r, "attach", add_attach);
    add_list(&t, r, "contexts", add_contexts);
    add_grammars(&t, r);
    text_add_string(&t, "}\n");
    text = text_take(&t, NULL);
    if (text) fputs(text, stdout);
    free(text);
    return text && fflush(stdout) == 0;
}

static void print_speed(const bench_report *r)
{
    printf("\n%-8s %4s %7s %6s %6s %9s %7s\n", "mode", "test", "tokens", "depth", "batch",
           "tokens/s", "spread");
    for (size_t i = 0; i < r->n; i++)
        for (size_t at = 0; r->subjects[i].tests & BENCH_SPEED && at < r->n_cases; at++) {
            const bench_case *k = &r->cases[at];
            const bench_time *t = &r->subjects[i].speed[at];

            printf("%-8s %4s %7zu %6zu %6zu %9.1f %6.1f%%\n", r->subjects[i].name, case_word(k),
                   k->tokens, k->depth, k->batch, case_rate(k, t), t->spread * 100);
        }
}

/* `remat` and `attach` are one measurement seen twice: as a rate of rebuilding, and as the time
 * that a returning user waits. */
static void print_attach(const bench_report *r)
{
    printf("\n%zu cached tokens attached again", r->cached);
    if (r->tests & BENCH_ATTACH)
        printf("; kv16 computes them in %.0f ms", r->prefill.seconds * 1e3);
    printf("\n%-8s %8s %9s %9s %8s %8s\n", "mode", "ms", "tokens/s", "GFLOP/s", "of sgemm",
           "of kv16");
    for (size_t i = 0; i < r->n; i++) {
        const bench_attach *a = &r->subjects[i].attach;

        if (!has_pages(&r->subjects[i], BENCH_REMAT | BENCH_ATTACH)) continue;
        printf("%-8s %8.1f %9.0f %9.1f %7.0f%%", r->subjects[i].name, a->time.seconds * 1e3,
               (double)r->cached / a->time.seconds, a->gflops,
               share(a->gflops, a->ceiling_gflops) * 100);
        printf(" %7.1f%%\n", share(a->time.seconds, r->prefill.seconds) * 100);
    }
}

static void print_contexts(const bench_report *r)
{
    printf("\ncontexts per GiB, a pool of %d MiB filled\n%-8s %6s", (int)(BENCH_POOL >> 20),
           "mode", "ratio");
    for (size_t i = 0; i < LENGTHS; i++) printf(" %9zu tok %9s", lengths[i], "of all");
    putchar('\n');
    for (size_t i = 0; i < r->n; i++) {
        const bench_subject *of = &r->subjects[i];

        if (!(of->tests & BENCH_CONTEXTS)) continue;
        printf("%-8s %6.2f", of->name, of->fill.ratio);
        for (size_t k = 0; k < LENGTHS; k++) {
            const bench_capacity n = bench_count(&of->fill, lengths[k]);

            printf(" %13.1f %9.1f", n.per_gib, n.per_gib_of_all);
        }
        putchar('\n');
    }
}

static void print_grammars(const bench_report *r)
{
    printf("\nheld to a form; a token takes kv16 %.2f ms\n%-8s %7s %6s %8s %8s %8s %9s %8s\n",
           r->decode.seconds * 1e3, "form", "tokens", "walks", "compile", "median", "p95",
           "worst", "of kv16");
    for (size_t i = 0; i < BENCH_GRAMMARS; i++) {
        const bench_grammar *g = &r->grammars[i];

        printf("%-8s %7zu %6zu %5.1f ms %5.0f us %5.0f us %6.0f us %7.1f%%\n", g->name,
               g->tokens, g->walks, g->compile_ms, g->median_us, g->p95_us, g->worst_us,
               share(g->median_us, r->decode.seconds * 1e6) * 100);
    }
}

bool bench_report_tables(const bench_report *r)
{
    char cpu[128];

    name_cpu(cpu, sizeof cpu);
    printf("%s, %d threads, %s (%s)\n", r->runtime->model_name, r->runtime->team->slots, cpu,
           cpu_name(cpu_flags()));
    if (r->tests & BENCH_SPEED) print_speed(r);
    if (r->tests & (BENCH_REMAT | BENCH_ATTACH)) print_attach(r);
    if (r->tests & BENCH_CONTEXTS) print_contexts(r);
    if (r->tests & BENCH_GRAMMAR) print_grammars(r);
    return fflush(stdout) == 0;
}
