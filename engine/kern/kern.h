/* kern.h - the table of hot loops, and what their arguments are.
 *
 * Row purity starts here: what a kernel writes for one row is a fixed expression of that
 * row's inputs, whatever the number of rows, the lanes or the instruction set. Every float
 * sum has its order written down in kern_ref.c, and every twin keeps it to the bit. */
#ifndef ENGINE_KERN_KERN_H
#define ENGINE_KERN_KERN_H

#include <stddef.h>
#include <stdint.h>

enum {
    KERN_PANEL = 16, /* outputs of one weight panel */
    KERN_GROUP = 32, /* columns that share an int8 scale */
    KERN_LANES = 32, /* running sums of a float reduction */
};

/* The codes of a group added up, its first and last 16 columns. */
typedef struct kern_sums {
    int16_t half[2];
} kern_sums;

/* One panel of weights times T rows: y[t,o] = sum over k of w[o,k] x[t,k], o = 0 .. 15.
 * Float types: one accumulator an output, k ascending, one fmaf each. Q8_0: exact int32
 * inside a group of 32 columns, then one fmaf a group, groups ascending. The types of
 * quants.def: exact int32 inside a group, integer scales included; one fmaf a group with the
 * scale of x, groups of a block ascending, and the same for minima times sums of x; then one
 * fmaf a block with its half scale (and one with its half minimum), blocks ascending. */
typedef struct kern_panel {
    const void *w;          /* packed as matrix.h says; 64-byte aligned */
    const void *second;     /* panel_q8 only: one more, whose outputs follow; NULL: none */
    const float *x;         /* [T,D], float types */
    const int8_t *q;        /* [T,D], other types: x as quantize_q8 wrote it, -127 .. 127 */
    const float *q_scale;   /* [T,D/32] */
    const kern_sums *q_sum; /* [T,D/32] */
    float *y;               /* [T,16], or [T,32]; y_stride floats from row to row */
    size_t y_stride;
    size_t T, D;
} kern_panel;

/* The second panel by itself. */
static inline kern_panel kern_second(const kern_panel *p)
{
    kern_panel next = *p;

    next.w = p->second;
    next.second = NULL;
    next.y += KERN_PANEL;
    return next;
}

/* One head's attention over one block of keys, T rows of queries; kt and v are floats, halves
 * or int8 by the kernel's name, and widen exactly:
 *   s[j] = (sum over c of q[t,c] kt[j,c]) * k_scale[j] * scale   c ascending, one fmaf each
 *   s[j] = what soft_cap makes of it, where there is a cap
 *   m = max s;  p[j] = exp(s[j] - m);  l = sum p   16 sums, j in sum j % 16, folded in halves
 *   o[c] = sum over j of (p[j] * v_scale[j]) v[j,c]              j ascending, one fmaf each
 * Row t sees keys 0 .. first + t - 1, or all n where that is more, but for those below
 * low + t * slide: their p is 0. A row that sees none has m -inf, l and o 0. */
typedef struct kern_attend {
    const float *q; /* [T,C], q_stride floats from row to row */
    const void *kt; /* [n/16,C,16] keys transposed in panels, the last readable to its end */
    const void *v;  /* [n,C], v_stride numbers from key to key */
    const uint16_t *k_scale,
        *v_scale; /* [n] halves, readable to a multiple of 16; NULL: all 1 */
    float *m, *l; /* [T], ml_stride floats from row to row */
    float *o;     /* [T,C], o_stride floats from row to row */
    size_t q_stride, v_stride, ml_stride, o_stride;
    size_t T, C, n; /* n <= KERN_KEYS */
    size_t first;
    ptrdiff_t
        low;      /* of a sliding window: any number of keys, up to n, before the block's too */
    size_t slide; /* 1: the window moves with the row; 0: it does not */
    float scale;
    float cap;                    /* 0: none */
    const void *next_kt, *next_v; /* as many keys and values that are attended to next: a twin
                                     may ask for them while it computes. NULL: none */
} kern_attend;

enum {
    KERN_KEYS = 512, /* keys of the longest block */
    KERN_ROWS = 4    /* rows of queries that share a widened number */
};

