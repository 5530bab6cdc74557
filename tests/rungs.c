/* rungs.c - the ladders of engine/kern/cpu.h, filtered by what the CPU has. */
#include "tests/rungs.h"

#include "engine/kern/cpu.h"

bool rungs_init(size_t i, kern *k)
{
    static const unsigned ladder[] = {CPU_AVX2, CPU_AVX512, CPU_NEON};
    const unsigned have = cpu_flags();
    unsigned flags = 0;

    /* A rung is asked for together with those below it: kern_init climbs, and a higher twin is
     * not there for every loop. */
    for (size_t at = 0; i && at < sizeof ladder / sizeof ladder[0]; at++) {
        if (!(have & ladder[at])) continue;
        flags |= ladder[at];
        i--;
    }
    kern_init(k, flags);
    return i == 0;
}
