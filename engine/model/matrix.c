/* matrix.c - packing of weights, and their product with rows of activations.
 *
 * A row of the file is one output: its D inputs lie side by side. A kernel wants the reverse,
 * 16 outputs for one input, because then a lane is an output, a number of x is broadcast to all
 * lanes, and no sum ever crosses them (which is what makes every twin bit-exact, kern_avx2.c).
 * So rows are repacked once, at load, into panels of 16:
 *
 *   file    row 0: k0 k1 k2 ...    panel 0: k0 of rows 0..15 | k1 of rows 0..15 | ...
 *           row 1: k0 k1 k2 ...    panel 1: the same of rows 16..31
 *
 *   F32, F16, BF16   [D,16] in the file's own bits, widened when they are multiplied
 *   Q8_0             scales [D/32,16] halves, zeros to 64 bytes, then [D/32] groups of
 *                    [8,16,4] bytes: four inputs of 16 outputs are one dpbusd; + 128, as it
 *                    wants them unsigned
 *   packed types     kern_quants.h: 2 to 6 bits a weight stay 2 to 6 bits
 *   MXFP4, TQ1_0 ..  as BF16, F16 or F32, whichever holds them exactly (widen.def)
 *
 * A matrix that is opened exact is F32, whatever its type in the file.
 *
 * A panel is read from its first byte to its last for all rows of a step, by one core, so
 * hardware prefetch sees one stream, and a step of many rows costs hardly more memory traffic
 * than one of a single row. The mapping is not used after load but for the embedding: its pages
 * may go. */
#include "engine/model/matrix.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "engine/model/quant.h"
#include "engine/model/widen.h"

typedef void panel_kernel(const kern_panel *p);

typedef struct matrix_type {
    gguf_type id;
    bool int8;
    size_t panels; /* of a call: 1 or 2 */
    size_t (*panel_bytes)(size_t D);
    void (*pack)(uint8_t *panel, const uint8_t *row, size_t D, size_t o);
    void (*read)(const uint8_t *row, size_t D, float *out);
    panel_kernel *(*kernel)(const kern *k);
} matrix_type;

static void pack_F32(uint8_t *panel, const uint8_t *row, size_t D, size_t o)
{
    for (size_t k = 0; k < D; k++) memcpy(panel + (k * KERN_PANEL + o) * 4, row + k * 4, 4);
}

static void pack_F16(uint8_t *panel, const uint8_t *row, size_t D, size_t o)
{
    for (size_t k = 0; k < D; k++) memcpy(panel + (k * KERN_PANEL + o) * 2, row + k * 2, 2);
}

/* Both are moved as 16 bits; which they are is the kernel's business. */
#define pack_BF16 pack_F16

/* A file's block is a half scale and 32 signed bytes. */
static void pack_Q8_0(uint8_t *panel, const uint8_t *row, size_t D, size_t o)
{
    uint8_t *w = panel + (D / KERN_GROUP * 32 + 63) / 64 * 64;

    for (size_t g = 0; g < D / KERN_GROUP; g++, row += 34) {
        memcpy(panel + (g * KERN_PANEL + o) * 2, row, 2);
        for (size_t k = 0; k < KERN_GROUP; k++)
            w[g * 512 + k / 4 * 64 + o * 4 + k % 4] = row[2 + k] ^ 0x80u;
    }
}

static void read_F32(const uint8_t *row, size_t D, float *out)
{
    memcpy(out, row, D * sizeof *out);
}

/* Reading rows is for embeddings and for the cache's own factors: not hot, so it goes
 * through the one definition of a half. */
static void read_F16(const uint8_t *row, size_t D, float *out)
{
    for (size_t k = 0; k < D; k++) {
        uint16_t half;

        memcpy(&half, row + k * 2, 2);
        out[k] = kern_float(half);
    }
}

static void read_BF16(const uint8_t *row, size_t D, float *out)
{
    for (size_t k = 0; k < D; k++) {
        uint16_t top;
        uint32_t bits;

        memcpy(&top, row + k * 2, 2);
        bits = (uint32_t)top << 16;
        memcpy(&out[k], &bits, 4);
    }
}

static void read_Q8_0(const uint8_t *row, size_t D, float *out)
{
    for (size_t g = 0; g < D / KERN_GROUP; g++, row += 34) {
        uint16_t half;

        memcpy(&half, row, 2);
        for (size_t k = 0; k < KERN_GROUP; k++)
            out[g * KERN_GROUP + k] = kern_float(half) * (float)(int8_t)row[2 + k];
    }
}

