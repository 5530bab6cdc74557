/* kern_trellis.c - what trellis-coded quantization means: the cheapest path of each token, and
 * the values along any path.
 *
 * The path is Viterbi's: of all that lead into a state only the cheapest is kept, and one bit
 * says whether its last index was odd. The 8 bits of a component lie where its index will,
 * until the walk back from the cheapest last state finds out which ones count:
 *
 *   q [n,B]   bits 0 | bits 1 | ... | bits n-1     costs [8] of the states after component i
 *             <----------------------- indices     the walk back
 */
#include "engine/kern/kern_trellis.h"

#include <math.h>

typedef struct price {
    float base, slope;
} price;

/* The best index of one parity for z in an even state. A value costs more the larger it is, so
 * the nearest to what is somewhat smaller is the best. */
static int choose(float z, price p, int odd, float *cost)
{
    const float less = fabsf(z) - p.slope * 0.5f, near = copysignf(less > 0 ? less : 0, z);
    const float even = floorf(near * 0.5f + (odd ? 0.125f : 0.625f)) * 2;
    const float v = even + (odd ? 1 - KERN_TRELLIS_SHIFT : -KERN_TRELLIS_SHIFT), e = z - v;

    *cost = e * e + (fabsf(v) * p.slope + p.base);
    if (odd) return (int)even + 1;
    if (even != 0 && *cost < z * z) return (int)even;
    *cost = z * z;
    return 0;
}

/* u in steps; what is not a number is 0. */
static float in_steps(float u, float inverse)
{
    const float z = u * inverse;

    if (z != z) return 0;
    return z > KERN_KLT_MOST ? KERN_KLT_MOST : z < -KERN_KLT_MOST ? -KERN_KLT_MOST : z;
}

static price price_of(const kern_classes *c, const kern_prices *prices, size_t i, size_t t)
{
    const int class = kern_class(c->row[i], c->column[t]);

    return (price){prices->base[class], prices->slope[class]};
}

/* One component further. Returns which states were entered by an odd index. */
static int advance(float *costs, float z, price p)
{
    float branch[2][2], after[KERN_STATES], least;
    int bits = 0;

    for (int odd = 0; odd < 2; odd++) {
        (void)choose(z, p, odd, &branch[0][odd]);
        (void)choose(-z, p, odd, &branch[1][odd]);
    }
    /* only differences count, and those of small numbers are exact */
    least = branch[0][0] < branch[0][1] ? branch[0][0] : branch[0][1];
    for (int s = 0; s < KERN_STATES; s++) {
        const int a = kern_trellis_before(s, 0), b = kern_trellis_before(s, 1);
        const float even = costs[a] + (branch[a & 1][0] - least);
        const float odd = costs[b] + (branch[b & 1][1] - least);

        after[s] = odd < even ? odd : even;
        bits |= (odd < even) << s;
    }
    for (int s = 0; s < KERN_STATES; s++) costs[s] = after[s];
    return bits;
}

/* The cheapest state, the lowest of equals. */
static int cheapest(const float *costs)
{
    int best = 0;

    for (int s = 1; s < KERN_STATES; s++)
        if (costs[s] < costs[best]) best = s;
    return best;
}

static void find_path(const kern_classes *c, const kern_prices *prices, const float *u,
                      float inverse, size_t t, int16_t *q)
{
    float costs[KERN_STATES] = {0}, cost;
    int state;

    for (int s = 1; s < KERN_STATES; s++) costs[s] = KERN_TRELLIS_BEYOND;
    for (size_t i = 0; i < c->n; i++)
        q[i * c->B] = (int16_t)advance(costs, in_steps(u[i * c->B], inverse),
                                       price_of(c, prices, i, t));
    state = cheapest(costs);
    for (size_t i = c->n; i-- > 0;) {
        const int odd = q[i * c->B] >> state & 1;
        const float z = in_steps(u[i * c->B], inverse);

        state = kern_trellis_before(state, odd);
        q[i * c->B] = (int16_t)choose(state & 1 ? -z : z, price_of(c, prices, i, t), odd,
                                      &cost);
    }
}

void kern_klt_quantize_ref(const kern_classes *c, const float *u, const float *inverse,
                           const kern_prices *prices, int16_t *q)
{
    for (size_t t = 0; t < c->B; t++) find_path(c, prices, u + t, inverse[t], t, q + t);
}

void kern_klt_dequantize_ref(const kern_classes *c, const int16_t *q, const float *bias,
                             const float *step, float *out)
{
    for (size_t t = 0; t < c->B; t++)
        for (size_t i = 0, state = 0; i < c->n; i++) {
            const int v = q[i * c->B + t];
            const int table = kern_class_table(kern_class(c->row[i], c->column[t]));
            const float size = (kern_trellis_size(v) - bias[table]) * step[t];

            /* two signs: of the index, and of an odd state's mirror */
            out[i * c->B + t] = v ? ((v < 0) != (state & 1) ? -size : size) : 0.0f;
            state = (size_t)kern_trellis_next((int)state, v);
        }
}
