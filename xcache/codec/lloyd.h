/* lloyd.h - the scalar quantizers of klt: exact Lloyd-Max levels of N(0,1).
 *
 * Best levels c and the middles m between them satisfy c[i] = E[z | m[i] < z < m[i+1]] and
 * m[i] = (c[i-1] + c[i]) / 2. The system is solved by Newton's method, for the positive half
 * (its Jacobian is tridiagonal); the other half mirrors it. Microseconds a book, so books
 * are made when a codec opens. Source: S. P. Lloyd, IEEE Trans. Inf. Theory 28 (1982). */
#ifndef XCACHE_CODEC_LLOYD_H
#define XCACHE_CODEC_LLOYD_H

#include "engine/kern/kern.h"

enum { LLOYD_BITS = 8, LLOYD_LEVELS = KERN_LEVELS };

typedef struct lloyd {
    kern_book book;    /* levels, and the middles between neighbours as its tree */
    double distortion; /* E[(z - its level)^2] */
} lloyd;

/* The book of 1 .. LLOYD_BITS bits; of 0 bits: one level, 0, distortion 1. */
void lloyd_make(int bits, lloyd *out);

#endif
