/* kern_trellis_lanes.h - kern_trellis.c in vectors of KERN_LANES tokens, for the twins to
 * include.
 *
 * A twin says first what a vector is: `real` and `whole`, KERN_LANES floats and int32s, and
 * `mask`, what a comparison makes. Then by what it computes:
 *   r_set r_load r_store r_add r_sub r_mul r_min r_max r_abs r_floor   real from real
 *   r_sign(m, s)    the size of m >= 0, with the sign bit of s;  r_turn(x, w): x with its sign
 *                   bit turned where w is odd
 *   r_less, r_pick  a mask; what of two it picks;  r_number: 0 for what is not a number
 *   w_set w_and w_or w_xor w_add w_double w_equal w_pick;  w_lower(w, by): shifted right
 *   w_of r_of       rounding towards 0, and back;  w_load w_store: 16-bit numbers
 *   w_class w_table, by class;  r_gather, and r_by_class of KERN_CLASSES floats
 * Each is one instruction or two; all are exact or rounded once, so lanes do what the
 * definition does, bit for bit. */
#ifndef ENGINE_KERN_KERN_TRELLIS_LANES_H
#define ENGINE_KERN_KERN_TRELLIS_LANES_H

#ifdef KERN_LANES /* included by a twin */

typedef struct lane_price {
    real base, slope, half; /* half: of the slope */
} lane_price;

INLINE lane_price lanes_price(const kern_prices *p, whole class)
{
    const real slope = r_by_class(p->slope, class);

    return (lane_price){r_by_class(p->base, class), slope, r_mul(slope, r_set(0.5f))};
}

INLINE real lanes_in_steps(const float *u, real inverse)
{
    const real z = r_number(r_mul(r_load(u), inverse));

    return r_max(r_min(z, r_set(KERN_KLT_MOST)), r_set(-KERN_KLT_MOST));
}

/* choose() of the definition before zero is considered: *even is the index, less 1 if odd. */
INLINE real lanes_nearest(real z, lane_price p, real round, real shift, real *even)
{
    const real less = r_max(r_sub(r_abs(z), p.half), r_set(0));
    const real near = r_mul(r_sign(less, z), r_set(0.5f));
    real v, e;

    *even = r_mul(r_floor(r_add(near, round)), r_set(2));
    v = r_add(*even, shift);
    e = r_sub(z, v);
    return r_add(r_mul(e, e), r_add(r_mul(r_abs(v), p.slope), p.base));
}

INLINE real lanes_cost_odd(real z, lane_price p)
{
    real even;

    return lanes_nearest(z, p, r_set(0.125f), r_set(1 - KERN_TRELLIS_SHIFT), &even);
}

INLINE real lanes_cost_even(real z, lane_price p)
{
    real even;
    const real cost = lanes_nearest(z, p, r_set(0.625f), r_set(-KERN_TRELLIS_SHIFT), &even);
    const real zero = r_mul(z, z);

    return r_pick(w_equal(w_of(even), w_set(0)), zero, r_min(cost, zero));
}

/* The index of parity `odd`, 0 or 1. */
INLINE whole lanes_choose(real z, lane_price p, whole odd)
{
    const mask is_even = w_equal(odd, w_set(0));
    real even;
    const real round = r_pick(is_even, r_set(0.625f), r_set(0.125f));
    const real shift = r_pick(is_even, r_set(-KERN_TRELLIS_SHIFT),
                              r_set(1 - KERN_TRELLIS_SHIFT));
    const real cost = lanes_nearest(z, p, round, shift, &even);
    const whole q = w_of(even);

    return w_pick(is_even, w_pick(r_less(cost, r_mul(z, z)), q, w_set(0)), w_add(q, w_set(1)));
}

/* The cheaper of two ways into a state, whose bit in *bits says that it was the odd one. */
INLINE real lanes_enter(real even, real odd, int state, whole *bits)
{
    *bits = w_pick(r_less(odd, even), w_or(*bits, w_set(1 << state)), *bits);
    return r_min(odd, even);
}

