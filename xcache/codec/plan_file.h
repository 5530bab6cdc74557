/* plan_file.h - what plan.c and plan_make.c share: the header as it lies in the file, and where
 * the parts behind it begin. Internal to them. */
#ifndef XCACHE_CODEC_PLAN_FILE_H
#define XCACHE_CODEC_PLAN_FILE_H

#include "engine/err.h"
#include "xcache/codec/plan_types.h"

enum { PLAN_VERSION = 3, PLAN_LINE = 64 };

typedef struct plan_header {
    char magic[4]; /* "XPLN" */
    uint32_t version;
    uint64_t checksum; /* of every byte after it */
    uint64_t file_bytes;
    plan_hash model;
    uint32_t layers, width, kv_width, head_width; /* L, D, E, C */
    uint32_t predictor, rank;
    uint32_t steps, measured, kl_tokens, plain;
    uint32_t zero[12];
} plan_header;

_Static_assert(sizeof(plan_header) == 128, "the header has no padding");
enum { PLAN_SUMMED_FROM = offsetof(plan_header, file_bytes) };

struct plan {
    const uint8_t *bytes;
    size_t n;
    plan_header header;
    plan_layer *layers; /* [L] */
    void *mapped;       /* what to unmap, or... */
    uint8_t *owned;     /* ...to free; both NULL: borrowed */
};

/* Offsets of the parts, in their order. */
typedef struct plan_places {
    size_t counts, measured, plain, rates, tables, layers;
} plan_places;

plan_places plan_find_places(const plan_about *a);

/* Check what was measured: that ratios ascend, names end, and every number is finite. */
err plan_check_measured(const plan *p, fault *why);

/* Check every byte of p->bytes, and lay its layers out. */
err plan_check(plan *p, fault *why);

static inline size_t plan_to_lines(size_t n)
{
    return (n + PLAN_LINE - 1) / PLAN_LINE * PLAN_LINE;
}

#endif
