/* test_plan_broken.c - a plan's file that is cut short, damaged or lies is refused by name. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <xxhash.h>

#include "tests/drawn.h"
#include "tests/plan_file.h"
#include "tests/read_file.h"
#include "tests/test.h"
#include "xcache/codec/plan.h"
#include "xcache/codec/rans.h"

enum { D = 64, L = PLAN_FILE_L, E = 64, C = 32, MEASURED = PLAN_FILE_MEASURED };

/* Offsets in the file, as plan.h and plan.c lay it out, of the sizes above. */
enum {
    AT_VERSION = 4,
    AT_CHECKSUM = 8,
    AT_FILE_BYTES = 16,
    AT_MODEL = 24,
    AT_LAYERS = 40,
    AT_WIDTH = 44,
    AT_KV_WIDTH = 48,
    AT_HEAD_WIDTH = 52,
    AT_PREDICTOR = 56,
    AT_RANK = 60,
    AT_STEPS = 64,
    AT_MEASURED = 68,
    AT_PLAIN = 76,
    AT_COUNTS = 128,
    AT_LIST = 192, /* ratio, kl [3], p99 [3], top1 [3] */
    ENTRY = 40,
    AT_PLAIN_LIST = 320, /* where there is one: mode [16], then as above */
    AT_RATES = 320,      /* step [5], bits [5,3] */
    AT_BITS = AT_RATES + 4 * DRAWN_STEPS,
    AT_TABLES = 448, /* frequency [40,34], bias [40] */
    AT_BIAS = AT_TABLES + 2 * PLAN_TABLES * PLAN_SYMBOLS,
    AT_LAYER_1 = 3328, /* c, diagonal [D], salience [D+1], floor, sigma [n], scales of form */
    AT_DIAGONAL = AT_LAYER_1 + 4 * D,
    AT_SALIENCE = AT_DIAGONAL + 4 * D,
    AT_FLOOR = AT_SALIENCE + 4 * (D + 1),
    AT_SIGMA = AT_FLOOR + 4,
    AT_SCALES = AT_SIGMA + 4 * (D / 2),
};

static const plan_predictor full = {PLAN_FULL, 0}, ranked = {PLAN_RANK, 16},
                            none = {PLAN_NONE, 0};

/* Make the checksum right again, so that what comes after it is reached. */
static void sum(unsigned char *file, size_t n)
{
    const uint64_t h = XXH3_64bits(file + AT_FILE_BYTES, n - AT_FILE_BYTES);

    memcpy(file + AT_CHECKSUM, &h, sizeof h);
}

/* The first n bytes are refused, as e, with that field named. */
static void refused(const unsigned char *file, size_t n, err e, const char *field)
{
    void *copy = malloc(n + 1); /* its own block, so that a read past the end shows */
    fault why = {0};
    plan *p = NULL;
    err got;

    memcpy(copy, file, n);
    got = plan_open_memory(&p, copy, n, &why);
    if (got != e || strcmp(why.field, field) != 0)
        printf("%s: %s, wanted %s\n", why.field, err_name(got), field);
    CHECK(got == e && strcmp(why.field, field) == 0 && !p);
    free(copy);
}

TEST(plan_that_is_cut_short_anywhere_is_refused)
{
    plan_file s;

    plan_file_open(&s, full);
    for (size_t keep = 0; keep < s.n; keep += keep < 3500 ? 1 : 61)
        refused(s.bytes, keep, ERR_TRUNCATED, keep < 128 ? "header" : "file_bytes");
    refused(s.bytes, s.n - 1, ERR_TRUNCATED, "file_bytes");
    plan_file_close(&s);
}

TEST(plan_with_a_flipped_bit_anywhere_is_refused)
{
    plan_file s;

    plan_file_open(&s, ranked);
    for (size_t at = 0; at < s.n; at += at < 3500 ? 1 : 61)
        for (int bit = 0; bit < 8; bit += at < 256 ? 1 : 7) {
            plan *q = NULL;

            s.bytes[at] ^= (unsigned char)(1 << bit);
            CHECK(plan_open_memory(&q, s.bytes, s.n, NULL) != ERR_OK && !q);
            s.bytes[at] ^= (unsigned char)(1 << bit);
        }
    plan_file_close(&s);
}

