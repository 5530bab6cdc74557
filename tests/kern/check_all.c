/* check_all.c - a test for every line of kern.def, on every rung this CPU has. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/kern/check.h"
#include "tests/rungs.h"
#include "tests/test.h"

uint32_t check_random(uint32_t *state)
{
    *state = *state * 1664525u + 1013904223u;
    return *state ^ *state >> 15;
}

void check_normals(float *x, size_t n, uint32_t seed)
{
    for (size_t i = 0; i < n; i++)
        x[i] = ((float)(check_random(&seed) >> 8) * 0x1p-23f - 1.0f) * 2.0f;
}

void check_floats(float *x, size_t n, uint32_t seed)
{
    static const float scale[] = {1, 1e-3f, 1e3f, 1e-9f, 0, -0.0f, 1e6f, 1};

    check_normals(x, n, seed);
    for (size_t i = 0; i < n; i++) x[i] *= scale[check_random(&seed) % 8];
}

void check_bytes(void *x, size_t n, uint32_t seed)
{
    for (size_t i = 0; i < n; i++) ((uint8_t *)x)[i] = (uint8_t)(check_random(&seed) >> 11);
}

bool check_same(const char *what, const void *a, const void *b, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        if (((const uint8_t *)a)[i] == ((const uint8_t *)b)[i]) continue;
        fprintf(stderr, "%s: byte %zu of %zu differs\n", what, i, n);
        return false;
    }
    return true;
}

void *check_memory(size_t n)
{
    void *p = aligned_alloc(64, (n + 127) / 64 * 64);

    if (!p) abort();
    memset(p, 0xa5, (n + 127) / 64 * 64);
    return p;
}

/* The first rung holds the definition to itself, which shows that the check can pass. */
static bool on_every_rung(bool (*check)(const kern *k))
{
    kern k;

    for (size_t i = 0; rungs_init(i, &k); i++)
        if (!check(&k)) return false;
    return true;
}

#define KERN(name, result, args)              \
    TEST(kern_##name##_equals_its_definition) \
    {                                         \
        CHECK(on_every_rung(check_##name));   \
    }
#include "engine/kern/kern.def"
#undef KERN
