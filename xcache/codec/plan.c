/* plan.c - checks and reads plan files.
 *
 *    0          header, 128 bytes       magic, version, checksum; file_bytes, model, L, D, E,
 *                                       C, predictor, rank, steps, measured, kl_tokens, plain,
 *                                       zeros
 *    128        counts u32 [L]          components n of each layer; of layer 0 none
 *    next line  measured, plain, rates, tables
 *    next line  layer 1: floats         c [D], diagonal [D], salience [D+1], floor, sigma [n],
 *                                       scales of form [2E], down [d], up [r], Q [n]
 *                        halves         form [2E,C]
 *                        bytes          shares of down, up, Q, a byte a group of 32 columns
 *                        int8           down [d,D], up [r,D], Q [n,D]
 *    next line  layer 2, ... L-1
 *
 * Lines are of 64 bytes; r is the rank or 0, d is D (full), r (rank) or 0 (none). Where a layer
 * begins follows from the counts before it, so there are no offsets that could point anywhere.
 * The checksum covers all that follows it. A file is hostile until plan_check has seen every
 * byte: sizes against limits before they are multiplied, counts against D before a layer is
 * laid out, every number finite, every table whole. Behind it a plan is trusted, and its layers
 * are read where they are mapped. */
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

#include "xcache/codec/plan.h"
#include "xcache/codec/plan_file.h"
#include "xcache/codec/rans.h"

/* Limits of what is read, far above any model: no product of them leaves 64 bits. */
enum { MAX_LAYERS = 1024, MAX_WIDTH = 1 << 20 };

_Static_assert((int)PLAN_TABLES == (int)RANS_TABLES, "a plan has the coder's tables");
_Static_assert((int)PLAN_SYMBOLS == (int)RANS_SYMBOLS, "of as many symbols");

/* --- sizes --- */

size_t plan_code_bytes(size_t E, size_t L, size_t B, double ratio)
{
    /* whole lines, as the pool's blocks are: what rounding would waste goes to codes */
    const double bytes = 32.0 * (double)E * (double)L / ratio * (double)B / 8;
    const size_t lines = (size_t)(bytes / PLAN_LINE), ids = B * sizeof(int32_t);

    return lines * PLAN_LINE > ids ? lines * PLAN_LINE - ids : 0;
}

static size_t down_rows(size_t D, plan_predictor r)
{
    return r.kind == PLAN_FULL ? D : r.rank;
}

plan_places plan_find_places(const plan_about *a)
{
    const size_t tables = PLAN_TABLES * (PLAN_SYMBOLS * sizeof(uint16_t) + sizeof(float));
    plan_places p = {.counts = sizeof(plan_header)};

    p.measured = plan_to_lines(p.counts + a->L * sizeof(uint32_t));
    p.plain = plan_to_lines(p.measured + a->measured * sizeof(plan_measured));
    p.rates = plan_to_lines(p.plain + a->plain * sizeof(plan_plain));
    p.tables = plan_to_lines(p.rates + a->steps * (1 + a->L) * sizeof(float));
    p.layers = plan_to_lines(p.tables + tables);
    return p;
}

size_t plan_layer_bytes(const plan_about *a, size_t n)
{
    const size_t rows = down_rows(a->D, a->predictor) + a->predictor.rank + n;
    const size_t floats = 3 * a->D + 2 + n + 2 * a->E + rows;

    return plan_to_lines(floats * sizeof(float) + 2 * a->E * a->C * sizeof(uint16_t) +
                         rows * (plan_groups(a->D) + a->D));
}

plan_layer plan_lay_out(void *bytes, const plan_about *a, size_t n)
{
    plan_layer l = {.n = n, .c = bytes};
    plan_matrix *const list[] = {&l.down, &l.up, &l.q};
    const size_t rows[] = {down_rows(a->D, a->predictor), a->predictor.rank, n};
    float *scale;
    uint8_t *share;
    int8_t *code;

    l.diagonal = l.c + a->D;
    l.salience = l.diagonal + a->D;
    l.floor = l.salience + a->D + 1;
    l.sigma = l.floor + 1;
    l.form = (plan_form){.rows = 2 * a->E, .scale = l.sigma + n};
    /* all floats first, then halves, then bytes: so each is aligned, whatever D and n are */
    scale = l.form.scale + l.form.rows;
    for (int i = 0; i < 3; i++) {
        *list[i] = (plan_matrix){.rows = rows[i], .scale = scale};
        scale += rows[i];
    }
    l.form.half = (uint16_t *)(void *)scale;
    share = (uint8_t *)(l.form.half + l.form.rows * a->C);
    for (int i = 0; i < 3; i++) {
        list[i]->share = share;
        share += rows[i] * plan_groups(a->D);
    }
    code = (int8_t *)share;
    for (int i = 0; i < 3; i++) {
        list[i]->code = code;
        code += rows[i] * a->D;
    }
    return l;
}

