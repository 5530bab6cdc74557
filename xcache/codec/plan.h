/* plan.h - the .xplan file of a klt mode: what calibration found out about one model.
 *
 *   header   128 bytes: struct plan_header of plan.c, little-endian
 *   counts   u32 [L]: components stored in each layer, 0 for layer 0; padded to 64 bytes
 *   layers   1 .. L-1, each padded to 64 bytes:
 *            float c [D]; float scales of down, up, F, B; halves of down, up, F, B; u8 bits [n]
 *
 * A matrix is rows of D halves, each row with a float scale. The predictor is P = I + down
 * (full: down [D,D]), I + down then up (rank: both [N,D], up transposed), or I (none). F is
 * [n,D], B is kept transposed, [n,D] too. The checksum, XXH3-64, covers all that follows it;
 * the model is known by the XXH3-128 of its tensors' data in the file's order, so that
 * metadata may change. A plan is mapped and checked whole when it is opened: sizes, counts,
 * and that every number is finite. */
#ifndef XCACHE_CODEC_PLAN_H
#define XCACHE_CODEC_PLAN_H

#include <stddef.h>
#include <stdint.h>

#include "engine/err.h"
#include "engine/gguf/gguf.h"
#include "engine/kern/kern.h"

enum { PLAN_RATIO_MIN = 4, PLAN_RATIO_MAX = 64, PLAN_MAX_BITS = 8 };

typedef enum plan_kind { PLAN_NONE, PLAN_FULL, PLAN_RANK, PLAN_KINDS } plan_kind;

typedef struct plan_predictor {
    plan_kind kind;
    size_t rank; /* N of PLAN_RANK, else 0 */
} plan_predictor;

typedef struct plan_hash {
    uint8_t bytes[16];
} plan_hash;

/* What a plan says about itself. */
typedef struct plan_about {
    plan_hash model;
    size_t D, L, E;
    double ratio; /* R of klt<R> */
    plan_predictor predictor;
    size_t code_bits; /* a token, all layers */
    double kl;        /* on a held-out part of the text, exact window; < 0: not measured */
    size_t kl_tokens;
} plan_about;

typedef struct plan_matrix {
    size_t rows; /* [rows,D] */
    float *scale;
    uint16_t *half;
} plan_matrix;

/* One layer's bytes. Of an open plan they are read-only. */
typedef struct plan_layer {
    size_t n;      /* components stored */
    uint8_t *bits; /* [n] 1 .. 8 */
    float *c;      /* [D] */
    plan_matrix down, up, f, b;
} plan_layer;

typedef struct plan plan;

/* The identity of a model's weights. Reads the whole file. ERR_NOMEM. */
err plan_hash_model(const gguf *g, plan_hash *out);

/* Default predictor of a model of width D: full up to 512, else rank D/6, rounded up to a
 * multiple of 32. */
plan_predictor plan_default_predictor(size_t D);

/* Most code bits a token that klt<R> may spend, in steps that fill whole 64-byte lines of a
 * block with the ids and one half a layer: 32 E L / R - 16 (L-1) - 32. 0: none are left. */
size_t plan_budget(size_t E, size_t L, double ratio);

/* Map and check a file; g: the model it must be for. The caller closes. `why` names the part.
 * Errors: OPEN, READ, TRUNCATED, PLAN, PLANMODEL, NOMEM. */
err plan_open(plan **out, const char *path, const gguf *g, fault *why);
/* The same over memory that outlives *out, aligned to 8 bytes (ERR_ALIGN); any model. */
err plan_open_memory(plan **out, const void *data, size_t n, fault *why);
void plan_close(plan *p);

plan_about plan_read_about(const plan *p);
plan_layer plan_read_layer(const plan *p, size_t l); /* 1 .. L-1; owned by p */
size_t plan_bytes(const plan *p);

/* --- making one --- */

/* Bytes of a layer with n components, and its parts in such bytes (aligned to 8). */
size_t plan_layer_bytes(size_t D, plan_predictor r, size_t n);
plan_layer plan_lay_out(void *bytes, size_t D, plan_predictor r, size_t n);

/* Rows of doubles into a matrix, and a matrix's rows as floats: both [rows,D]. */
void plan_pack(size_t D, const double *rows, const plan_matrix *out);
void plan_unpack(const kern *k, size_t D, const plan_matrix *m, float *rows);

/* A plan in memory of its own, from layers 1 .. L-1: layers[l] is n[l] components laid out.
 * ERR_NOMEM. */
err plan_make(plan **out, const plan_about *about, const size_t *n, void *const *layers);

/* Record the divergence that was measured; only of a plan made by plan_make. */
void plan_set_kl(plan *p, double kl, size_t tokens);

/* Write p as `path`: under a temporary name beside it, to the disk, then renamed, so that no
 * reader ever sees half a plan. ERR_SYSTEM: errno says why; no file is left. */
err plan_write(const plan *p, const char *path);

/* Could a plan be written there, as far as that can be told without one? Leaves no file.
 * ERR_SYSTEM: errno says why not. */
err plan_try_path(const char *path);

#endif