/* Codes are unsigned, `bits` wide, 1 .. 8. pack_codes writes them little-endian, lowest bits
 * first: eight fill `bits` bytes, the last eight filled up with zeros. unpack_codes reads
 * exactly those bytes. */

/* What a gate is bent by: clamp_mul. */
typedef struct kern_clamp {
    float slope, limit;
} kern_clamp;

/* xielu: of squares above 0, of exponentials below, of the straight line, and where
 * exponentials end. */
typedef struct kern_xielu {
    float rise, fall, line, edge;
} kern_xielu;

/* One group of min-max codes: halves. minmax_encode, a group of n >= 1 values:
 *   zero = half(min x);  scale = half((max x - min x) / (2^bits - 1)), both clamped
 *   code = nearest even of (x - zero) / scale, within 0 .. 2^bits - 1; 0 where scale is 0
 * minmax_decode: zero + scale * code, rounded once: 11 bits times 8 bits are exact. What is
 * not a number: kern_codes.h. */
typedef struct kern_minmax {
    uint16_t scale, zero;
} kern_minmax;

/* Symbols of a layer: n rows of B tokens, each in a class by how wide its values are spread:
 *   class of (i,t) = row[i] + column[t], brought within 0 .. KERN_CLASSES - 1
 * in quarter octaves of deviation / step, 24 where they are equal. Classes share tables:
 * kern_rans.h says which, and what a table of slots and a stream of bytes are.
 * rans_decode: q [n,B] from any n bytes at all. rans_encode: rows n-1 .. from, backwards, by
 * the states x [KERN_RANS_LANES] and codes [KERN_CLASSES,KERN_SYMBOLS], into words that end at
 * out + room; returns the bytes in front of them, or KERN_RANS_FULL. rans_cost: the sum of
 * costs [KERN_CLASSES,KERN_SYMBOLS] by class and symbol. klt_quantize: indices q [n,B] of
 * values u [n,B] in steps of 1 / inverse [B], which together cost each token the least, errors
 * squared and prices. klt_dequantize: the values of any indices, less the bias of their class's
 * table, in steps of step [B]. What an index stands for: kern_trellis.h. */
typedef struct kern_classes {
    const int16_t *row;   /* [n] */
    const int8_t *column; /* [B] */
    size_t n, B;          /* B a multiple of KERN_RANS_LANES, at most KERN_KEYS */
} kern_classes;

enum {
    KERN_CLASSES = 80,
    KERN_TABLES = 40,
    KERN_SYMBOLS = 34,    /* -16 .. 16, and one that says: 16 raw bits follow */
    KERN_RANS_LANES = 16, /* states that take turns: token t belongs to state t % 16 */
    KERN_RANS_BITS = 11,  /* the frequencies of a table add up to 2 to this */
    KERN_KLT_MOST = 32000
};

#define KERN_RANS_FULL SIZE_MAX /* there was too little room: x and the bytes are anything */

/* What an index costs the quantizer beside the square of its error: base + slope * |value| by
 * class, in squares of a step, where 0 costs nothing. */
typedef struct kern_prices {
    float base[KERN_CLASSES], slope[KERN_CLASSES]; /* slopes are 0 or more */
} kern_prices;

typedef struct kern {
#define KERN(name, result, args) result(*name) args;
#include "engine/kern/kern.def"
#undef KERN
} kern;

/* Fill k with the fastest loops that `flags` (cpu.h) allow. */
void kern_init(kern *k, unsigned flags);

/* Every twin's declaration: kern_<name>_<isa>. */
#define KERN(name, result, args)      \
    result kern_##name##_ref args;    \
    result kern_##name##_avx2 args;   \
    result kern_##name##_avx512 args; \
    result kern_##name##_neon args;
#include "engine/kern/kern.def"
#undef KERN

/* exp as the engine defines it, one value: for what is not hot. */
float kern_exp(float x);

#define KERN_HALF_MAX 65504.0f /* the largest half */

/* One half to float and back, exact / nearest even: for what is not hot. */
float kern_float(uint16_t half);
uint16_t kern_half(float x);

#endif
