/* klt_share.c - a block in parts, and what they have in common.
 *
 *   memory    klt_share | q of the whole [n,B] | temp of part 0 | temp of part 1 | ...
 *
 * A part is a klt_block of fewer rows, with q of its own, [n,rows]: its columns of the whole's
 * are a copy, for the entropy coder. So no worker writes where another one reads. */
#include "xcache/codec/klt_share.h"

#include <assert.h>
#include <string.h>

enum { LINE = 64, MOST_PARTS = KLT_ROWS / KERN_RANS_LANES };

struct klt_share {
    klt_block whole; /* without temp and state of its own */
    size_t parts, bytes;
    klt_block part[MOST_PARTS];
};

static size_t head_bytes(void)
{
    return (sizeof(klt_share) + LINE - 1) / LINE * LINE;
}

static size_t codes_bytes(size_t rows, size_t D)
{
    return (rows * D * sizeof(int16_t) + LINE - 1) / LINE * LINE;
}

size_t klt_share_bytes(size_t rows, size_t D)
{
    return head_bytes() + codes_bytes(rows, D) + klt_temp_floats(rows, D) * sizeof(float);
}

static int16_t *whole_codes(klt_share *s)
{
    return (int16_t *)(void *)((char *)s + head_bytes());
}

/* A part's share of the block's temp: rows are a multiple of 16, so nothing is lost to
 * rounding. */
static float *part_temp(klt_share *s, const klt_block *b, size_t D, size_t first)
{
    char *all = (char *)s + head_bytes() + codes_bytes(b->rows, D);

    return (float *)(void *)all + klt_temp_floats(first, D);
}

void klt_share_predict(klt_share *s, const klt_layer *l, const klt_block *b, const float *x,
                       size_t part, size_t parts)
{
    const size_t rows = b->rows / parts, first = part * rows;
    klt_block *p = &s->part[part];

    assert(parts <= MOST_PARTS && b->rows % (parts * KERN_RANS_LANES) == 0);
    *p = *b;
    p->rows = rows;
    p->sinks = b->sinks < first ? 0 : b->sinks - first < rows ? b->sinks - first : rows;
    p->state = b->state + first * l->D;
    p->temp = part_temp(s, b, l->D, first);
    klt_project(l, p);
    klt_transform(l, p, x + first * l->D);
    if (part) return;
    s->whole = *b;
    s->parts = parts;
    klt_weigh(l, &s->whole, x);
}

/* What the entropy coder looks at, from part to whole. */
static void gather(klt_share *s, const klt_layer *l, size_t part)
{
    const klt_block *p = &s->part[part];
    const size_t first = part * p->rows, B = s->whole.rows;
    const int16_t *from = klt_codes(l, p);
    int16_t *to = whole_codes(s) + first;

    memcpy(s->whole.column + first, p->column, p->rows * sizeof *p->column);
    for (size_t i = 0; i < l->n; i++)
        memcpy(to + i * B, from + i * p->rows, p->rows * sizeof *to);
}

void klt_share_quantize(klt_share *s, const klt_layer *l, size_t part, int multiplier)
{
    klt_block *p = &s->part[part];

    if (!l->n) return;
    memcpy(p->weight, s->whole.weight + part * p->rows, p->rows * sizeof *p->weight);
    klt_quantize(l, p, klt_limit(multiplier));
    gather(s, l, part);
}

static void quantize_again(void *arg, const klt_layer *l, int multiplier)
{
    klt_share *s = arg;

    for (size_t part = 0; part < s->parts; part++) klt_share_quantize(s, l, part, multiplier);
}

size_t klt_share_write(klt_share *s, const klt_layer *l, int multiplier)
{
    s->bytes = l->n ? klt_pack(l, &s->whole, whole_codes(s), klt_limit(multiplier),
                               quantize_again, s)
                    : 0;
    return s->bytes ? s->bytes : klt_pack_nothing(&s->whole);
}

void klt_share_hold(klt_share *s, const klt_layer *l, size_t part)
{
    if (s->bytes) klt_add(l, &s->part[part]);
}
