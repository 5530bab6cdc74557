/* rate.c - curves of bytes over steps, read in both directions.
 *
 *   bytes
 *     |*                    of a layer, or of all layers from one on
 *     |   *
 *     |      *   *          what it took -> where on the curve it would be expected to
 *     '------------- octave what is left -> where it would just fit
 *
 * The curves are of text that the plan did not learn from, coded at one step in all layers, so
 * what a coarser layer costs those above it, whose prediction gets worse, is in them. */
#include "xcache/codec/rate.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "xcache/codec/rans.h"

enum { OCTAVE = 16, MOST_STEER = 3 * OCTAVE };

/* How much of a block counts for knowing nothing: its first layers, which see words and not yet
 * what they mean, vary more than all of them together. */
static const double prior_share = 0.3;

/* Bytes of a layer besides what its symbols cost: M, the weights, and the coder's own. */
static double layer_overhead(size_t B)
{
    return 1 + (double)B / 2 + RANS_OVERHEAD;
}

double rate_wanted_bits(size_t E, size_t L, size_t B, double ratio)
{
    const double bytes = (double)plan_code_bytes(E, L, B, ratio) -
                         (double)(L * sizeof(uint32_t)) - (double)(L - 1) * layer_overhead(B);

    return bytes * 8 / (double)B;
}

/* --- curves: y falls while x rises --- */

/* y at `at`; beyond the ends the last piece goes on, but not below 0. */
static double read_curve(const float *x, const float *y, size_t n, double at)
{
    size_t i = 0;
    double share;

    while (i + 2 < n && at > (double)x[i + 1]) i++;
    share = (at - (double)x[i]) / ((double)x[i + 1] - (double)x[i]);
    return fmax(0, (double)y[i] + share * ((double)y[i + 1] - (double)y[i]));
}

/* x where the curve has `wanted`; where it is flat, the end of that piece. */
static double solve_curve(const float *x, const float *y, size_t n, double wanted)
{
    size_t i = 0;
    double fall;

    while (i + 2 < n && wanted < (double)y[i + 1]) i++;
    fall = (double)y[i] - (double)y[i + 1];
    if (!(fall > 0)) return (double)x[i + 1];
    return (double)x[i] + ((double)y[i] - wanted) / fall * ((double)x[i + 1] - (double)x[i]);
}

/* --- steps --- */

/* log2 of the step at which all layers take the wanted bits. */
static double find_step(const plan_rates *r, const plan_about *a, double wanted)
{
    float sum[PLAN_MAX_STEPS];

    for (size_t s = 0; s < a->steps; s++) {
        double bits = 0;

        for (size_t l = 0; l < a->L; l++) bits += (double)r->bits[s * a->L + l];
        sum[s] = (float)bits;
    }
    /* not beyond what was tried: steering does the rest */
    wanted = fmin(fmax(wanted, (double)sum[a->steps - 1]), (double)sum[0]);
    return solve_curve(r->step, sum, a->steps, wanted);
}

double rate_step(const plan *p, size_t block_tokens, double ratio)
{
    const plan_about a = plan_read_about(p);
    const plan_rates r = plan_read_rates(p);

    if (!plan_code_bytes(a.E, a.L, block_tokens, ratio)) return 0;
    return exp2(find_step(&r, &a, rate_wanted_bits(a.E, a.L, block_tokens, ratio)));
}

static void fill(rate *out, const plan *p)
{
    const plan_rates r = plan_read_rates(p);
    const double B = (double)out->block_tokens, overhead = layer_overhead(out->block_tokens);
    const size_t S = out->steps, L = out->L;

    for (size_t s = 0; s < S; s++) {
        double rest = 0;

        out->octave[s] = (float)((double)r.step[s] - log2(out->step));
        for (size_t l = L; l-- > 1;) {
            const double bytes = (double)r.bits[s * L + l] * B / 8 + overhead;

            rest += bytes;
            out->layer[l * S + s] = (float)bytes;
            out->rest[l * S + s] = (float)rest;
        }
    }
}

err rate_open(rate *out, const plan *p, size_t block_tokens, double ratio)
{
    const plan_about a = plan_read_about(p);
    rate r = {.L = a.L, .block_tokens = block_tokens, .steps = a.steps};

    r.code_bytes = plan_code_bytes(a.E, a.L, block_tokens, ratio);
    /* a byte a layer says that nothing is coded: less than that is no block */
    if (r.code_bytes < a.L * (sizeof(uint32_t) + 1)) return ERR_PLANMODEL;
    r.step = rate_step(p, block_tokens, ratio);
    r.octave = calloc(a.steps * (1 + 2 * a.L), sizeof *r.octave);
    if (!r.octave) return ERR_NOMEM;
    r.layer = r.octave + a.steps;
    r.rest = r.layer + a.steps * a.L;
    fill(&r, p);
    *out = r;
    return ERR_OK;
}

void rate_close(rate *r)
{
    free(r->octave);
    *r = (rate){0};
}

/* --- steering --- */

void rate_note(const rate *r, rate_block *b, size_t l, int m, size_t bytes)
{
    const float *curve = r->layer + l * r->steps;
    const double at = -(double)m / OCTAVE;
    const double expected = read_curve(r->octave, curve, r->steps, at);

    b->octaves += expected * (solve_curve(r->octave, curve, r->steps, (double)bytes) - at);
    b->weight += expected;
}

int rate_steer(const rate *r, const rate_block *b, size_t l, size_t left)
{
    const float *curve = r->rest + l * r->steps;
    const double prior = prior_share * read_curve(r->octave, r->rest + r->steps, r->steps, 0);
    const double offset = b->weight + prior > 0 ? b->octaves / (b->weight + prior) : 0;
    const double at = solve_curve(r->octave, curve, r->steps, (double)left) - offset;
    const double m = nearbyint(-at * OCTAVE);

    return m > MOST_STEER ? MOST_STEER : m < -MOST_STEER ? -MOST_STEER : (int)m;
}
