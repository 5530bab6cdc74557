/* codec.c - from a mode's name to its codec.
 *
 * A mode is a word of codec.def and a number: "xq4", "klt7.5". Nothing else reads names: what a
 * codec can do, and what it needs, is in its struct. */
#include "xcache/codec/codec.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "xcache/codec/minmax.h"
#include "xcache/codec/plan.h"
#include "xcache/codec/remat.h"

typedef struct row {
    const codec *codec;
    const char *mode, *n;
} row;

static const row rows[] = {
#define CODEC(id, mode, n, help) {&codec_##id, mode, n},
#include "xcache/codec/codec.def"
#undef CODEC
};

/* The paper's choices. docs/ablations.md has what others cost: groups of 32 are at best as good
 * a buy as one more bit, and the third kept layer, the base of all differences, divides the KL
 * of cl2 by four to seven. */
const codec_tuning codec_usual = {.group = MINMAX_GROUP,
                                  .kept_layers = 3,
                                  .rank_percent = 100,
                                  .base_layer = 2,
                                  .accumulator = CODEC_FP32};

enum { ROWS = sizeof rows / sizeof rows[0], MODE_NUMBER = 12 /* characters, and a NUL */ };

/* Is `text` one of the numbers in `list` ("8 4 3 2")? An empty list has one: "". */
static bool in_list(const char *list, const char *text)
{
    const size_t n = strlen(text);

    if (!*list) return !n;
    for (const char *at = list; n && at; at = strchr(at, ' ')) {
        at += *at == ' ';
        if (strncmp(at, text, n) == 0 && (at[n] == ' ' || !at[n])) return true;
    }
    return false;
}

/* "4..64": any decimal between. */
static bool is_range(const char *list)
{
    return strstr(list, "..") != NULL;
}

static double number_in_range(const char *list, const char *text)
{
    const double least = atof(list), most = atof(strstr(list, "..") + 2);
    char *end;
    double v;

    /* digits and a point alone: strtod would take 1e1, 0x10 and inf as well */
    if (*text < '0' || *text > '9' || text[strspn(text, "0123456789.")]) return 0;
    v = strtod(text, &end);
    /* the name has to fit into codec_state.mode */
    return !*end && strlen(text) < MODE_NUMBER && v >= least && v <= most ? v : 0;
}

static const row *find_row(const char *mode, const char **n)
{
    for (size_t i = 0; i < ROWS; i++) {
        const size_t length = strlen(rows[i].mode);

        if (strncmp(mode, rows[i].mode, length) != 0) continue;
        /* another row may begin with the same letters */
        if (is_range(rows[i].n) ? !number_in_range(rows[i].n, mode + length)
                                : !in_list(rows[i].n, mode + length))
            continue;
        *n = mode + length;
        return &rows[i];
    }
    return NULL;
}

/* What `auto` is: the densest mode that the plan knows to be close enough. What nobody has
 * measured is not known to be: then 8 bits, which are within .001 of every model that was
 * tried, where 4 are within .004 of one and .03 of another. */
static const char *choose_mode(const model *m, const struct plan *p, char chosen[16])
{
    if (p && plan_best_mode(p, CODEC_MAX_KL, chosen)) return chosen;
    /* x is half of K and V where heads have keys of their own; with grouped heads nothing is
     * saved, and keys per channel are nearer to exact */
    return model_is_mha(m) ? "xq8" : "kivi8";
}

err codec_measure(codec_state *out, const codec_options *o, const model *m)
{
    /* in a copy, so that *out is untouched where this fails */
    codec_state s = {.m = m,
                     .block_tokens = o->block_tokens,
                     .tuning = o->tuning ? *o->tuning : codec_usual,
                     .plan = o->plan,
                     .beside = o->beside};
    const char *mode = o->mode, *n = "";
    char chosen[16];
    const row *r;

    if (strcmp(mode, "auto") == 0) mode = choose_mode(m, o->plan, chosen);
    r = find_row(mode, &n);
    if (!r) return ERR_MODE;
    s.codec = r->codec;
    s.bits = atoi(n);
    s.ratio = codec_ratio(mode);
    snprintf(s.mode, sizeof s.mode, "%s", mode);
    if (s.codec->measure) TRY(s.codec->measure(&s));
    *out = s;
    return ERR_OK;
}

err codec_open(codec_state *out, const codec_options *o, const model *m, const kern *k)
{
    codec_state s;

    TRY(codec_measure(&s, o, m));
    s.kern = k;
    if (s.codec->open) TRY(s.codec->open(&s));
    *out = s;
    return ERR_OK;
}

void codec_close(codec_state *s)
{
    if (s->codec && s->codec->close) s->codec->close(s);
    /* whoever unwinds may close it again */
    s->codec = NULL;
}

void codec_turn(const codec_state *s, int layer, const codec_place *place, kv_tile *out)
{
    const codec_scratch *from = place->scratch;
    const remat_turned to = {s->m->layers[layer].rope, KV_FLOAT, from->kt, s->block_tokens, 0};

    remat_turn(s->m, s->kern, from->k, s->block_tokens, place->first, &to);
    *out = (kv_tile){.format = KV_FLOAT,
                     .k = from->kt,
                     .v = from->v,
                     .v_stride = s->m->E,
                     .v_head = s->m->C};
}

void codec_finish(const codec_state *s, int layer, const codec_place *place, kv_tile *out)
{
    const codec_scratch *to = place->scratch;

    /* as forward does after its products: biases, norms of heads, then angles; so a codec need
     * not know which of them a model has */
    model_finish_kv(s->m, s->kern, (size_t)layer, to->k, to->v, s->block_tokens);
    codec_turn(s, layer, place, out);
}

bool codec_mode(size_t i, char mode[16])
{
    for (size_t r = 0; r < ROWS; r++) {
        const char *at = rows[r].n;

        if (is_range(at)) continue;
        do { /* every word of n, or the one empty word */
            const size_t word = strcspn(at, " ");

            if (i-- == 0) {
                snprintf(mode, 16, "%s%.*s", rows[r].mode, (int)word, at);
                return true;
            }
            at += word + (at[word] == ' ');
        } while (*at);
    }
    return false;
}

unsigned codec_uses(const char *mode, const model *m)
{
    const char *n = "", *plain = strcmp(mode, "auto") ? mode : choose_mode(m, NULL, NULL);
    const row *r = find_row(plain, &n);
    unsigned uses = r ? r->codec->uses : ~0u;

    /* what would change nothing is not offered: equal results under two names mislead */
    if (model_is_mha(m)) uses &= ~(unsigned)CODEC_RANK;
    if (atoi(n) >= CODEC_KEPT_BITS) uses &= ~(unsigned)CODEC_KEPT;
    return uses;
}

double codec_ratio(const char *mode)
{
    const char *n = NULL;
    const row *r = find_row(mode, &n);

    return r && is_range(r->n) ? number_in_range(r->n, n) : 0;
}
