/* rope.c - the table of angles, computed once in double precision: near position 100,000 a
 * float angle is off by up to 1/256 radian. Each value stands twice, with the sign that its
 * place needs, so that a kernel rotates by one product and one fma, without a shuffle of the
 * table. */
#include "engine/model/rope.h"

#include <assert.h>
#include <math.h>
#include <stdlib.h>

static const double circle = 6.283185307179586;

/* The pair, as a real number, that turns `turns` times in the original positions. */
static double pair_that_turns(const rope_rule *r, double turns)
{
    return (double)r->n * log(r->original / (turns * circle)) / (2 * log(r->base));
}

/* How much of its own angle pair i keeps under YaRN: 1 below the fast border, 0 above the slow
 * one. */
static double kept(const rope_rule *r, size_t i)
{
    const double fast = pair_that_turns(r, r->fast), slow = pair_that_turns(r, r->slow);
    const double low = fmax(0, r->smooth ? fast : floor(fast));
    const double high = fmin((double)r->n - 1, r->smooth ? slow : ceil(slow));
    const double way = ((double)i - low) / fmax(0.001, high - low);

    return 1 - fmin(1, fmax(0, way));
}

/* What pair i turns from one position to the next. */
static double turn_of(const rope_rule *r, size_t i)
{
    const double plain = pow(r->base, -2.0 * (double)i / (double)r->n) /
                         (r->factors ? (double)r->factors[i] : 1);
    const double mix = r->blend != 0 ? r->blend * kept(r, i) : 0;

    return plain * r->scale * (1 - mix) + plain * mix;
}

/* What YaRN makes cosine and sine larger by. */
static double growth(const rope_rule *r)
{
    const double stretch = 0.1 * log(1 / r->scale);

    return r->blend != 0 ? (1 + stretch) / (1 + r->all * stretch) : 1;
}

err rope_open(rope *r, const rope_rule *rule, size_t positions)
{
    const size_t n = rule->n, step = rule->halves ? n / 2 : 1;
    const double size = rule->size * growth(rule);
    float *table = malloc(2 * positions * n * sizeof *table + 1);

    if (!table) return ERR_NOMEM;
    *r = (rope){n, positions, rule->halves, table, table + positions * n};
    for (size_t i = 0; i < n / 2; i++) {
        const double turn = turn_of(rule, i);

        for (size_t t = 0; t < positions; t++) {
            const size_t a = t * n + (rule->halves ? i : 2 * i), b = a + step;

            r->cosine[a] = r->cosine[b] = (float)(cos((double)t * turn) * size);
            r->sine[b] = (float)(sin((double)t * turn) * size);
            r->sine[a] = -r->sine[b];
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
    const float *cosine = r->cosine + t * r->n, *sine = r->sine + t * r->n;

    assert(t < r->positions && r->n <= C);
    if (!r->n) return; /* a layer without rotary positions */
    for (size_t h = 0; h < heads; h++) {
        if (r->halves)
            k->rotate_halves(x + h * C, cosine, sine, r->n);
        else
            k->rotate(x + h * C, cosine, sine, r->n);
    }
}
