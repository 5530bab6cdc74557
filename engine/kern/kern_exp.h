/* kern_exp.h - exp, one value: the polynomial that every twin evaluates lane by lane; and what
 * is made of it.
 *
 * x = n ln 2 + r, |r| <= ln 2 / 2; exp r by a polynomial of degree 7 (S. Moshier, Cephes
 * expf); 2^n through the exponent bits. Within 2 ulp; 0 below -87.33 and for NaN; clamped
 * above 88, where float ends. */
#ifndef ENGINE_KERN_KERN_EXP_H
#define ENGINE_KERN_KERN_EXP_H

#include <math.h>
#include <stdint.h>
#include <string.h>

#define KERN_EXP_MIN    -87.33f
#define KERN_EXP_MAX    88.0f
#define KERN_EXP_LOG2E  1.44269504088896341f
#define KERN_EXP_LN2_HI 0.693359375f
#define KERN_EXP_LN2_LO -2.12194440e-4f
#define KERN_EXP_C0     1.9875691500e-4f
#define KERN_EXP_C1     1.3981999507e-3f
#define KERN_EXP_C2     8.3334519073e-3f
#define KERN_EXP_C3     4.1665795894e-2f
#define KERN_EXP_C4     1.6666665459e-1f
#define KERN_EXP_C5     5.0000001201e-1f

static inline float kern_exp_one(float x)
{
    float n, r, p, scale;
    uint32_t bits;

    if (!(x >= KERN_EXP_MIN)) return 0.0f;
    if (x > KERN_EXP_MAX) x = KERN_EXP_MAX;
    n = rintf(x * KERN_EXP_LOG2E);
    r = fmaf(n, -KERN_EXP_LN2_HI, x);
    r = fmaf(n, -KERN_EXP_LN2_LO, r);
    p = fmaf(KERN_EXP_C0, r, KERN_EXP_C1);
    p = fmaf(p, r, KERN_EXP_C2);
    p = fmaf(p, r, KERN_EXP_C3);
    p = fmaf(p, r, KERN_EXP_C4);
    p = fmaf(p, r, KERN_EXP_C5);
    p = fmaf(p, r * r, r) + 1.0f;
    bits = (uint32_t)((int32_t)n + 127) << 23;
    memcpy(&scale, &bits, sizeof scale);
    return p * scale;
}

/* cap * tanh(x / cap), as cap - 2 cap / (exp(2 x / cap) + 1): `twice` is 2 / cap. */
static inline float kern_cap_one(float x, float cap, float twice)
{
    return cap - 2.0f * cap / (kern_exp_one(x * twice) + 1.0f);
}

/* -2 sqrt(2 / pi), and that times 0.044715: the exponent of GELU's tanh form is
 * x (LINE + CUBE x^2). */
#define KERN_GELU_LINE -1.5957691216057308f
#define KERN_GELU_CUBE -0.0713548162726009f

/* Half of 1 - erf(|x| / sqrt 2), without its exponential, as powers of t. */
#define KERN_ERF_P  0.231641888f
#define KERN_ERF_A1 0.127414796f
#define KERN_ERF_A2 -0.142248368f
#define KERN_ERF_A3 0.7107068705f
#define KERN_ERF_A4 -0.7265760135f
#define KERN_ERF_A5 0.5307027145f

/* x times the share of a normal distribution below x. */
static inline float kern_erf_gate(float x)
{
    const float t = 1.0f / fmaf(KERN_ERF_P, fabsf(x), 1.0f);
    float p = fmaf(KERN_ERF_A5, t, KERN_ERF_A4), above;

    p = fmaf(p, t, KERN_ERF_A3);
    p = fmaf(p, t, KERN_ERF_A2);
    p = fmaf(p, t, KERN_ERF_A1);
    above = x * (p * t * kern_exp_one(x * x * -0.5f));
    return x < 0.0f ? above : x - above;
}

#endif
