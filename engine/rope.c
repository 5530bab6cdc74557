/* rope.c - the table of angles, computed once in double precision. */
#include "engine/rope.h"

#include <assert.h>
#include <math.h>
#include <stdlib.h>

err rope_open(rope *r, double base, size_t n, size_t positions)
{
    float *table = malloc(2 * positions * n * sizeof *table + 1);

    if (!table) return ERR_NOMEM;
    *r = (rope){n, positions, table, table + positions * n};
    for (size_t i = 0; i < n; i += 2) {
        const double turn = pow(base, -(double)i / (double)n);

        for (size_t t = 0; t < positions; t++) {
            r->cosine[t * n + i] = r->cosine[t * n + i + 1] = (float)cos((double)t * turn);
            r->sine[t * n + i + 1] = (float)sin((double)t * turn);
            r->sine[t * n + i] = -r->sine[t * n + i + 1];
        }
    }
    return ERR_OK;
}

void rope_close(rope *r)
{
    free(r->cosine);
    r->cosine = r->sine = NULL;
}

void rope_turn(const rope *r, const kern *k, float *x, size_t heads, size_t C, size_t t)
{
    assert(t < r->positions && r->n <= C);
    for (size_t h = 0; h < heads; h++)
        k->rotate(x + h * C, r->cosine + t * r->n, r->sine + t * r->n, r->n);
}
