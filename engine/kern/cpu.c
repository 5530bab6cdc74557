/* cpu.c - CPU detection: by the compiler's own (it checks the operating system too) on x86-64,
 * by what the kernel says on arm64. A rung is whole or absent: a CPU with AVX-512F but without
 * VNNI (Skylake-X) runs AVX2, since half a rung would be a third kind of machine to test. */
#include "engine/kern/cpu.h"

#if defined(__aarch64__)
#include <sys/auxv.h>
#endif

unsigned cpu_flags(void)
{
    unsigned flags = 0;

#if defined(__x86_64__)
    __builtin_cpu_init();
    if (!__builtin_cpu_supports("avx2") || !__builtin_cpu_supports("fma")) return flags;
    flags |= CPU_AVX2; /* every CPU with AVX2 has F16C */
    if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
        __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl") &&
        __builtin_cpu_supports("avx512vnni"))
        flags |= CPU_AVX512;
#elif defined(__aarch64__)
    if (getauxval(AT_HWCAP) & HWCAP_ASIMDDP) flags |= CPU_NEON;
#endif
    return flags;
}

const char *cpu_name(unsigned flags)
{
    if (flags & CPU_AVX512) return "avx512";
    if (flags & CPU_AVX2) return "avx2";
    return (flags & CPU_NEON) ? "neon" : "c";
}
