/* hf_rows.c - numbers of a folder, one row at a time.
 *
 *   row r            plane r / rows, and in it i = r % rows
 *   heads            i -> the row whose turn it is where rotary pairs lie together
 *   first, step      i -> the source's row:   first half, second half, even rows, odd rows
 *   turned           the row is a column:     a step of `all` numbers from one to the next
 *
 * Products with scales are single float products: the numbers have few bits, so the only
 * rounding is the product's own. Formats: OCP Microscaling v1.0 (E2M1, E4M3, E8M0). */
#include "server/convert/hf_rows.h"

#include <math.h>
#include <string.h>

#include "engine/kern/kern.h"

enum { BLOCK = 32, HALF = 16, EXPONENT_BIAS = 127 };

/* --- numbers --- */

/* Sign, four bits of exponent, three of mantissa; all ones is no number, and none is infinite.
 */
static float read_e4m3(uint8_t b)
{
    const int exponent = b >> 3 & 15, mantissa = b & 7;
    const float size = exponent ? ldexpf((float)(8 + mantissa), exponent - 10)
                                : ldexpf((float)mantissa, -9);

    if ((b & 127) == 127) return NAN;
    return b & 128 ? -size : size;
}

static float read_bf16(const uint8_t *at)
{
    uint16_t top;
    uint32_t bits;
    float x;

    memcpy(&top, at, 2);
    bits = (uint32_t)top << 16;
    memcpy(&x, &bits, 4);
    return x;
}

static float read_number(hf_number type, const uint8_t *at)
{
    uint16_t half;
    float x;

    switch (type) {
    case HF_F32:
        memcpy(&x, at, 4);
        return x;
    case HF_F16:
        memcpy(&half, at, 2);
        return kern_float(half);
    case HF_BF16:
        return read_bf16(at);
    case HF_E4M3:
        return read_e4m3(*at);
    case HF_MXFP4:
        break; /* not one by one */
    }
    return NAN;
}

static size_t bytes_of(hf_number type)
{
    return type == HF_F32 ? 4 : type == HF_E4M3 ? 1 : 2;
}

/* n numbers, each `stride` behind the last. Rows side by side in four bytes need no reading. */
static void read_run(hf_number type, const uint8_t *at, size_t n, size_t stride, float *out)
{
    const size_t bytes = bytes_of(type);

    if (type == HF_F32 && stride == 1)
        memcpy(out, at, n * bytes);
    else if (type == HF_BF16)
        for (size_t i = 0; i < n; i++) out[i] = read_bf16(at + i * stride * bytes);
    else
        for (size_t i = 0; i < n; i++) out[i] = read_number(type, at + i * stride * bytes);
}

/* --- scales --- */

static void scale_e4m3(const hf_source *s, size_t row, size_t n, float *out)
{
    const size_t bytes = bytes_of(s->scale_type);
    const uint8_t *scales = (const uint8_t *)s->scale->data +
                            row / s->block[0] * s->scale_cols * bytes;

    for (size_t from = 0; from < n; from += s->block[1]) {
        const size_t end = n - from < s->block[1] ? n : from + s->block[1];
        const float by = read_number(s->scale_type, scales + from / s->block[1] * bytes);

        for (size_t i = from; i < end; i++) out[i] *= by;
    }
}

static void read_mxfp4(const hf_source *s, size_t row, size_t n, float *out)
{
    static const float values[16] = {0,     0.5f,  1,  1.5f,  2,  3,  4,  6,
                                     -0.0f, -0.5f, -1, -1.5f, -2, -3, -4, -6};
    const uint8_t *codes = (const uint8_t *)s->t->data + row * (n / 2);
    const uint8_t *scales = (const uint8_t *)s->scale->data + row * (n / BLOCK);

    for (size_t i = 0; i < n; i++) {
        const int code = i % 2 ? codes[i / 2] >> 4 : codes[i / 2] & 15;

        out[i] = ldexpf(values[code], scales[i / BLOCK] - EXPONENT_BIAS);
    }
}

/* --- rows --- */

static size_t turn_head(const hf_rows *s, size_t i)
{
    const size_t width = s->heads ? s->rows / s->heads : 1, at = i % width;

    return s->heads ? i - at + at % 2 * (width / 2) + at / 2 : i;
}

/* The source of row r, and which row of it, all planes of it counted through. */
static const hf_source *find(const hf_rows *s, size_t r, size_t *row)
{
    const size_t plane = r / s->rows;
    const size_t i = s->first + s->step * turn_head(s, r % s->rows);

    *row = s->sources > 1 ? i : plane * s->all + i;
    return &s->source[s->sources > 1 ? plane : 0];
}

static void read_source(const hf_rows *s, size_t r, float *out)
{
    size_t row;
    const hf_source *from = find(s, r, &row);
    const size_t plane = row / s->all * s->all * s->cols;
    const size_t at = s->turned ? plane + row % s->all : row * s->cols;

    if (from->type == HF_MXFP4) {
        read_mxfp4(from, row, s->cols, out);
        return;
    }
    read_run(from->type, (const uint8_t *)from->t->data + at * bytes_of(from->type), s->cols,
             s->turned ? s->all : 1, out);
    if (from->type == HF_E4M3) scale_e4m3(from, row, s->cols, out);
}

void hf_rows_read(const hf_rows *s, size_t r, float *out)
{
    if (s->source)
        read_source(s, r, out);
    else
        memcpy(out, s->numbers, s->cols * sizeof *out);
    for (size_t i = 0; s->gain && i < s->cols; i++) out[i] += 1;
}

bool hf_rows_is_mxfp4(const hf_rows *s)
{
    return s->source && s->source->type == HF_MXFP4;
}

/* There a byte holds number i and i + 16 of a block; here i and i + 1. */
void hf_rows_copy(const hf_rows *s, size_t r, uint8_t *out)
{
    size_t row;
    const hf_source *from = find(s, r, &row);
    const uint8_t *codes = (const uint8_t *)from->t->data + row * (s->cols / 2);
    const uint8_t *scales = (const uint8_t *)from->scale->data + row * (s->cols / BLOCK);

    for (size_t b = 0; b < s->cols / BLOCK; b++, codes += HALF, out += 1 + HALF) {
        out[0] = scales[b];
        for (int i = 0; i < HALF; i++) {
            const int low = codes[i / 2] >> 4 * (i % 2), high = codes[8 + i / 2] >> 4 * (i % 2);

            out[1 + i] = (uint8_t)((low & 15) | (high & 15) << 4);
        }
    }
}

const char *hf_rows_name(const hf_rows *s, const char *otherwise)
{
    return s->source ? s->source->t->name : otherwise;
}
