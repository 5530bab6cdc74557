/* check_panels.c - panels of weights times rows: all types, row counts and widths. */
#include <stdlib.h>
#include <string.h>

#include "engine/kern/kern_quants.h"
#include "tests/kern/check.h"

typedef void panel_call(const kern_panel *p);

enum { MAX_T = 29, STRIDE = 40 };

/* Run one call into fresh memory of T rows and some more. */
static float *run(panel_call *call, kern_panel p)
{
    float *y = check_memory((MAX_T + 2) * STRIDE * sizeof *y);

    p.y = y;
    p.y_stride = STRIDE;
    call(&p);
    return y;
}

static bool same_panel(const char *what, panel_call *ref, panel_call *twin, const kern_panel *p)
{
    float *a = run(ref, *p), *b = run(twin, *p);
    const bool same = check_same(what, a, b, (MAX_T + 2) * STRIDE * sizeof *a);

    free(a);
    free(b);
    return same;
}

static bool check_float_panel(const char *what, panel_call *ref, panel_call *twin,
                              size_t element, bool halves)
{
    static const size_t widths[] = {1, 7, 32, 384, 1000};
    bool same = true;

    for (size_t i = 0; same && i < sizeof widths / sizeof widths[0]; i++) {
        const size_t D = widths[i], n = D * KERN_PANEL;
        float *x = check_memory(MAX_T * D * sizeof *x), *w = check_memory(n * sizeof *w);
        uint16_t *narrow = check_memory(n * sizeof *narrow);

        check_floats(x, MAX_T * D, (uint32_t)D);
        check_normals(w, n, (uint32_t)D + 1);
        for (size_t j = 0; j < n; j++) {
            uint32_t bits;

            memcpy(&bits, &w[j], 4);
            narrow[j] = halves ? kern_half(w[j]) : (uint16_t)(bits >> 16);
        }
        for (size_t T = 1; same && T <= MAX_T; T++)
            same = same_panel(
                what, ref, twin,
                &(kern_panel){
                    .w = element == 4 ? (void *)w : (void *)narrow, .x = x, .T = T, .D = D});
        free(x);
        free(w);
        free(narrow);
    }
    return same;
}

bool check_panel_f32(const kern *k)
{
    return check_float_panel("panel_f32", kern_panel_f32_ref, k->panel_f32, 4, false);
}

bool check_panel_f16(const kern *k)
{
    return check_float_panel("panel_f16", kern_panel_f16_ref, k->panel_f16, 2, true);
}

bool check_panel_bf16(const kern *k)
{
    return check_float_panel("panel_bf16", kern_panel_bf16_ref, k->panel_bf16, 2, false);
}

static void add_codes(const int8_t *q, size_t groups, kern_sums *sum)
{
    memset(sum, 0, groups * sizeof *sum);
    for (size_t i = 0; i < groups * KERN_GROUP; i++) {
        int16_t *half = &sum[i / KERN_GROUP].half[i % KERN_GROUP / 16];

        *half = (int16_t)(*half + q[i]);
    }
}

/* extreme: all weights and codes at the ends of their range, where sums could saturate. */
static bool check_q8(const kern *k, size_t D, bool extreme)
{
    const size_t groups = D / KERN_GROUP, scales = (groups * 32 + 63) / 64 * 64;
    const size_t bytes = scales + groups * 512;
    uint8_t *w = check_memory(2 * bytes), *second = w + bytes;
    int8_t *q = check_memory(MAX_T * D);
    float *scale = check_memory(MAX_T * groups * sizeof *scale);
    kern_sums *sum = check_memory(MAX_T * groups * sizeof *sum);
    bool same = true;

    check_bytes(w, 2 * bytes, (uint32_t)D);
    check_bytes(q, MAX_T * D, (uint32_t)D + 1);
    check_normals(scale, MAX_T * groups, (uint32_t)D + 2);
    for (size_t i = 0; i < groups * 16; i++) {
        ((uint16_t *)(void *)w)[i] = kern_half(0.01f * (float)(i % 7 + 1));
        ((uint16_t *)(void *)second)[i] = kern_half(0.01f * (float)(i % 5 + 1));
    }
    if (extreme) {
        memset(w + scales, 0xff, groups * 512);
        memset(second + scales, 0, groups * 512);
        memset(q, -127, MAX_T * D);
    }
    add_codes(q, MAX_T * groups, sum);
    for (size_t T = 1; same && T <= MAX_T; T++)
        for (int pair = 0; same && pair < 2; pair++)
            same = same_panel("panel_q8", kern_panel_q8_ref, k->panel_q8,
                              &(kern_panel){.w = w,
                                            .second = pair ? second : NULL,
                                            .q = q,
                                            .q_scale = scale,
                                            .q_sum = sum,
                                            .T = T,
                                            .D = D});
    free(w);
    free(q);
    free(scale);
    free(sum);
    return same;
}

