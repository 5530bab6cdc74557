/* loader.h - finds tensors of a file by name, holds them against their shapes, and packs them.
 * Internal to model_load and its parts.
 *
 * Every tensor that is found is marked. What is left unmarked in the end is a part of a model
 * that nobody here knows, and is refused by its name: passed over, it would give a model that
 * answers, and wrongly. */
#ifndef ENGINE_MODEL_LOADER_H
#define ENGINE_MODEL_LOADER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "engine/err.h"
#include "engine/gguf/gguf.h"
#include "engine/model/model.h"

/* What is being read into what. */
typedef struct loader {
    model *m;
    const gguf *g;
    fault *why;
    bool exact;    /* products in floats */
    uint8_t *seen; /* [gguf_tensors] found by name; NULL: nobody counts */
    size_t layer;
    char name[64]; /* of the tensor at hand */
} loader;

/* One weight matrix: where it is, where it goes, its outputs and inputs. */
typedef struct loader_weight {
    const char *name;
    matrix *to;
    size_t rows, cols;
} loader_weight;

/* The name "blk.<layer>.<part>", in o->name. */
const char *loader_part(loader *o, const char *part);

/* A tensor by its whole name; NULL: none. */
const gguf_tensor *loader_look(const loader *o, const char *name);

/* The same of a part of the layer. */
const gguf_tensor *loader_look_part(loader *o, const char *part);

/* Find a tensor and hold it against its shape: cols x rows, or a vector if rows is 0; planes of
 * them, or one. ERR_MISSING, ERR_SHAPE, ERR_TENSORTYPE. */
err loader_find(const loader *o, const char *name, const size_t shape[3],
                const gguf_tensor **out);

/* Rows first .. first+rows-1 of a tensor, all planes counted through, as one of their own. */
gguf_tensor loader_rows(const gguf_tensor *t, size_t first, size_t rows);

/* Pack t, whose name is for a fault. */
err loader_pack(loader *o, matrix *w, const gguf_tensor *t, const char *name);

/* Matrices of the layer, each a tensor; or consecutive rows of one. */
err loader_weights(loader *o, const loader_weight *list, size_t n);
err loader_fused(loader *o, const char *part, const loader_weight *list, size_t n);

/* Room for n floats among the model's vectors. */
float *loader_take(model *m, size_t n);

/* A vector of n, or n rows of one behind the other: floats among the model's. */
err loader_vector(loader *o, const char *name, size_t n, size_t rows, float **out);

/* The same where the file has it; else *out is left alone. */
err loader_maybe(loader *o, const char *name, size_t n, size_t rows, float **out);

/* Floats that vectors of the file take at most, and what is made of them. */
size_t loader_count_vectors(const loader *o);

/* Is it a gain or a bias, by its name and shape? There may be a row for each head or expert. */
bool loader_is_vector(const gguf_tensor *t);

/* Does this tensor belong to a tower for pictures or sound, or to a layer behind the last? */
bool loader_leaves_out(const loader *o, gguf_text name);

/* ERR_PART about the first tensor that nobody found and that is not left out. */
err loader_check_seen(const loader *o);

#endif
