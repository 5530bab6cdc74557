/* cpu.h - which instruction sets this machine has, asked once. */
#ifndef ENGINE_KERN_CPU_H
#define ENGINE_KERN_CPU_H

/* Rungs of the ladders in kern.c, lowest first: on x86-64, where the higher implies the lower,
 * and on arm64. */
enum {
    CPU_AVX2 = 1,   /* with FMA and F16C */
    CPU_AVX512 = 2, /* F, BW, DQ, VL and VNNI: one rung */
    CPU_NEON = 4,   /* with the dot product; CPUs without it run the plain C */
};

/* The rungs that this CPU and its operating system can run, ored. */
unsigned cpu_flags(void);

/* "avx512", "avx2", "neon", "c": the highest rung in flags. */
const char *cpu_name(unsigned flags);

#endif
