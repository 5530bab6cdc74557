/* rans.h - entropy coding of a layer's quantized values: rANS with static tables by class.
 *
 * A layer of a block is n components of B tokens. Every symbol belongs to a class, by how wide
 * its values are spread in steps (kern_classes): what is coded is small where a table is
 * narrow, and 1 to 2 bits are spent where they buy most. How classes share 40 tables, where
 * raw bits come in, and how a stream is laid out: engine/kern/kern_rans.h.
 *
 * Sources: Duda 2014 (arXiv:1311.2540) for rANS; Giesen 2014 (arXiv:1402.3392, ryg_rans) for
 * interleaved states that one core decodes at once. */
#ifndef XCACHE_CODEC_RANS_H
#define XCACHE_CODEC_RANS_H

#include <stddef.h>
#include <stdint.h>

#include "engine/err.h"
#include "engine/kern/kern.h"

enum {
    RANS_CLASSES = KERN_CLASSES,
    RANS_TABLES = KERN_TABLES,
    RANS_SYMBOLS = KERN_SYMBOLS,
    RANS_ESCAPE = KERN_SYMBOLS - 1, /* the others: hi + 16 */
    RANS_LANES = KERN_RANS_LANES,
    RANS_BITS = KERN_RANS_BITS,
    RANS_COST_ONE = 256, /* a bit, in costs */
    RANS_OVERHEAD = 16,  /* bytes of a stream beside its cost; 48 where it costs less than 64 */
};

#define RANS_NO_ROOM SIZE_MAX

typedef struct rans_model rans_model;

/* The table and the symbol that q is counted under, class = kern_class(row, column): what
 * makes rans_normalize's counts. */
size_t rans_table(int class);
size_t rans_symbol(int class, int q);

/* Frequencies of one table from counts, which are 0 or more: they add up to 2^RANS_BITS.
 * Symbols so rare that an escape costs less than their share of the table get 0; the escape
 * gets 1 or more. The same counts give the same frequencies everywhere. */
void rans_normalize(const double *counts, uint16_t *freq);

/* Tables for coding and decoding from freq [RANS_TABLES,RANS_SYMBOLS], which are copied.
 *   hot  in  the loops to run; borrowed for the model's life
 * ERR_RANGE names the table that does not add up to 2^RANS_BITS or has no escape. */
err rans_open(rans_model **out, const uint16_t *freq, const kern *hot, fault *why);
void rans_close(rans_model *m);
size_t rans_model_bytes(void); /* that one keeps: about 350 kB */

/* What q [n,B] costs: bits times RANS_COST_ONE, raw bits included. A few cycles a value at
 * most, so a step can be tried. */
uint64_t rans_cost(const rans_model *m, const kern_classes *c, const int16_t *q);

/* Write q [n,B], any values, to out, which has `room` bytes. Returns the bytes written, 0 of 0
 * rows, or RANS_NO_ROOM. No scratch: the stream grows from the end of out, since rANS encodes
 * backwards, so what follows the bytes written is lost, and all of out without room. */
size_t rans_encode(const rans_model *m, const kern_classes *c, const int16_t *q, uint8_t *out,
                   size_t room);

/* The values of any n bytes: q [n,B] as encoded, or something when they are damaged. */
void rans_decode(const rans_model *m, const kern_classes *c, const uint8_t *bytes, size_t n,
                 int16_t *q);

#endif
