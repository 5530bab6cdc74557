/* kern_neon_panels.c - float weights times rows for NEON: a panel of 16 outputs is 4 registers.
 *
 * Registers (32 of 4 lanes): 4 rows x 4 quads = 16 sums, 4 weights, widened once for all rows.
 * x is the scalar operand of vfmaq_n. Each output of each row has a sum of its own, k
 * ascending, so how many rows share the registers shows in no bit. */
#if defined(__aarch64__)

#include "engine/kern/kern_neon.h"

#include "engine/kern/kern.h"

INLINE void panel_rows(const kern_panel *p, size_t t, int rows, enum number kind)
{
    const float *x = p->x + t * p->D;
    float32x4_t a[4][4];

    for (int r = 0; r < rows; r++)
        for (int i = 0; i < 4; i++) a[r][i] = vdupq_n_f32(0.0f);
    for (size_t k = 0; k < p->D; k++) {
        float32x4_t w[4];

        load16(p->w, k * KERN_PANEL, kind, w);
        for (int r = 0; r < rows; r++)
            for (int i = 0; i < 4; i++)
                a[r][i] = vfmaq_n_f32(a[r][i], w[i], x[(size_t)r * p->D + k]);
    }
    for (int r = 0; r < rows; r++)
        for (int i = 0; i < 4; i++)
            vst1q_f32(p->y + (t + (size_t)r) * p->y_stride + 4 * i, a[r][i]);
}

INLINE void panel_float(const kern_panel *p, enum number kind)
{
    size_t t = 0;

    for (; t + 4 <= p->T; t += 4) panel_rows(p, t, 4, kind);
    for (; t < p->T; t++) panel_rows(p, t, 1, kind);
}

void kern_panel_f32_neon(const kern_panel *p)
{
    panel_float(p, FLOAT);
}

void kern_panel_f16_neon(const kern_panel *p)
{
    panel_float(p, HALF);
}

void kern_panel_bf16_neon(const kern_panel *p)
{
    panel_float(p, BFLOAT);
}

#else
typedef int kern_neon_panels_is_for_arm64;
#endif
