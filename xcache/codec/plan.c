/* plan.c - checks, reads and writes plan files.
 *
 *    0          header, 128 bytes       magic, version, checksum; file_bytes, model, ratio, kl,
 *                                       L, D, E, predictor, rank, code_bits, kl_tokens, zeros
 *    128        counts u32 [L]          components n of each layer; of layer 0 none
 *    next line  layer 1: c, scales      floats: c [D], down [d], up [r], F [n], B [n]
 *               ........ rows           halves: down [d,D], up [r,D], F [n,D], B [n,D]
 *               ........ bits           bytes [n]
 *    next line  layer 2, ... L-1
 *
 * Lines are of 64 bytes; r is the rank or 0, d is D (full), r (rank) or 0 (none). Where a layer
 * begins follows from the counts before it, so there are no offsets that could point anywhere.
 * The checksum covers all that follows it. A file is hostile until check_all has seen every
 * byte: sizes against limits before they are multiplied, counts against D before a layer is
 * laid out, every number finite. Behind it a plan is trusted, and its layers are read where
 * they are mapped. */
#include "xcache/codec/plan.h"

#include <assert.h>
#include <fcntl.h>
#include <math.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>
#include <xxhash.h>

#include "engine/new_file.h"

/* Limits of what is read, far above any model: no product of them leaves 64 bits. */
enum { VERSION = 1, LINE = 64, MAX_LAYERS = 1024, MAX_WIDTH = 1 << 20 };
enum { BLOCK = 128 }; /* tokens of the block that a budget is for */

typedef struct plan_header {
    char magic[4]; /* "XPLN" */
    uint32_t version;
    uint64_t checksum; /* of every byte after it */
    uint64_t file_bytes;
    plan_hash model;
    double ratio, kl;
    uint32_t layers, width, kv_width; /* L, D, E */
    uint32_t predictor, rank;
    uint32_t code_bits, kl_tokens;
    uint32_t zero[11];
} plan_header;

_Static_assert(sizeof(plan_header) == 128, "the header has no padding");
enum { SUMMED_FROM = offsetof(plan_header, file_bytes) };

struct plan {
    const uint8_t *bytes;
    size_t n;
    plan_header header;
    plan_layer *layers; /* [L] */
    void *mapped;       /* what to unmap, or... */
    uint8_t *owned;     /* ...to free; both NULL: borrowed */
};

static size_t to_lines(size_t n)
{
    return (n + LINE - 1) / LINE * LINE;
}

/* --- sizes --- */

plan_predictor plan_default_predictor(size_t D)
{
    /* docs/ablations.md: a full one has a fifth less KL than rank 64; from some width on D x D
     * halves a layer would outweigh that */
    if (D <= 512) return (plan_predictor){PLAN_FULL, 0};
    return (plan_predictor){PLAN_RANK, (D / 6 + 31) / 32 * 32};
}

size_t plan_budget(size_t E, size_t L, double ratio)
{
    const double bits = 32.0 * (double)E * (double)L / ratio;
    const double lines = floor(bits * BLOCK / 8 / LINE); /* of a block: the pool's blocks are */
    /* in whole lines, as the pool's blocks are: what rounding would waste goes to codes */
    const double left = lines * LINE * 8 / BLOCK - 16.0 * (double)(L - 1) - 32;

    return left > 0 ? (size_t)left : 0;
}

static size_t down_rows(size_t D, plan_predictor r)
{
    return r.kind == PLAN_FULL ? D : r.rank;
}

size_t plan_layer_bytes(size_t D, plan_predictor r, size_t n)
{
    const size_t rows = down_rows(D, r) + r.rank + 2 * n;

    return to_lines((D + rows) * sizeof(float) + rows * D * sizeof(uint16_t) + n);
}

plan_layer plan_lay_out(void *bytes, size_t D, plan_predictor r, size_t n)
{
    plan_layer l = {.n = n, .c = bytes};
    /* all scales first, then all rows: floats stay aligned to 4 bytes, whatever D and n are */
    plan_matrix *const list[] = {&l.down, &l.up, &l.f, &l.b};
    const size_t rows[] = {down_rows(D, r), r.rank, n, n};
    float *scale = l.c + D;
    uint16_t *half;

    for (int i = 0; i < 4; i++) {
        *list[i] = (plan_matrix){.rows = rows[i], .scale = scale};
        scale += rows[i];
    }
    half = (uint16_t *)(void *)scale;
    for (int i = 0; i < 4; i++) {
        list[i]->half = half;
        half += rows[i] * D;
    }
    l.bits = (uint8_t *)half;
    return l;
}