plan_predictor plan_default_predictor(const plan_about *a, uint64_t model_bytes)
{
    const size_t D = a->D,
                 most = 2 * a->E < D ? 2 * a->E : D; /* components: what K and V see */
    plan_about with = *a;

    /* docs/quality.md: beside a diagonal, a rank has a tenth to a sixth more KL than a full
     * predictor, and 5/9 of its bytes. In narrow models those are few. */
    with.predictor = (plan_predictor){PLAN_FULL, 0};
    if (D <= 512 || a->L * plan_layer_bytes(&with, most) <= 0.15 * (double)model_bytes)
        return with.predictor;
    return (plan_predictor){PLAN_RANK, (5 * D / 18 + 31) / 32 * 32};
}

/* --- checks --- */

static err check_sizes(const plan_header *h, fault *why)
{
    const uint32_t D = h->width, E = h->kv_width, C = h->head_width, rank = h->rank;

    if (h->layers < 1 || h->layers > MAX_LAYERS) return err_blame(why, ERR_PLAN, "layers");
    if (D < 1 || D > MAX_WIDTH) return err_blame(why, ERR_PLAN, "width");
    if (E < 1 || E > MAX_WIDTH) return err_blame(why, ERR_PLAN, "kv_width");
    if (C < 1 || C > E || E % C) return err_blame(why, ERR_PLAN, "head_width");
    if (h->predictor >= PLAN_KINDS) return err_blame(why, ERR_PLAN, "predictor");
    if (h->predictor == PLAN_RANK ? rank < 1 || rank > D : rank != 0)
        return err_blame(why, ERR_PLAN, "rank");
    /* two at least: rates are read between steps */
    if (h->steps < 2 || h->steps > PLAN_MAX_STEPS) return err_blame(why, ERR_PLAN, "steps");
    if (h->measured > PLAN_MAX_MEASURED) return err_blame(why, ERR_PLAN, "measured");
    if (h->plain > PLAN_MAX_PLAIN) return err_blame(why, ERR_PLAN, "plain");
    return ERR_OK;
}