bool check_panel_q8(const kern *k)
{
    return check_q8(k, 32, false) && check_q8(k, 384, false) && check_q8(k, 1024, false) &&
           check_q8(k, 96, true);
}

/* Any bytes are codes and integer scales; only the halves must be numbers. */
static void fill_panel(uint8_t *w, kern_form f, size_t D, bool extreme)
{
    const size_t blocks = D / (size_t)(KERN_GROUP * f.groups);

    check_bytes(w, kern_panel_bytes(f, D), (uint32_t)D + 3);
    if (extreme) memset(w, f.scales == 2 && !f.minimum ? 0x80 : 0xff, kern_panel_bytes(f, D));
    for (size_t b = 0; b < blocks; b++)
        for (size_t i = 0; i < kern_halves_bytes(f) / 2; i++) {
            const uint16_t half = kern_half(0.01f * (float)((i + b) % 7) - 0.02f);

            memcpy(w + b * kern_head_bytes(f) + i * 2, &half, 2);
        }
}

/* Sums of 8 bits of scale are as large as int32 and floats must hold; the codes of x reach
 * -127 and 127 as quantize_q8 makes them. */
static bool check_quant(const char *what, panel_call *ref, panel_call *twin, kern_form f,
                        size_t D, bool extreme)
{
    const size_t groups = D / KERN_GROUP;
    uint8_t *w = check_memory(kern_panel_bytes(f, D));
    int8_t *q = check_memory(MAX_T * D);
    float *scale = check_memory(MAX_T * groups * sizeof *scale);
    kern_sums *sum = check_memory(MAX_T * groups * sizeof *sum);
    bool same = true;

    fill_panel(w, f, D, extreme);
    check_bytes(q, MAX_T * D, (uint32_t)D + 1);
    for (size_t i = 0; i < MAX_T * D; i++)
        if (extreme || q[i] == -128) q[i] = i / D % 2 ? 127 : -127;
    check_normals(scale, MAX_T * groups, (uint32_t)D + 2);
    add_codes(q, MAX_T * groups, sum);
    for (size_t T = 1; same && T <= MAX_T; T++)
        same = same_panel(
            what, ref, twin,
            &(kern_panel){.w = w, .q = q, .q_scale = scale, .q_sum = sum, .T = T, .D = D});
    free(w);
    free(q);
    free(scale);
    free(sum);
    return same;
}

#define QUANT(type, name, bits, groups, scales, zero, minimum, levels)                  \
    bool check_panel_##name(const kern *k)                                              \
    {                                                                                   \
        const kern_form f = {bits, groups, scales, zero, minimum, levels};              \
        const size_t block = (size_t)(KERN_GROUP * (groups));                           \
        panel_call *const ref = kern_panel_##name##_ref, *const twin = k->panel_##name; \
                                                                                        \
        return check_quant("panel_" #name, ref, twin, f, block, false) &&               \
               check_quant("panel_" #name, ref, twin, f, 3 * block, false) &&           \
               check_quant("panel_" #name, ref, twin, f, 1024, false) &&                \
               check_quant("panel_" #name, ref, twin, f, 2 * block, true);              \
    }
#include "engine/kern/quants.def"
#undef QUANT