/* --- checks --- */

static err check_sizes(const plan_header *h, fault *why)
{
    const uint32_t D = h->width, rank = h->rank;

    if (h->layers < 1 || h->layers > MAX_LAYERS) return err_blame(why, ERR_PLAN, "layers");
    if (D < 1 || D > MAX_WIDTH) return err_blame(why, ERR_PLAN, "width");
    if (h->kv_width < 1 || h->kv_width > MAX_WIDTH) return err_blame(why, ERR_PLAN, "kv_width");
    if (h->predictor >= PLAN_KINDS) return err_blame(why, ERR_PLAN, "predictor");
    if (h->predictor == PLAN_RANK ? rank < 1 || rank > D : rank != 0)
        return err_blame(why, ERR_PLAN, "rank");
    /* so written that a NaN is refused, too */
    if (!(h->ratio >= PLAN_RATIO_MIN && h->ratio <= PLAN_RATIO_MAX))
        return err_blame(why, ERR_PLAN, "ratio");
    if (!isfinite(h->kl)) return err_blame(why, ERR_PLAN, "kl");
    /* a plan that spends more than its ratio allows would overrun the blocks it promises */
    if (h->code_bits > plan_budget(h->kv_width, h->layers, h->ratio))
        return err_blame(why, ERR_PLAN, "code_bits");
    return ERR_OK;
}

static err check_header(const plan *p, fault *why)
{
    const plan_header *h = &p->header;

    if (memcmp(h->magic, "XPLN", 4) != 0) return err_blame(why, ERR_PLAN, "magic");
    if (h->version != VERSION) return err_blame(why, ERR_PLAN, "version");
    /* told apart: a download that was cut short, and a file that is no plan */
    if (h->file_bytes > p->n) return err_blame(why, ERR_TRUNCATED, "file_bytes");
    if (h->file_bytes != p->n) return err_blame(why, ERR_PLAN, "file_bytes");
    if (XXH3_64bits(p->bytes + SUMMED_FROM, p->n - SUMMED_FROM) != h->checksum)
        return err_blame(why, ERR_PLAN, "checksum");
    return check_sizes(h, why);
}

static err wrong_layer(fault *why, const char *what, size_t l)
{
    char name[64];

    snprintf(name, sizeof name, "%s of layer %zu", what, l);
    return err_blame(why, ERR_PLAN, name);
}

static bool all_finite(const float *x, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (!isfinite(x[i])) return false;
    return true;
}

/* Without a branch a value: there are millions, and all are looked at before anything else is
 * done. Exponent bits all set: infinite or NaN. */
static bool halves_finite(const uint16_t *x, size_t n)
{
    bool finite = true;

    for (size_t i = 0; i < n; i++) finite &= (x[i] & 0x7c00) != 0x7c00;
    return finite;
}

/* What is in a layer's bytes; adds its bits to *total. */
static err check_layer(const plan_layer *l, size_t D, size_t at, size_t *total, fault *why)
{
    const size_t rows = l->down.rows + l->up.rows + 2 * l->n;

    for (size_t i = 0; i < l->n; i++) {
        if (l->bits[i] < 1 || l->bits[i] > PLAN_MAX_BITS) return wrong_layer(why, "bits", at);
        *total += l->bits[i];
    }
    /* scales follow c, and halves follow halves */
    if (!all_finite(l->c, D + rows) || !halves_finite(l->down.half, rows * D))
        return wrong_layer(why, "numbers", at);
    return ERR_OK;
}

static plan_predictor predictor_of(const plan_header *h)
{
    return (plan_predictor){(plan_kind)h->predictor, h->rank};
}

/* Lay the layers out over the file: every count first, so that no offset leaves it. */
static err read_layers(plan *p, fault *why)
{
    const plan_header *h = &p->header;
    const size_t L = h->layers, D = h->width;
    size_t at = sizeof *h + to_lines(L * sizeof(uint32_t)), total = 0;
    const uint32_t *counts = (const uint32_t *)(const void *)(p->bytes + sizeof *h);

    /* from here on at <= n holds, so the rest of the file is never negative */
    if (at > p->n) return err_blame(why, ERR_TRUNCATED, "counts");
    if (counts[0]) return wrong_layer(why, "count", 0);
    p->layers = calloc(L, sizeof *p->layers);
    if (!p->layers) return ERR_NOMEM;
    for (size_t l = 1; l < L; l++) {
        size_t bytes;

        if (counts[l] > D) return wrong_layer(why, "count", l);
        bytes = plan_layer_bytes(D, predictor_of(h), counts[l]);
        if (bytes > p->n - at) return wrong_layer(why, "size", l);
        p->layers[l] = plan_lay_out((void *)(uintptr_t)(p->bytes + at), D, predictor_of(h),
                                    counts[l]);
        TRY(check_layer(&p->layers[l], D, l, &total, why));
        at += bytes;
    }
    /* bytes that belong to no layer mean that a count lies */
    if (at != p->n) return err_blame(why, ERR_PLAN, "file_bytes");
    return total == h->code_bits ? ERR_OK : err_blame(why, ERR_PLAN, "code_bits");
}