TEST(plan_with_bytes_behind_it_is_refused)
{
    unsigned char *longer;
    plan_file s;

    plan_file_open(&s, full);
    longer = calloc(1, s.n + 64);
    memcpy(longer, s.bytes, s.n);
    refused(longer, s.n + 64, ERR_PLAN, "file_bytes");
    free(longer);
    plan_file_close(&s);
}

/* A lie: what stands at a place, and the part that is refused for it. */
typedef struct lie {
    size_t at;
    double value;
    char kind; /* u: u32; f: float; h: u16 */
    const char *field;
} lie;

static void tell_lie(unsigned char *file, const lie *of)
{
    const uint32_t u = of->kind == 'f' ? 0 : (uint32_t)of->value;
    const uint16_t h = (uint16_t)u;
    const float f = (float)of->value;

    if (of->kind == 'u') memcpy(file + of->at, &u, sizeof u);
    if (of->kind == 'f') memcpy(file + of->at, &f, sizeof f);
    if (of->kind == 'h') memcpy(file + of->at, &h, sizeof h);
}

static void refuse_lies(const plan_file *s, const lie *lies, size_t n)
{
    unsigned char *copy = malloc(s->n);

    for (size_t i = 0; i < n; i++) {
        memcpy(copy, s->bytes, s->n);
        tell_lie(copy, &lies[i]);
        sum(copy, s->n);
        refused(copy, s->n, ERR_PLAN, lies[i].field);
    }
    free(copy);
}

#define REFUSE(s, lies) refuse_lies(s, lies, sizeof(lies) / sizeof(lies)[0])

TEST(plan_header_that_lies_is_refused_by_name)
{
    static const lie lies[] = {
        {0, 'Y', 'u', "magic"},
        {AT_LAYERS, 0, 'u', "layers"},
        {AT_LAYERS, 1025, 'u', "layers"},
        {AT_LAYERS, 4e9, 'u', "layers"},
        {AT_WIDTH, 0, 'u', "width"},
        {AT_WIDTH, 4e9, 'u', "width"},
        {AT_WIDTH, 1 << 20, 'u', "size of layer 1"},
        {AT_KV_WIDTH, 0, 'u', "kv_width"},
        {AT_KV_WIDTH, 4e9, 'u', "kv_width"},
        {AT_KV_WIDTH, 1 << 20, 'u', "size of layer 1"},
        {AT_HEAD_WIDTH, 0, 'u', "head_width"},
        {AT_HEAD_WIDTH, 33, 'u', "head_width"},
        {AT_HEAD_WIDTH, 128, 'u', "head_width"},
        {AT_PREDICTOR, PLAN_KINDS, 'u', "predictor"},
        {AT_PREDICTOR, PLAN_RANK, 'u', "rank"},
        {AT_RANK, 1, 'u', "rank"},
        {AT_STEPS, 1, 'u', "steps"},
        {AT_STEPS, PLAN_MAX_STEPS + 1, 'u', "steps"},
        {AT_MEASURED, PLAN_MAX_MEASURED + 1, 'u', "measured"},
        {AT_MEASURED, 4e9, 'u', "measured"},
        {AT_PLAIN, PLAN_MAX_PLAIN + 1, 'u', "plain"},
        {AT_PLAIN, 4e9, 'u', "plain"},
    };
    plan_file s;

    plan_file_open(&s, full);
    REFUSE(&s, lies);
    plan_file_close(&s);
}

/* Entries of modes that need no plan. */
TEST(plan_that_lies_about_a_mode_without_a_plan_is_refused)
{
    static const lie lies[] = {
        {AT_PLAIN_LIST + 16, NAN, 'f', "ratio"},
        {AT_PLAIN_LIST + 16, 65, 'f', "ratio"},
        {AT_PLAIN_LIST + 20, INFINITY, 'f', "kl"},
        {AT_PLAIN_LIST + 12, 0x41414141, 'u', "mode"}, /* sixteen letters and no end */
    };
    const plan_measured list[PLAN_FILE_MEASURED] = {
        drawn_measured(8, .001), drawn_measured(12, .002), drawn_measured(20, .006)};
    const plan_plain plain = {"kivi4kivi4kivi4", drawn_measured(3.6, .004)};
    plan_file s, with;

    plan_file_open(&s, full);
    with = s;
    with.made = drawn_plan_beside(s.g, L, full, list, PLAN_FILE_MEASURED, &plain, 1);
    CHECK(plan_write(with.made, s.path) == ERR_OK);
    with.bytes = (unsigned char *)read_file(s.path, &with.n);
    CHECK(memcmp(with.bytes + AT_PLAIN_LIST, plain.mode, sizeof plain.mode) == 0);
    REFUSE(&with, lies);
    free(with.bytes);
    plan_close(with.made);
    plan_file_close(&s);
}

