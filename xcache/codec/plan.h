/* plan.h - the .xplan file of the klt modes: what calibration found out about one model, for
 * every ratio.
 *
 *   header    128 bytes: struct plan_header of plan.c, little-endian
 *   counts    u32 [L]: components stored in each layer, 0 for layer 0
 *   measured  plan_measured [m]: how far from exact some ratios are, ratios ascending
 *   plain     plan_plain [p]: the same of modes that need no plan (none in older files)
 *   rates     float log2 of a step [s], ascending; float [s,L] bits a token at that step
 *   tables    u16 [TABLES,SYMBOLS] frequencies of the entropy coder; float [TABLES] biases
 *   layers    1 .. L-1: float c [D], diagonal [D], salience [D+1], floor, sigma [n]; scales of
 *             form, down, up, Q; halves of form [2E,C]; shares of down, up, Q; their int8
 *   Each part is padded to 64 bytes.
 *
 * A matrix is rows of int8, each with a float scale, of which each group of 32 columns has a
 * share. The predictor is P = I + diagonal + down (full: down [D,D]), I + diagonal + down then
 * up (rank: both [N,D], up transposed), or I (none). Q is a basis of
 * components, kept transposed, [n,D]; what leads to components and back follows from it, the
 * model's weights, form and floor (whiten.h). The form is block diagonal, [C,C] a head.
 *
 * A ratio chooses the step, and the step how many components count: sigma falls. The checksum,
 * XXH3-64, covers all that follows it; the model is known by the XXH3-128 of its tensors' data
 * in the file's order, so that metadata may change. A plan is mapped and checked whole when it
 * is opened: sizes, counts, sums of frequencies, and that every number is finite. */
#ifndef XCACHE_CODEC_PLAN_H
#define XCACHE_CODEC_PLAN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "engine/err.h"
#include "engine/gguf/gguf.h"
#include "engine/kern/kern.h"
#include "xcache/codec/plan_types.h"

/* The identity of a model's weights. Reads the whole file. ERR_NOMEM. */
err plan_hash_model(const gguf *g, plan_hash *out);

/* Default predictor of a model of a's D, L, E and C and so large a file: full up to a width of
 * 512 and wherever the plan has 15 % of the file at most; else rank 5 D / 18, rounded up to a
 * multiple of 32. */
plan_predictor plan_default_predictor(const plan_about *a, uint64_t model_bytes);

/* Bytes of the codes of a block of B tokens at klt<R>, such that the block fills whole 64-byte
 * lines with its ids: 32 E L / R bits a token. 0: none are left. */
size_t plan_code_bytes(size_t E, size_t L, size_t B, double ratio);

/* Map and check a file; g: the model it must be for. The caller closes. `why` names the part.
 * Errors: OPEN, READ, TRUNCATED, PLAN, OLDPLAN, PLANMODEL, NOMEM. */
err plan_open(plan **out, const char *path, const gguf *g, fault *why);
/* The same over memory that outlives *out, aligned to 8 bytes (ERR_ALIGN); any model. */
err plan_open_memory(plan **out, const void *data, size_t n, fault *why);
void plan_close(plan *p);

plan_about plan_read_about(const plan *p);
plan_layer plan_read_layer(const plan *p, size_t l); /* 1 .. L-1; owned by p */
plan_tables plan_read_tables(const plan *p);
plan_rates plan_read_rates(const plan *p);
const plan_measured *plan_read_measured(const plan *p); /* [about.measured] */
const plan_plain *plan_read_plain(const plan *p);       /* [about.plain] */
size_t plan_bytes(const plan *p);

/* Row i of all that was measured, ratios of klt first, and its mode; NULL past the last. */
const plan_measured *plan_measured_at(const plan *p, size_t i, char mode[16]);

/* Divergence at a ratio, the largest of the texts: that of the first measured ratio which is
 * not smaller. < 0: not known. */
double plan_kl(const plan *p, double ratio);

/* The same of a mode that needs no plan. */
double plan_plain_kl(const plan *p, const char *mode);

/* The largest measured ratio whose divergence is at most max_kl. 0: there is none. */
double plan_best_ratio(const plan *p, double max_kl);

/* The densest mode of all that was measured whose divergence is at most max_kl: "klt12",
 * "kivi4". False: there is none, and mode is as it was. */
bool plan_best_mode(const plan *p, double max_kl, char mode[16]);

/* --- making one --- */

/* Bytes of a layer with n components, and its parts in such bytes (aligned to 8). */
size_t plan_layer_bytes(const plan_about *a, size_t n);
plan_layer plan_lay_out(void *bytes, const plan_about *a, size_t n);

/* Rows of doubles into a matrix, and a matrix's rows as floats: both [rows,D]; of a form both
 * [2E,C]. */
void plan_pack(size_t D, const double *rows, const plan_matrix *out);
void plan_unpack(size_t D, const plan_matrix *m, float *rows);
void plan_pack_form(size_t C, const double *rows, const plan_form *out);
void plan_unpack_form(const kern *k, size_t C, const plan_form *f, float *rows);

/* A plan in memory of its own; its measured ratios are 0 and unknown. ERR_NOMEM, ERR_PLAN. */
err plan_make(plan **out, const plan_parts *parts);

/* Record what was measured: about.measured ratios ascending, and about.plain modes; only of a
 * plan made by plan_make. */
void plan_record(plan *p, const plan_measured *list, const plan_plain *plain, size_t tokens);

/* Write p as `path`: under a temporary name beside it, to the disk, then renamed, so that no
 * reader ever sees half a plan. ERR_SYSTEM: errno says why; no file is left. */
err plan_write(const plan *p, const char *path);

/* Could a plan be written there, as far as that can be told without one? Leaves no file.
 * ERR_SYSTEM: errno says why not. */
err plan_try_path(const char *path);

#endif