static err check_all(plan *p, fault *why)
{
    if ((uintptr_t)p->bytes % 8) return err_blame(why, ERR_ALIGN, "address");
    if (p->n < sizeof p->header) return err_blame(why, ERR_TRUNCATED, "header");
    /* a copy: a mapped file may be changed by others between check and use */
    memcpy(&p->header, p->bytes, sizeof p->header);
    TRY(check_header(p, why));
    return read_layers(p, why);
}

/* --- opening --- */

err plan_open_memory(plan **out, const void *data, size_t n, fault *why)
{
    plan *p = calloc(1, sizeof *p);
    err e;

    if (!p) return ERR_NOMEM;
    p->bytes = data;
    p->n = n;
    e = check_all(p, why);
    if (e != ERR_OK) {
        plan_close(p);
        return e;
    }
    *out = p;
    return ERR_OK;
}

static err map_file(const char *path, void **at, size_t *n, fault *why)
{
    const int fd = open(path, O_RDONLY | O_CLOEXEC);
    struct stat s;
    err e = ERR_OK;

    if (fd < 0) return err_blame(why, ERR_OPEN, "file");
    /* of a device or a pipe the size says nothing */
    if (fstat(fd, &s) != 0 || !S_ISREG(s.st_mode))
        e = err_blame(why, ERR_READ, "file");
    else if (s.st_size == 0)
        e = err_blame(why, ERR_TRUNCATED, "header");
    if (e == ERR_OK) {
        *n = (size_t)s.st_size;
        /* mapped, not read: processes of one model share its pages, which are clean */
        *at = mmap(NULL, *n, PROT_READ, MAP_PRIVATE, fd, 0);
        if (*at == MAP_FAILED) e = err_blame(why, ERR_READ, "file");
    }
    close(fd);
    return e;
}

err plan_open(plan **out, const char *path, const gguf *g, fault *why)
{
    void *at = NULL;
    size_t n = 0;
    plan *p = NULL;
    plan_hash model = {{0}};
    err e;

    TRY(map_file(path, &at, &n, why));
    e = plan_open_memory(&p, at, n, why);
    if (e != ERR_OK) {
        munmap(at, n);
        return e;
    }
    p->mapped = at;
    /* last, for it reads every byte of the model's file */
    e = plan_hash_model(g, &model);
    if (e == ERR_OK && memcmp(&p->header.model, &model, sizeof model) != 0)
        e = err_blame(why, ERR_PLANMODEL, "model");
    if (e != ERR_OK) {
        plan_close(p);
        return e;
    }
    *out = p;
    return ERR_OK;
}

void plan_close(plan *p)
{
    if (!p) return;
    if (p->mapped) munmap(p->mapped, p->n);
    free(p->owned);
    free(p->layers);
    free(p);
}

/* Data alone, in the file's order: a renamed model, or one with another template, is still the
 * one that was calibrated. */
err plan_hash_model(const gguf *g, plan_hash *out)
{
    XXH3_state_t *s = XXH3_createState();
    XXH128_canonical_t canonical;

    if (!s) return ERR_NOMEM;
    XXH3_128bits_reset(s);
    for (size_t i = 0; i < gguf_tensors(g); i++) {
        const gguf_tensor *t = gguf_tensor_at(g, i);

        XXH3_128bits_update(s, t->data, t->bytes);
    }
    /* big-endian bytes, the same on every machine */
    XXH128_canonicalFromHash(&canonical, XXH3_128bits_digest(s));
    memcpy(out->bytes, canonical.digest, sizeof out->bytes);
    XXH3_freeState(s);
    return ERR_OK;
}

plan_about plan_read_about(const plan *p)
{
    const plan_header *h = &p->header;

    return (plan_about){.model = h->model,
                        .D = h->width,
                        .L = h->layers,
                        .E = h->kv_width,
                        .ratio = h->ratio,
                        .predictor = predictor_of(h),
                        .code_bits = h->code_bits,
                        .kl = h->kl,
                        .kl_tokens = h->kl_tokens};
}