#define QUANT(type, ...)                                                            \
    static void pack_##type(uint8_t *panel, const uint8_t *row, size_t D, size_t o) \
    {                                                                               \
        quant_pack_row(QUANT_##type, row, D, panel, o);                             \
    }                                                                               \
    static void read_##type(const uint8_t *row, size_t D, float *out)               \
    {                                                                               \
        quant_read_row(QUANT_##type, row, D, out);                                  \
    }
#include "engine/kern/quants.def"
#undef QUANT

/* Floats of a block as a panel of a wider type has them. */
static void put_F32(uint8_t *panel, const float *x, size_t n, size_t k, size_t o)
{
    for (size_t i = 0; i < n; i++) memcpy(panel + ((k + i) * KERN_PANEL + o) * 4, &x[i], 4);
}

static void put_F16(uint8_t *panel, const float *x, size_t n, size_t k, size_t o)
{
    for (size_t i = 0; i < n; i++) {
        const uint16_t half = kern_half(x[i]);

        memcpy(panel + ((k + i) * KERN_PANEL + o) * 2, &half, 2);
    }
}

/* The upper half of the bits is all of them: weights of widen.def have no others. */
static void put_BF16(uint8_t *panel, const float *x, size_t n, size_t k, size_t o)
{
    for (size_t i = 0; i < n; i++) {
        uint32_t bits;
        uint16_t top;

        memcpy(&bits, &x[i], 4);
        top = (uint16_t)(bits >> 16);
        memcpy(panel + ((k + i) * KERN_PANEL + o) * 2, &top, 2);
    }
}

#define WIDEN(type, elements, bytes, as)                                                   \
    static void pack_##type(uint8_t *panel, const uint8_t *row, size_t D, size_t o)        \
    {                                                                                      \
        for (size_t k = 0; k < D; k += elements, row += bytes) {                           \
            float x[elements];                                                             \
                                                                                           \
            widen_##type(row, x);                                                          \
            put_##as(panel, x, elements, k, o);                                            \
        }                                                                                  \
    }                                                                                      \
    static void read_##type(const uint8_t *row, size_t D, float *out)                      \
    {                                                                                      \
        for (size_t k = 0; k < D; k += elements, row += bytes) widen_##type(row, out + k); \
    }
#include "engine/model/widen.def"
#undef WIDEN

#define QUANT_BYTES(type, D) kern_panel_bytes(quant_form(QUANT_##type), D)
#define MATRIX(name, kernel, int8, panels, bytes)     \
    static size_t bytes_##name(size_t D)              \
    {                                                 \
        return bytes;                                 \
    }                                                 \
    static panel_kernel *kernel_##name(const kern *k) \
    {                                                 \
        return k->kernel;                             \
    }
#include "engine/model/matrix.def"
#undef MATRIX
#undef QUANT_BYTES

static const matrix_type types[] = {
#define MATRIX(name, kernel, int8, panels, bytes) \
    {GGUF_##name, int8, panels, bytes_##name, pack_##name, read_##name, kernel_##name},
#include "engine/model/matrix.def"
#undef MATRIX
};

/* Some 20 rows, asked at load and once a row of an embedding. */
static const matrix_type *find_type(gguf_type id)
{
    for (size_t i = 0; i < sizeof types / sizeof types[0]; i++)
        if (types[i].id == id) return &types[i];
    return NULL;
}

bool matrix_knows(gguf_type type)
{
    return find_type(type) != NULL;
}

bool matrix_wants_int8(const matrix *m)
{
    return m->type->int8;
}

bool matrix_type_wants_int8(gguf_type type)
{
    const matrix_type *known = find_type(type);

    return known && known->int8;
}

/* Panels begin cache lines: kernels load them aligned. */
static size_t panel_bytes_of(const matrix_type *type, size_t cols)
{
    return (type->panel_bytes(cols) + 63) / 64 * 64;
}

/* What a type multiplies as in floats. Halves would take half the memory, and a dequantized
 * weight does not fit into one: 11 bits of scale times up to 8 of code. */
static const matrix_type *float_type(const matrix_type *type)
{
    return type && type->int8 ? find_type(GGUF_F32) : type;
}

static size_t bytes_as(const gguf_tensor *t, const matrix_type *type)
{
    const uint64_t rows = t->dim[1] * t->dim[2] * t->dim[3];

    if (!type || t->n_dims < 2) return 0;
    return (rows + KERN_PANEL - 1) / KERN_PANEL * panel_bytes_of(type, t->dim[0]);
}

size_t matrix_bytes(const gguf_tensor *t)
{
    return bytes_as(t, find_type(t->type));
}

size_t matrix_exact_bytes(const gguf_tensor *t)
{
    return bytes_as(t, float_type(find_type(t->type)));
}

/* From the file's bytes, or from the floats that they mean. */
static err pack_rows(matrix *m, const gguf_tensor *t, const matrix_type *from)
{
    const size_t row_bytes = t->bytes / m->rows;
    float *floats = from == m->type ? NULL : malloc(m->cols * sizeof *floats);

    if (from != m->type && !floats) return ERR_NOMEM;
    for (size_t r = 0; r < m->rows; r++) {
        const uint8_t *row = (const uint8_t *)t->data + r * row_bytes;

        if (floats) {
            from->read(row, m->cols, floats);
            row = (const uint8_t *)floats;
        }
        m->type->pack(m->data + r / KERN_PANEL * m->panel_bytes, row, m->cols, r % KERN_PANEL);
    }
    free(floats);
    return ERR_OK;
}

/* The last panel is cleared first, since its missing rows are multiplied too: by zeros, not
 * by what malloc left, which could be NaN and slow. */
static err open_as(matrix *m, const gguf_tensor *t, const matrix_type *type)
{
    matrix n = {.type = type, .rows = t->dim[1], .cols = t->dim[0]};
    err e;

    if (!type) return ERR_TENSORTYPE;
    n.panels = (n.rows + KERN_PANEL - 1) / KERN_PANEL;
    n.panel_bytes = panel_bytes_of(type, n.cols);
    n.data = aligned_alloc(64, n.panels * n.panel_bytes);
    if (!n.data) return ERR_NOMEM;
    memset(n.data + (n.panels - 1) * n.panel_bytes, 0, n.panel_bytes);
    e = pack_rows(&n, t, find_type(t->type));
    if (e != ERR_OK) {
        matrix_close(&n);
        return e;
    }
    *m = n;
    return ERR_OK;
}

err matrix_open(matrix *m, const gguf_tensor *t)
{
    return open_as(m, t, find_type(t->type));
}

err matrix_open_exact(matrix *m, const gguf_tensor *t)
{
    return open_as(m, t, float_type(find_type(t->type)));
}

void matrix_close(matrix *m)
{
    free(m->data);
    m->data = NULL;
}

err matrix_read_row(const gguf_tensor *t, size_t row, float *out)
{
    const matrix_type *type = find_type(t->type);

    if (!type) return ERR_TENSORTYPE;
    assert(row < t->dim[1]);
    type->read((const uint8_t *)t->data + t->bytes / t->dim[1] * row, t->dim[0], out);
    return ERR_OK;
}

/* A panel that is cut short by the matrix's end goes through a buffer of whole ones. */
static void multiply_cut(kern_panel p, panel_kernel *kernel, size_t outputs)
{
    float whole[64 * KERN_PANEL];
    float *y = p.y;
    const size_t T = p.T, groups = p.D / KERN_GROUP;

    p.y = whole;
    for (size_t t = 0; t < T; t += p.T) {
        p.T = T - t < 64 ? T - t : 64;
        kernel(&(kern_panel){.w = p.w,
                             .x = p.x + t * p.D,
                             .q = p.q ? p.q + t * p.D : NULL,
                             .q_scale = p.q ? p.q_scale + t * groups : NULL,
                             .q_sum = p.q ? p.q_sum + t * groups : NULL,
                             .y = whole,
                             .y_stride = KERN_PANEL,
                             .T = p.T,
                             .D = p.D});
        for (size_t i = 0; i < p.T; i++)
            memcpy(y + (t + i) * p.y_stride, whole + i * KERN_PANEL, outputs * sizeof *y);
    }
}

/* Two panels go together where the kernel takes two and both are whole (kern_avx512_panels.c
 * says why); which panels meet depends on the caller's cut, and shows in no bit. */
void matrix_multiply(const matrix *m, const kern *k, const matrix_input *in, size_t first,
                     size_t last, float *y, size_t y_stride)
{
    panel_kernel *const kernel = m->type->kernel(k);

    assert(in->D == m->cols && last <= m->panels);
    for (size_t i = first, n; i < last; i += n) {
        kern_panel p = {.w = m->data + i * m->panel_bytes,
                        .x = in->x,
                        .q = in->q,
                        .q_scale = in->q_scale,
                        .q_sum = in->q_sum,
                        .y = y + i * KERN_PANEL,
                        .y_stride = y_stride,
                        .T = in->T,
                        .D = in->D};

        n = i + 2 <= last && (i + 2) * KERN_PANEL <= m->rows ? m->type->panels : 1;
        if (n == 2) p.second = m->data + (i + 1) * m->panel_bytes;
        if ((i + n) * KERN_PANEL <= m->rows)
            kernel(&p);
        else
            multiply_cut(p, kernel, m->rows - i * KERN_PANEL);
    }
}