/* Counts that are possible, but not this file's: the part that is read at a wrong place. */
TEST(plan_header_that_counts_wrongly_is_refused_by_what_it_shifts)
{
    static const lie lies[] = {
        {AT_LAYERS, L + 1, 'u', "size of layer 3"},
        {AT_STEPS, DRAWN_STEPS + 1, 'u', "step"},
        {AT_MEASURED, MEASURED + 1, 'u', "ratio"},
        {AT_COUNTS, 1, 'u', "count of layer 0"},
        {AT_COUNTS + 4, D + 1, 'u', "count of layer 1"},
        {AT_COUNTS + 4, 4e9, 'u', "count of layer 1"},
        {AT_COUNTS + 8, D / 4 + 1, 'u', "size of layer 2"},
        {AT_COUNTS + 8, D / 4 - 1, 'u', "file_bytes"},
    };
    plan_file s;

    plan_file_open(&s, full);
    REFUSE(&s, lies);
    plan_file_close(&s);
}

TEST(plan_with_more_parts_than_bytes_ends_too_early)
{
    static const lie most = {AT_LAYERS, 1024, 'u', ""}, steps = {AT_STEPS, 64, 'u', ""};
    plan_file s;

    plan_file_open(&s, none);
    tell_lie(s.bytes, &most);
    tell_lie(s.bytes, &steps);
    sum(s.bytes, s.n);
    refused(s.bytes, s.n, ERR_TRUNCATED, "counts");
    plan_file_close(&s);
}

TEST(plan_measurements_that_are_none_are_refused_by_name)
{
    static const lie lies[] = {
        {AT_LIST, -1, 'f', "ratio"},
        {AT_LIST, NAN, 'f', "ratio"},
        {AT_LIST, 13, 'f', "ratio"}, /* over the next one */
        {AT_LIST + 2 * ENTRY, 65, 'f', "ratio"},
        {AT_LIST + 2 * ENTRY, INFINITY, 'f', "ratio"},
        {AT_LIST + 4, INFINITY, 'f', "kl"},
        {AT_LIST + ENTRY + 12, NAN, 'f', "kl"},
        {AT_LIST + ENTRY + 16, NAN, 'f', "kl"},
        {AT_LIST + 2 * ENTRY + 36, -INFINITY, 'f', "kl"},
    };
    plan_file s;

    plan_file_open(&s, full);
    REFUSE(&s, lies);
    plan_file_close(&s);
}

TEST(plan_rates_that_are_none_are_refused_by_name)
{
    static const lie lies[] = {
        {AT_RATES, NAN, 'f', "step"},           {AT_RATES, -100, 'f', "step"},
        {AT_RATES + 4, -2, 'f', "step"}, /* as the first one: not ascending */
        {AT_RATES + 16, INFINITY, 'f', "step"}, {AT_BITS, -1, 'f', "bits"},
        {AT_BITS + 4, NAN, 'f', "bits"},        {AT_BITS + 56, 1e9, 'f', "bits"},
    };
    plan_file s;

    plan_file_open(&s, full);
    REFUSE(&s, lies);
    plan_file_close(&s);
}

TEST(plan_tables_that_are_not_whole_are_refused_by_name)
{
    static const lie lies[] = {
        {AT_TABLES, 1, 'h', "frequency"},
        {AT_TABLES + 2 * PLAN_SYMBOLS * 17, 0, 'h', "frequency"},
        {AT_TABLES + 2 * (PLAN_SYMBOLS * PLAN_TABLES - 1), 65535, 'h', "frequency"},
        {AT_BIAS, 1.01, 'f', "bias"},
        {AT_BIAS + 4 * (PLAN_TABLES - 1), NAN, 'f', "bias"},
    };
    plan_file s;

    plan_file_open(&s, full);
    REFUSE(&s, lies);
    plan_file_close(&s);
}