plan_layer plan_read_layer(const plan *p, size_t l)
{
    assert(l >= 1 && l < p->header.layers);
    return p->layers[l];
}

size_t plan_bytes(const plan *p)
{
    return p->n;
}

/* --- making --- */

void plan_pack(size_t D, const double *rows, const plan_matrix *out)
{
    for (size_t r = 0; r < out->rows; r++, rows += D) {
        uint16_t *half = out->half + r * D;
        double most = 0;

        for (size_t i = 0; i < D; i++) most = fmax(most, fabs(rows[i]));
        /* to 1 at most: a row may have any magnitude, which a half could not hold */
        out->scale[r] = (float)most;
        for (size_t i = 0; i < D; i++)
            half[i] = kern_half(most > 0 ? (float)(rows[i] / most) : 0);
    }
}

void plan_unpack(const kern *k, size_t D, const plan_matrix *m, float *rows)
{
    for (size_t r = 0; r < m->rows; r++) {
        k->half_to_float(m->half + r * D, D, rows + r * D);
        for (size_t i = 0; i < D; i++) rows[r * D + i] *= m->scale[r];
    }
}

/* The sum is over the header that will be written, checksum aside: it is put in last. */
static void seal(plan *p)
{
    p->header.checksum = 0;
    memcpy(p->owned, &p->header, sizeof p->header);
    p->header.checksum = XXH3_64bits(p->owned + SUMMED_FROM, p->n - SUMMED_FROM);
    memcpy(p->owned, &p->header, sizeof p->header);
}

static size_t count_bytes(const plan_about *a, const size_t *n)
{
    size_t bytes = sizeof(plan_header) + to_lines(a->L * sizeof(uint32_t));

    for (size_t l = 1; l < a->L; l++) bytes += plan_layer_bytes(a->D, a->predictor, n[l]);
    return bytes;
}

static void copy_layers(plan *p, const plan_about *a, const size_t *n, void *const *layers)
{
    uint32_t *counts = (uint32_t *)(void *)(p->owned + sizeof p->header);
    size_t at = sizeof p->header + to_lines(a->L * sizeof *counts);

    for (size_t l = 1; l < a->L; l++) {
        const size_t bytes = plan_layer_bytes(a->D, a->predictor, n[l]);

        counts[l] = (uint32_t)n[l];
        memcpy(p->owned + at, layers[l], bytes);
        at += bytes;
    }
}

static plan_header describe(const plan_about *a, size_t file_bytes)
{
    return (plan_header){.magic = {'X', 'P', 'L', 'N'},
                         .version = VERSION,
                         .file_bytes = file_bytes,
                         .model = a->model,
                         .ratio = a->ratio,
                         .kl = a->kl,
                         .layers = (uint32_t)a->L,
                         .width = (uint32_t)a->D,
                         .kv_width = (uint32_t)a->E,
                         .predictor = (uint32_t)a->predictor.kind,
                         .rank = (uint32_t)a->predictor.rank,
                         .code_bits = (uint32_t)a->code_bits,
                         .kl_tokens = (uint32_t)a->kl_tokens};
}

err plan_make(plan **out, const plan_about *a, const size_t *n, void *const *layers)
{
    plan *p = calloc(1, sizeof *p);
    err e = ERR_NOMEM;

    if (!p) return e;
    p->n = count_bytes(a, n);
    p->owned = calloc(1, p->n);
    if (p->owned) {
        p->bytes = p->owned;
        p->header = describe(a, p->n);
        copy_layers(p, a, n, layers);
        seal(p);
        /* by the reader's own checks: what is made here can be opened anywhere */
        e = check_all(p, NULL);
    }
    if (e != ERR_OK) {
        plan_close(p);
        return e;
    }
    *out = p;
    return ERR_OK;
}

void plan_set_kl(plan *p, double kl, size_t tokens)
{
    /* a mapped plan is read-only, and its sum would no longer be the file's */
    assert(p->owned);
    p->header.kl = kl;
    p->header.kl_tokens = (uint32_t)tokens;
    seal(p);
}

/* --- writing --- */

/* Asked before hours of calibration, not after them. */
err plan_try_path(const char *path)
{
    new_file f;
    const err e = new_file_open(&f, path);

    new_file_drop(&f);
    return e;
}

err plan_write(const plan *p, const char *path)
{
    new_file f;
    err e = new_file_open(&f, path);

    if (e == ERR_OK) e = new_file_write(&f, p->bytes, p->n);
    if (e == ERR_OK) e = new_file_keep(&f);
    new_file_drop(&f);
    return e;
}
