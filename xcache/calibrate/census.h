/* census.h - counts of the symbols that a text is coded into: what the entropy coder's tables,
 * the biases of reconstruction and the rates of layers are made of.
 *
 * Sums are integers, so they do not depend on which worker counts what. */
#ifndef XCACHE_CALIBRATE_CENSUS_H
#define XCACHE_CALIBRATE_CENSUS_H

#include <stddef.h>
#include <stdint.h>

#include "xcache/codec/plan.h"
#include "xcache/codec/rans.h"

typedef struct census {
    uint64_t count[PLAN_TABLES][PLAN_SYMBOLS];
    uint64_t raw_bits;             /* that go beside the tables' symbols */
    int64_t excess[PLAN_TABLES];   /* of |v| over the value it stands for, in 2^-20 steps... */
    uint64_t nonzero[PLAN_TABLES]; /* ...over so many */
    uint64_t tokens;
} census;

/* Count q [n,B] of values u [n,B], which are u * inverse [B] in steps; the tokens before
 * `sinks` are none. */
void census_add(census *c, const kern_classes *classes, const int16_t *q, const float *u,
                const float *inverse, size_t sinks);
void census_merge(census *to, const census *from);

/* Tables of all that was counted. */
void census_tables(const census *c, uint16_t frequency[][PLAN_SYMBOLS], float *bias);

/* Bits a token by those tables. */
double census_bits(const census *c, const uint16_t frequency[][PLAN_SYMBOLS]);

#endif
