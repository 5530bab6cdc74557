/* kern.c - who fills the table of hot loops. */
#include "engine/kern.h"

#include "engine/cpu.h"

#if defined(__x86_64__)
static void use_avx2(kern *k)
{
    k->panel_f32 = kern_panel_f32_avx2;
    k->panel_f16 = kern_panel_f16_avx2;
    k->panel_bf16 = kern_panel_bf16_avx2;
    k->panel_q8 = kern_panel_q8_avx2;
#define QUANT(type, name, ...) k->panel_##name = kern_panel_##name##_avx2;
#include "engine/quants.def"
#undef QUANT
    k->quantize_q8 = kern_quantize_q8_avx2;
    k->rms_norm = kern_rms_norm_avx2;
    k->rotate = kern_rotate_avx2;
    k->rotate_halves = kern_rotate_halves_avx2;
    k->silu_mul = kern_silu_mul_avx2;
    k->gelu_mul = kern_gelu_mul_avx2;
    k->soft_cap = kern_soft_cap_avx2;
    k->mix = kern_mix_avx2;
    k->attend_float = kern_attend_float_avx2;
    k->attend_half = kern_attend_half_avx2;
    k->attend_int8 = kern_attend_int8_avx2;
    k->transpose = kern_transpose_avx2;
    k->half_to_float = kern_half_to_float_avx2;
    k->float_to_half = kern_float_to_half_avx2;
    k->int8_keys = kern_int8_keys_avx2;
    k->int8_values = kern_int8_values_avx2;
    k->pack_codes = kern_pack_codes_avx2;
    k->unpack_codes = kern_unpack_codes_avx2;
    k->minmax_encode = kern_minmax_encode_avx2;
    k->minmax_decode = kern_minmax_decode_avx2;
    k->add_squares = kern_add_squares_avx2;
    k->lloyd_encode = kern_lloyd_encode_avx2;
    k->lloyd_decode = kern_lloyd_decode_avx2;
}

static void use_avx512(kern *k)
{
    k->panel_f32 = kern_panel_f32_avx512;
    k->panel_f16 = kern_panel_f16_avx512;
    k->panel_bf16 = kern_panel_bf16_avx512;
    k->panel_q8 = kern_panel_q8_avx512;
#define QUANT(type, name, ...) k->panel_##name = kern_panel_##name##_avx512;
#include "engine/quants.def"
#undef QUANT
    k->attend_float = kern_attend_float_avx512;
    k->attend_half = kern_attend_half_avx512;
    k->attend_int8 = kern_attend_int8_avx512;
    k->quantize_q8 = kern_quantize_q8_avx512;
    k->silu_mul = kern_silu_mul_avx512;
    k->gelu_mul = kern_gelu_mul_avx512;
    k->soft_cap = kern_soft_cap_avx512;
    k->int8_keys = kern_int8_keys_avx512;
    k->int8_values = kern_int8_values_avx512;
    k->pack_codes = kern_pack_codes_avx512;
    k->unpack_codes = kern_unpack_codes_avx512;
    k->minmax_encode = kern_minmax_encode_avx512;
    k->minmax_decode = kern_minmax_decode_avx512;
    k->add_squares = kern_add_squares_avx512;
    k->lloyd_encode = kern_lloyd_encode_avx512;
    k->lloyd_decode = kern_lloyd_decode_avx512;
}
#elif defined(__aarch64__)
static void use_neon(kern *k)
{
    k->panel_f32 = kern_panel_f32_neon;
    k->panel_f16 = kern_panel_f16_neon;
    k->panel_bf16 = kern_panel_bf16_neon;
    k->panel_q8 = kern_panel_q8_neon;
#define QUANT(type, name, ...) k->panel_##name = kern_panel_##name##_neon;
#include "engine/quants.def"
#undef QUANT
    k->quantize_q8 = kern_quantize_q8_neon;
    k->rms_norm = kern_rms_norm_neon;
    k->rotate = kern_rotate_neon;
    k->rotate_halves = kern_rotate_halves_neon;
    k->silu_mul = kern_silu_mul_neon;
    k->gelu_mul = kern_gelu_mul_neon;
    k->soft_cap = kern_soft_cap_neon;
    k->mix = kern_mix_neon;
    k->attend_float = kern_attend_float_neon;
    k->attend_half = kern_attend_half_neon;
    k->attend_int8 = kern_attend_int8_neon;
    k->transpose = kern_transpose_neon;
    k->half_to_float = kern_half_to_float_neon;
    k->float_to_half = kern_float_to_half_neon;
    k->int8_keys = kern_int8_keys_neon;
    k->int8_values = kern_int8_values_neon;
    k->pack_codes = kern_pack_codes_neon;
    k->unpack_codes = kern_unpack_codes_neon;
    k->minmax_encode = kern_minmax_encode_neon;
    k->minmax_decode = kern_minmax_decode_neon;
    k->add_squares = kern_add_squares_neon;
    k->lloyd_encode = kern_lloyd_encode_neon;
    k->lloyd_decode = kern_lloyd_decode_neon;
}
#endif

void kern_init(kern *k, unsigned flags)
{
    *k = (kern){
    /* the reference first, so that no pointer is ever empty */
#define KERN(name, result, args) .name = kern_##name##_ref,
#include "engine/kern.def"
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