/* The sum is right: its share was given to another symbol. */
TEST(plan_table_without_an_escape_is_refused)
{
    uint16_t of[PLAN_SYMBOLS];
    plan_file s;

    plan_file_open(&s, full);
    memcpy(of, s.bytes + AT_TABLES, sizeof of);
    of[0] = (uint16_t)(of[0] + of[RANS_ESCAPE]);
    of[RANS_ESCAPE] = 0;
    memcpy(s.bytes + AT_TABLES, of, sizeof of);
    sum(s.bytes, s.n);
    refused(s.bytes, s.n, ERR_PLAN, "frequency");
    plan_file_close(&s);
}

TEST(plan_layer_that_lies_is_refused_by_name)
{
    const size_t halves = AT_SCALES + 4 * (2 * E + D + D / 2);
    const lie lies[] = {
        {AT_LAYER_1, NAN, 'f', "numbers of layer 1"},
        {AT_DIAGONAL - 4, INFINITY, 'f', "numbers of layer 1"},
        {AT_DIAGONAL, NAN, 'f', "numbers of layer 1"},
        {AT_SALIENCE - 4, INFINITY, 'f', "numbers of layer 1"},
        {AT_SALIENCE, NAN, 'f', "numbers of layer 1"},
        {AT_FLOOR - 4, NAN, 'f', "numbers of layer 1"},
        {AT_FLOOR, -1, 'f', "floor of layer 1"},
        {AT_FLOOR, NAN, 'f', "floor of layer 1"},
        {AT_FLOOR, INFINITY, 'f', "numbers of layer 1"},
        {AT_SIGMA, NAN, 'f', "sigma of layer 1"},
        {AT_SIGMA, INFINITY, 'f', "sigma of layer 1"},
        {AT_SIGMA + 8, 0, 'f', "sigma of layer 1"},
        {AT_SIGMA + 8, -1, 'f', "sigma of layer 1"},
        {AT_SIGMA + 8, 3, 'f', "sigma of layer 1"}, /* above the one before */
        {AT_SCALES, NAN, 'f', "numbers of layer 1"},
        {AT_SCALES + 4 * 2 * E, INFINITY, 'f', "numbers of layer 1"}, /* of down */
        {halves - 4, NAN, 'f', "numbers of layer 1"},                 /* the last of Q */
        {halves, 0x7c00, 'h', "numbers of layer 1"},
        {halves + 2 * (2 * E * C - 1), 0xfe00, 'h', "numbers of layer 1"},
    };
    plan_file s;

    plan_file_open(&s, full);
    REFUSE(&s, lies);
    plan_file_close(&s);
}

TEST(plan_of_an_older_version_says_so)
{
    plan_file s;

    plan_file_open(&s, none);
    for (uint8_t version = 1; version <= 2; version++) {
        s.bytes[AT_VERSION] = version;
        refused(s.bytes, s.n, ERR_OLDPLAN, "version");
        refused(s.bytes, 128, ERR_OLDPLAN, "version"); /* whatever lies behind its header */
    }
    CHECK(strstr(err_text(ERR_OLDPLAN), "calibrate again"));
    s.bytes[AT_VERSION] = 4;
    refused(s.bytes, s.n, ERR_PLAN, "version");
    plan_file_close(&s);
}

TEST(plan_in_memory_that_is_not_aligned_is_refused)
{
    char *copy;
    fault why = {0};
    plan *p = NULL;
    plan_file s;

    plan_file_open(&s, none);
    copy = malloc(s.n + 8);
    memcpy(copy + 4, s.bytes, s.n);
    CHECK(plan_open_memory(&p, copy + 4, s.n, &why) == ERR_ALIGN && !p);
    CHECK(strcmp(why.field, "address") == 0);
    free(copy);
    plan_file_close(&s);
}

TEST(plan_of_another_model_is_refused)
{
    fault why = {0};
    plan *q = NULL;
    plan_file s;
    FILE *f;

    plan_file_open(&s, none);
    s.bytes[AT_MODEL] ^= 1;
    sum(s.bytes, s.n);
    f = fopen(s.path, "wb");
    CHECK(f && fwrite(s.bytes, 1, s.n, f) == s.n && fclose(f) == 0);
    CHECK(plan_open(&q, s.path, s.g, &why) == ERR_PLANMODEL && !q);
    CHECK(strcmp(why.field, "model") == 0);
    unlink(s.path);
    CHECK(plan_open(&q, s.path, s.g, &why) == ERR_OPEN);
    CHECK(plan_open(&q, "/tmp", s.g, &why) == ERR_READ);
    plan_file_close(&s);
}
