/* cpu.c - CPU detection, by the compiler's own (it checks the operating system too). */
#include "engine/cpu.h"

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
#endif
    return flags;
}

const char *cpu_name(unsigned flags)
{
    if (flags & CPU_AVX512) return "avx512";
    return (flags & CPU_AVX2) ? "avx2" : "c";
}
