/* test_plan.c - plans survive the disk, and every broken or foreign one is refused by name. */
#include "xcache/codec/plan.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <xxhash.h>

#include "tests/planned.h"
#include "tests/read_file.h"
#include "tests/test.h"

/* Offsets in the file, as plan.h and plan.c lay it out: L = 3, D = 64. */
enum {
    VERSION = 4,
    CHECKSUM = 8,
    FILE_BYTES = 16,
    MODEL = 24,
    RATIO = 40,
    KL = 48,
    LAYERS = 56,
    WIDTH = 60,
    KV_WIDTH = 64,
    PREDICTOR = 68,
    RANK = 72,
    CODE_BITS = 76,
    COUNTS = 128,
    LAYER_1 = 192
};

static char path[] = "/tmp/xquantd-test-plan.xplan";

/* A plan's file, made once for a test; the caller frees. */
static unsigned char *make_file(planned *p, plan_predictor r, size_t *n)
{
    plan *made = planned_make(p, 8, r);
    char *bytes;

    CHECK(plan_write(made, path) == ERR_OK);
    bytes = read_file(path, n);
    CHECK(bytes && *n == plan_bytes(made));
    plan_close(made);
    return (unsigned char *)bytes;
}

static void put_u32(unsigned char *file, size_t at, uint32_t v)
{
    memcpy(file + at, &v, sizeof v);
}

static void put_f64(unsigned char *file, size_t at, double v)
{
    memcpy(file + at, &v, sizeof v);
}

/* Make the checksum right again, so that what comes after it is reached. */
static void sum(unsigned char *file, size_t n)
{
    const uint64_t h = XXH3_64bits(file + FILE_BYTES, n - FILE_BYTES);

    memcpy(file + CHECKSUM, &h, sizeof h);
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

TEST(plan_comes_back_from_the_disk_as_it_was)
{
    const plan_predictor forms[] = {{PLAN_FULL, 0}, {PLAN_RANK, 16}, {PLAN_NONE, 0}};
    planned p;

    planned_open(&p, 2);
    for (size_t i = 0; i < 3; i++) {
        plan *made = planned_make(&p, 8, forms[i]), *read = NULL;
        plan_about a, b;
        fault why;

        CHECK(plan_write(made, path) == ERR_OK);
        CHECK(plan_open(&read, path, p.file, &why) == ERR_OK);
        a = plan_read_about(made);
        b = plan_read_about(read);
        CHECK(memcmp(&a.model, &b.model, sizeof a.model) == 0);
        CHECK(a.code_bits == b.code_bits && a.kl == b.kl && b.kl_tokens == 255);
        CHECK(b.D == 64 && b.L == 3 && b.E == 64 && b.ratio == 8 && b.kl >= 0);
        CHECK(b.predictor.kind == forms[i].kind && b.predictor.rank == forms[i].rank);
        for (size_t l = 1; l < 3; l++) {
            const plan_layer x = plan_read_layer(made, l), y = plan_read_layer(read, l);

            CHECK(x.n == y.n && x.n > 0 && memcmp(x.bits, y.bits, x.n) == 0);
            CHECK(memcmp(x.c, y.c, 64 * sizeof *x.c) == 0);
            CHECK(memcmp(x.b.half, y.b.half, x.n * 64 * 2) == 0);
        }
        plan_close(made);
        plan_close(read);
    }
    unlink(path);
    planned_close(&p);
}

TEST(plan_that_is_cut_short_anywhere_is_refused)
{
    planned p;
    size_t n;
    unsigned char *file;

    planned_open(&p, 1);
    file = make_file(&p, (plan_predictor){PLAN_FULL, 0}, &n);
    for (size_t keep = 0; keep < n; keep += keep < 300 ? 1 : 97)
        refused(file, keep, ERR_TRUNCATED, keep < 128 ? "header" : "file_bytes");
    free(file);
    unlink(path);
    planned_close(&p);
}

TEST(plan_with_a_flipped_bit_anywhere_is_refused)
{
    planned p;
    size_t n;
    unsigned char *file;

    planned_open(&p, 1);
    file = make_file(&p, (plan_predictor){PLAN_RANK, 16}, &n);
    for (size_t at = 0; at < n; at += at < 256 ? 1 : 61) {
        plan *q = NULL;

        file[at] ^= 0x10;
        CHECK(plan_open_memory(&q, file, n, NULL) != ERR_OK && !q);
        file[at] ^= 0x10;
    }
    free(file);
    unlink(path);
    planned_close(&p);
}

TEST(plan_that_lies_is_refused_by_name)
{
    static const struct {
        size_t at;
        double value;
        bool real; /* a double, not a u32 */
        const char *field;
    } rows[] = {
        {RATIO, 3.9, true, "ratio"},
        {RATIO, 65, true, "ratio"},
        {RATIO, NAN, true, "ratio"},
        {KL, INFINITY, true, "kl"},
        {LAYERS, 0, false, "layers"},
        {LAYERS, 4e9, false, "layers"},
        {LAYERS, 2, false, "code_bits"},
        {WIDTH, 0, false, "width"},
        {WIDTH, 4e9, false, "width"},
        {WIDTH, 1 << 20, false, "size of layer 1"},
        {KV_WIDTH, 0, false, "kv_width"},
        {KV_WIDTH, 1, false, "code_bits"},
        {PREDICTOR, 3, false, "predictor"},
        {PREDICTOR, PLAN_RANK, false, "rank"},
        {RANK, 1, false, "rank"},
        {CODE_BITS, 1e6, false, "code_bits"},
        {CODE_BITS, 1, false, "code_bits"},
        {COUNTS, 1, false, "count of layer 0"},
        {COUNTS + 4, 65, false, "count of layer 1"},
        {COUNTS + 4, 4e9, false, "count of layer 1"},
        {LAYER_1, 2143289344.0 /* a NaN's bits */, false, "numbers of layer 1"},
    };
    planned p;
    size_t n;
    unsigned char *file, *copy;

    planned_open(&p, 1);
    file = make_file(&p, (plan_predictor){PLAN_FULL, 0}, &n);
    copy = malloc(n);
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        memcpy(copy, file, n);
        if (rows[i].real)
            put_f64(copy, rows[i].at, rows[i].value);
        else
            put_u32(copy, rows[i].at, (uint32_t)rows[i].value);
        sum(copy, n);
        refused(copy, n, ERR_PLAN, rows[i].field);
    }
    memcpy(copy, file, n);
    copy[0] = 'Y';
    refused(copy, n, ERR_PLAN, "magic");
    memcpy(copy, file, n);
    copy[VERSION] = 2;
    refused(copy, n, ERR_PLAN, "version");
    free(copy);
    free(file);
    unlink(path);
    planned_close(&p);
}