/* kern_trellis_before, state by state. */
INLINE whole lanes_advance(real *c, real z, lane_price p)
{
    const real turned = r_turn(z, w_set(1));
    real a0 = lanes_cost_even(z, p), a1 = lanes_cost_odd(z, p), after[KERN_STATES];
    real b0 = lanes_cost_even(turned, p), b1 = lanes_cost_odd(turned, p);
    const real least = r_min(a0, a1);
    whole bits = w_set(0);

    a0 = r_sub(a0, least), a1 = r_sub(a1, least);
    b0 = r_sub(b0, least), b1 = r_sub(b1, least);
    after[0] = lanes_enter(r_add(c[0], a0), r_add(c[4], a1), 0, &bits);
    after[1] = lanes_enter(r_add(c[2], a0), r_add(c[6], a1), 1, &bits);
    after[2] = lanes_enter(r_add(c[4], a0), r_add(c[0], a1), 2, &bits);
    after[3] = lanes_enter(r_add(c[6], a0), r_add(c[2], a1), 3, &bits);
    after[4] = lanes_enter(r_add(c[5], b0), r_add(c[3], b1), 4, &bits);
    after[5] = lanes_enter(r_add(c[1], b0), r_add(c[7], b1), 5, &bits);
    after[6] = lanes_enter(r_add(c[3], b0), r_add(c[5], b1), 6, &bits);
    after[7] = lanes_enter(r_add(c[7], b0), r_add(c[1], b1), 7, &bits);
    for (int s = 0; s < KERN_STATES; s++) c[s] = after[s];
    return bits;
}

INLINE whole lanes_cheapest(const real *c)
{
    whole state = w_set(0);
    real best = c[0];

    for (int s = 1; s < KERN_STATES; s++) {
        state = w_pick(r_less(c[s], best), w_set(s), state);
        best = r_min(c[s], best);
    }
    return state;
}

INLINE whole lanes_before(whole state, whole odd)
{
    const whole before = w_and(
        w_lower(w_set(KERN_TRELLIS_BEFORE), w_add(state, w_add(state, state))), w_set(7));
    const whole high = w_and(w_lower(state, w_set(1)), w_set(2));

    return w_xor(before, w_pick(w_equal(odd, w_set(0)), w_set(0), w_or(high, w_set(4))));
}

INLINE void lanes_quantize(const kern_classes *c, const float *u, const float *inverse,
                           const kern_prices *prices, int16_t *q, size_t t)
{
    const real by = r_load(inverse + t);
    real costs[KERN_STATES] = {r_set(0)};
    whole state;

    for (int s = 1; s < KERN_STATES; s++) costs[s] = r_set(KERN_TRELLIS_BEYOND);
    for (size_t i = 0; i < c->n; i++) {
        const lane_price p = lanes_price(prices, w_class(c->row[i], c->column + t));
        const real z = lanes_in_steps(u + i * c->B + t, by);

        w_store(q + i * c->B + t, lanes_advance(costs, z, p));
    }
    state = lanes_cheapest(costs);
    for (size_t i = c->n; i-- > 0;) {
        const lane_price p = lanes_price(prices, w_class(c->row[i], c->column + t));
        const real z = lanes_in_steps(u + i * c->B + t, by);
        const whole bits = w_load(q + i * c->B + t);
        const whole odd = w_and(w_lower(bits, state), w_set(1));

        state = lanes_before(state, odd);
        w_store(q + i * c->B + t, lanes_choose(r_turn(z, state), p, odd));
    }
}

INLINE void lanes_dequantize(const kern_classes *c, const int16_t *q, const float *bias,
                             const float *step, float *out, size_t t)
{
    const real by = r_load(step + t);
    whole state = w_set(0);

    for (size_t i = 0; i < c->n; i++) {
        const whole v = w_load(q + i * c->B + t);
        const real off = r_gather(bias, w_table(w_class(c->row[i], c->column + t)));
        const real shift = r_sign(r_set(KERN_TRELLIS_SHIFT), r_of(v));
        const real size = r_mul(r_sub(r_sub(r_abs(r_of(v)), shift), off), by);
        const real x = r_turn(r_turn(size, state), w_lower(v, w_set(31)));

        r_store(out + i * c->B + t, r_pick(w_equal(v, w_set(0)), r_set(0), x));
        state = w_and(w_lower(w_set(KERN_TRELLIS_NEXT), w_add(state, w_add(state, state))),
                      w_set(7));
        state = w_xor(state, w_double(w_and(v, w_set(1))));
    }
}

#endif
#endif
