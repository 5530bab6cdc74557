/* cpu.h - which instruction sets this machine has, asked once. */
#ifndef ENGINE_CPU_H
#define ENGINE_CPU_H

/* Rungs of the ladder in kern.c, lowest first; a higher one implies the lower. */
enum {
    CPU_AVX2 = 1,   /* with FMA and F16C */
    CPU_AVX512 = 2, /* F, BW, DQ, VL and VNNI: one rung */
};

/* The rungs that this CPU and its operating system can run, ored. */
unsigned cpu_flags(void);

/* "avx512", "avx2", "c": the highest rung in flags. */
const char *cpu_name(unsigned flags);

#endif