static err check_header(const plan *p, fault *why)
{
    const plan_header *h = &p->header;

    if (memcmp(h->magic, "XPLN", 4) != 0) return err_blame(why, ERR_PLAN, "magic");
    /* version 1 had one ratio a file, and another codec */
    if (h->version < PLAN_VERSION) return err_blame(why, ERR_OLDPLAN, "version");
    if (h->version > PLAN_VERSION) return err_blame(why, ERR_PLAN, "version");
    /* told apart: a download that was cut short, and a file that is no plan */
    if (h->file_bytes > p->n) return err_blame(why, ERR_TRUNCATED, "file_bytes");
    if (h->file_bytes != p->n) return err_blame(why, ERR_PLAN, "file_bytes");
    if (XXH3_64bits(p->bytes + PLAN_SUMMED_FROM, p->n - PLAN_SUMMED_FROM) != h->checksum)
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

/* Above zero and finite, and never rising: that is what chooses how many components count. */
static bool sigmas_fall(const float *sigma, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (!(sigma[i] > 0) || !isfinite(sigma[i]) || (i && sigma[i] > sigma[i - 1]))
            return false;
    return true;
}

static err check_layer(const plan_layer *l, const plan_about *a, size_t at, fault *why)
{
    const size_t rows = l->down.rows + l->up.rows + l->n;

    if (!sigmas_fall(l->sigma, l->n)) return wrong_layer(why, "sigma", at);
    if (!(*l->floor >= 0)) return wrong_layer(why, "floor", at);
    /* c, diagonal, salience and floor are neighbours, and so are all scales */
    if (!all_finite(l->c, 3 * a->D + 2) || !all_finite(l->form.scale, l->form.rows + rows) ||
        !halves_finite(l->form.half, l->form.rows * a->C))
        return wrong_layer(why, "numbers", at);
    return ERR_OK;
}

static err check_rates(const plan *p, fault *why)
{
    const plan_rates r = plan_read_rates(p);
    const size_t S = p->header.steps, L = p->header.layers;

    for (size_t s = 0; s < S; s++) {
        if (!(fabsf(r.step[s]) < 100) || (s && !(r.step[s] > r.step[s - 1])))
            return err_blame(why, ERR_PLAN, "step");
        for (size_t l = 0; l < L; l++)
            if (!(r.bits[s * L + l] >= 0 && r.bits[s * L + l] < 1e9f))
                return err_blame(why, ERR_PLAN, "bits");
    }
    return ERR_OK;
}

static err check_tables(const plan *p, fault *why)
{
    const plan_tables t = plan_read_tables(p);

    for (size_t i = 0; i < PLAN_TABLES; i++) {
        unsigned sum = 0;

        for (size_t v = 0; v < PLAN_SYMBOLS; v++) sum += t.frequency[i][v];
        /* whatever is not in a table needs its escape */
        if (sum != 1u << RANS_BITS || !t.frequency[i][RANS_ESCAPE])
            return err_blame(why, ERR_PLAN, "frequency");
        if (!(t.bias[i] >= -1 && t.bias[i] <= 1)) return err_blame(why, ERR_PLAN, "bias");
    }
    return ERR_OK;
}

/* Lay the layers out over the file: every count first, so that no offset leaves it. */
static err read_layers(plan *p, fault *why)
{
    const plan_about a = plan_read_about(p);
    size_t at = plan_find_places(&a).layers;
    const uint32_t *counts = (const uint32_t *)(const void *)(p->bytes + sizeof p->header);

    if (counts[0]) return wrong_layer(why, "count", 0);
    p->layers = calloc(a.L, sizeof *p->layers);
    if (!p->layers) return ERR_NOMEM;
    for (size_t l = 1; l < a.L; l++) {
        size_t bytes;

        if (counts[l] > a.D) return wrong_layer(why, "count", l);
        bytes = plan_layer_bytes(&a, counts[l]);
        if (bytes > p->n - at) return wrong_layer(why, "size", l);
        p->layers[l] = plan_lay_out((void *)(uintptr_t)(p->bytes + at), &a, counts[l]);
        TRY(check_layer(&p->layers[l], &a, l, why));
        at += bytes;
    }
    /* bytes that belong to no layer mean that a count lies */
    return at == p->n ? ERR_OK : err_blame(why, ERR_PLAN, "file_bytes");
}

err plan_check(plan *p, fault *why)
{
    plan_about a;

    if ((uintptr_t)p->bytes % 8) return err_blame(why, ERR_ALIGN, "address");
    if (p->n < sizeof p->header) return err_blame(why, ERR_TRUNCATED, "header");
    /* a copy: a mapped file may be changed by others between check and use */
    memcpy(&p->header, p->bytes, sizeof p->header);
    TRY(check_header(p, why));
    a = plan_read_about(p);
    if (plan_find_places(&a).layers > p->n) return err_blame(why, ERR_TRUNCATED, "counts");
    TRY(plan_check_measured(p, why));
    TRY(check_rates(p, why));
    TRY(check_tables(p, why));
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
    e = plan_check(p, why);
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
                        .C = h->head_width,
                        .predictor = {(plan_kind)h->predictor, h->rank},
                        .steps = h->steps,
                        .measured = h->measured,
                        .plain = h->plain,
                        .kl_tokens = h->kl_tokens};
}

plan_layer plan_read_layer(const plan *p, size_t l)
{
    assert(l >= 1 && l < p->header.layers);
    return p->layers[l];
}

/* A part of the file; of a mapped one it is read-only, whatever its type says. */
static void *part(const plan *p, size_t at)
{
    return (void *)(uintptr_t)(p->bytes + at);
}

plan_tables plan_read_tables(const plan *p)
{
    const plan_about a = plan_read_about(p);
    plan_tables t = {.frequency = part(p, plan_find_places(&a).tables)};

    t.bias = (float *)(void *)(t.frequency + PLAN_TABLES);
    return t;
}

plan_rates plan_read_rates(const plan *p)
{
    const plan_about a = plan_read_about(p);
    plan_rates r = {.step = part(p, plan_find_places(&a).rates)};

    r.bits = r.step + a.steps;
    return r;
}

size_t plan_bytes(const plan *p)
{
    return p->n;
}
