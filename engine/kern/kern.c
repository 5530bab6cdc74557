/* kern.c - who fills the table of hot loops: avx2 and neon have a twin of each.
 *
 * The choice is made once, at start, and by data: callers hold a kern and never ask for the
 * CPU. A test or a user masks flags and gets the table of a lesser machine, with the same bits.
 */
#include "engine/kern/kern.h"

#include "engine/kern/cpu.h"

#if defined(__x86_64__)
static void use_avx2(kern *k)
{
#define KERN(name, result, args) k->name = kern_##name##_avx2;
#include "engine/kern/kern.def"
#undef KERN
}

/* Where 16 lanes are no faster than 8, the loop of the rung below stays. */
static void use_avx512(kern *k)
{
    k->panel_f32 = kern_panel_f32_avx512;
    k->panel_f16 = kern_panel_f16_avx512;
    k->panel_bf16 = kern_panel_bf16_avx512;
    k->panel_q8 = kern_panel_q8_avx512;
#define QUANT(type, name, ...) k->panel_##name = kern_panel_##name##_avx512;
#include "engine/kern/quants.def"
#undef QUANT
    k->attend_float = kern_attend_float_avx512;
    k->attend_half = kern_attend_half_avx512;
    k->attend_int8 = kern_attend_int8_avx512;
    k->quantize_q8 = kern_quantize_q8_avx512;
    k->silu_mul = kern_silu_mul_avx512;
    k->gelu_mul = kern_gelu_mul_avx512;
    k->erf_mul = kern_erf_mul_avx512;
    k->clamp_mul = kern_clamp_mul_avx512;
    k->xielu = kern_xielu_avx512;
    k->soft_cap = kern_soft_cap_avx512;
    k->int8_keys = kern_int8_keys_avx512;
    k->int8_values = kern_int8_values_avx512;
    k->pack_codes = kern_pack_codes_avx512;
    k->unpack_codes = kern_unpack_codes_avx512;
    k->minmax_encode = kern_minmax_encode_avx512;
    k->minmax_decode = kern_minmax_decode_avx512;
    k->rans_decode = kern_rans_decode_avx512;
    k->rans_encode = kern_rans_encode_avx512;
    k->rans_cost = kern_rans_cost_avx512;
    k->klt_quantize = kern_klt_quantize_avx512;
    k->klt_dequantize = kern_klt_dequantize_avx512;
}
#elif defined(__aarch64__)
static void use_neon(kern *k)
{
#define KERN(name, result, args) k->name = kern_##name##_neon;
#include "engine/kern/kern.def"
#undef KERN
}
#endif

void kern_init(kern *k, unsigned flags)
{
    *k = (kern){
    /* the reference first, so that no pointer is ever empty */
#define KERN(name, result, args) .name = kern_##name##_ref,
#include "engine/kern/kern.def"
#undef KERN
    };
#if defined(__x86_64__)
    if (!(flags & CPU_AVX2)) return;
    use_avx2(k);
    if (flags & CPU_AVX512) use_avx512(k);
#elif defined(__aarch64__)
    if (flags & CPU_NEON) use_neon(k);
#else
    (void)flags; /* other machines run the definition */
#endif
}
