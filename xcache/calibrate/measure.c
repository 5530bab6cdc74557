/* measure.c - reads held-out text in every mode that a plan knows.
 *
 *   klt at ten ratios, then modes without a plan:   BESIDE modes at a time beside kv32,
 *   for each of them a cache and factors of its own, so that memory stays bounded */
#include "xcache/calibrate/measure.h"

#include <stdio.h>
#include <string.h>

#include "xcache/calibrate/comparison.h"
#include "xcache/codec/codec.h"

enum { BESIDE = 5, MOST = MEASURE_RATIOS + PLAN_MAX_PLAIN };

static const float ratios[MEASURE_RATIOS] = {5, 7.5f, 10, 12, 14, 16, 20, 24, 30, 40};

/* What `auto` and `plan` can choose from where klt is not near enough. */
static const char *const plain_modes[] = {"kivi8", "xq8", "kivi4", "xq4", "cl4", "cl3"};
enum { PLAIN = sizeof plain_modes / sizeof plain_modes[0] };
_Static_assert((int)PLAIN <= (int)PLAN_MAX_PLAIN, "a plan has room for them");

/* One mode and what is found out about it. */
typedef struct subject {
    char mode[16];
    const plan *plan;
    plan_measured found;
} subject;

static const plan_measured nothing = {
    .kl = {-1, -1, -1}, .p99 = {-1, -1, -1}, .top1 = {-1, -1, -1}};

static bool is_possible(const reader_model *r, const char *mode)
{
    const codec_options o = {.mode = mode, .block_tokens = r->block_tokens};
    codec_state s;

    return codec_measure(&s, &o, r->m) == ERR_OK;
}

static size_t list_plain(const reader_model *r, subject *list)
{
    size_t n = 0;

    for (size_t i = 0; i < PLAIN; i++) {
        if (!is_possible(r, plain_modes[i])) continue;
        list[n] = (subject){.found = nothing};
        snprintf(list[n++].mode, sizeof list->mode, "%s", plain_modes[i]);
    }
    return n;
}

static size_t list_all(const reader_model *r, const plan *made, subject *list)
{
    for (size_t i = 0; i < MEASURE_RATIOS; i++) {
        list[i] = (subject){.plan = made, .found = nothing};
        list[i].found.ratio = ratios[i];
        snprintf(list[i].mode, sizeof list->mode, "klt%g", (double)ratios[i]);
    }
    return MEASURE_RATIOS + list_plain(r, list + MEASURE_RATIOS);
}

size_t measure_count_plain(const reader_model *r)
{
    subject list[PLAN_MAX_PLAIN];

    return list_plain(r, list);
}

/* --- reading --- */

/* A mode without a plan has the ratio that its blocks come to; ids are counted with them. */
static void read_found(comparison *beside, size_t lane, const model *m, plan_text kind,
                       subject *s)
{
    const divergence mean = comparison_mean(beside, lane);
    cache_stats stats;

    comparison_read_stats(beside, lane, &stats);
    s->found.kl[kind] = (float)mean.kl;
    s->found.top1[kind] = (float)mean.top1;
    s->found.p99[kind] = (float)comparison_tail(beside, lane).p99;
    if (!s->plan)
        s->found.ratio = (float)((double)(4 * m->E * m->L * stats.block_tokens) /
                                 (double)stats.block_bytes);
}

static err read_some(const reader_model *r, const reader_text *text, plan_text kind,
                     subject *list, size_t n, const stage *p)
{
    const reader_room room = {.tokens = text->row_tokens,
                              .page_format = cache_choose_page_format(r->m)};
    reader_mode modes[BESIDE];
    comparison *beside = NULL;
    const char *at;
    err e;

    for (size_t i = 0; i < n; i++) modes[i] = (reader_mode){list[i].mode, list[i].plan};
    TRY(comparison_open(&beside, r, modes, n, &room, &at));
    e = comparison_read(beside, text, p);
    for (size_t i = 0; i < n && e == ERR_OK; i++)
        read_found(beside, i + 1, r->m, kind, &list[i]);
    comparison_close(beside);
    return e;
}

static err read_text(const reader_model *r, const reader_text *text, plan_text kind,
                     subject *list, size_t n, const stage *p)
{
    for (size_t i = 0; i < n; i += BESIDE) {
        const size_t some = n - i < BESIDE ? n - i : BESIDE;
        const stage part = stage_part(p, (double)i / (double)n, (double)some / (double)n);

        TRY(read_some(r, text, kind, list + i, some, &part));
    }
    return ERR_OK;
}

static void record(plan *made, const subject *list, size_t n, size_t tokens)
{
    plan_measured measured[MEASURE_RATIOS];
    plan_plain plain[PLAN_MAX_PLAIN];

    for (size_t i = 0; i < MEASURE_RATIOS; i++) measured[i] = list[i].found;
    for (size_t i = MEASURE_RATIOS; i < n; i++) {
        plan_plain *to = &plain[i - MEASURE_RATIOS];

        memcpy(to->mode, list[i].mode, sizeof to->mode);
        to->measured = list[i].found;
    }
    plan_record(made, measured, plain, tokens);
}

err measure_plan(const reader_model *r, const reader_text *held, plan *made, const stage *p)
{
    subject list[MOST];
    const size_t n = list_all(r, made, list);
    size_t tokens = 0, kinds = 0, done = 0;

    for (int k = 0; k < PLAN_TEXTS; k++) kinds += held[k].rows > 0;
    for (int k = 0; k < PLAN_TEXTS; k++) {
        stage part;

        if (!held[k].rows) continue;
        part = stage_part(p, (double)done++ / (double)kinds, 1 / (double)kinds);
        TRY(read_text(r, &held[k], (plan_text)k, list, n, &part));
        tokens = held[k].rows * (held[k].row_tokens - 1);
    }
    record(made, list, n, tokens);
    return ERR_OK;
}