TEST(plan_with_bits_that_no_book_has_is_refused)
{
    planned p;
    size_t n;
    unsigned char *file;
    plan *q = NULL;
    plan_layer l;

    planned_open(&p, 1);
    file = make_file(&p, (plan_predictor){PLAN_NONE, 0}, &n);
    CHECK(plan_open_memory(&q, file, n, NULL) == ERR_OK);
    l = plan_read_layer(q, 2);
    l.bits[0] = 9;
    plan_close(q);
    sum(file, n);
    refused(file, n, ERR_PLAN, "bits of layer 2");
    free(file);
    unlink(path);
    planned_close(&p);
}

TEST(plan_of_another_model_is_refused)
{
    planned p;
    size_t n;
    unsigned char *file;
    fault why = {0};
    plan *q = NULL;
    FILE *f;

    planned_open(&p, 1);
    file = make_file(&p, (plan_predictor){PLAN_NONE, 0}, &n);
    file[MODEL] ^= 1;
    sum(file, n);
    f = fopen(path, "wb");
    CHECK(f && fwrite(file, 1, n, f) == n && fclose(f) == 0);
    CHECK(plan_open(&q, path, p.file, &why) == ERR_PLANMODEL && !q);
    CHECK(strcmp(why.field, "model") == 0);
    unlink(path);
    CHECK(plan_open(&q, path, p.file, &why) == ERR_OPEN);
    CHECK(plan_open(&q, "/tmp", p.file, &why) == ERR_READ);
    free(file);
    planned_close(&p);
}

TEST(plan_that_cannot_be_written_leaves_nothing)
{
    planned p;
    plan *made;

    planned_open(&p, 1);
    made = planned_make(&p, 8, (plan_predictor){PLAN_NONE, 0});
    CHECK(plan_write(made, "/nowhere/at/all.xplan") == ERR_SYSTEM && errno == ENOENT);
    CHECK(plan_write(made, "/tmp") == ERR_SYSTEM && errno == EISDIR);
    CHECK(plan_write(made, "/dev/full") == ERR_SYSTEM && errno == EPERM);
    plan_close(made);
    planned_close(&p);
}

TEST(plan_path_is_tried_before_there_is_a_plan)
{
    unlink(path);
    CHECK(plan_try_path("/nowhere/at/all.xplan") == ERR_SYSTEM && errno == ENOENT);
    CHECK(plan_try_path("/tmp") == ERR_SYSTEM && errno == EISDIR);
    CHECK(plan_try_path(path) == ERR_OK);
    CHECK(access(path, F_OK) != 0);
}

TEST(plan_default_predictor_follows_the_width)
{
    CHECK(plan_default_predictor(384).kind == PLAN_FULL);
    CHECK(plan_default_predictor(512).kind == PLAN_FULL);
    CHECK(plan_default_predictor(2048).kind == PLAN_RANK);
    CHECK(plan_default_predictor(2048).rank == 352);
    CHECK(plan_default_predictor(576).rank == 96);
}
