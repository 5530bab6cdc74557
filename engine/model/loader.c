/* loader.c - tensors by name, checked and packed.
 *
 * Views, not copies: a fused or stacked tensor is packed from where it lies. Packing is the
 * larger part of loading: one matrix after the other, each row touched once. */
#include "engine/model/loader.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

const char *loader_part(loader *o, const char *part)
{
    snprintf(o->name, sizeof o->name, "blk.%zu.%s", o->layer, part);
    return o->name;
}

/* Tensors lie in one array, so a number of one is its distance from the first. */
const gguf_tensor *loader_look(const loader *o, const char *name)
{
    const gguf_tensor *t = gguf_find(o->g, name);

    if (t && o->seen) o->seen[t - gguf_tensor_at(o->g, 0)] = 1;
    return t;
}

const gguf_tensor *loader_look_part(loader *o, const char *part)
{
    return loader_look(o, loader_part(o, part));
}

err loader_find(const loader *o, const char *name, const size_t shape[3],
                const gguf_tensor **out)
{
    const gguf_tensor *t = loader_look(o, name);

    if (!t) return err_blame(o->why, ERR_MISSING, name);
    for (int i = 0; i < GGUF_MAX_DIMS; i++)
        if (t->dim[i] != (i < 3 && shape[i] ? shape[i] : 1))
            return err_blame(o->why, ERR_SHAPE, name);
    if (!matrix_knows(t->type)) return err_blame(o->why, ERR_TENSORTYPE, name);
    *out = t;
    return ERR_OK;
}

gguf_tensor loader_rows(const gguf_tensor *t, size_t first, size_t rows)
{
    const size_t row_bytes = t->bytes / (t->dim[1] * t->dim[2]);
    gguf_tensor part = *t;

    part.dim[1] = rows;
    part.dim[2] = 1;
    part.n_dims = 2;
    part.data = (const char *)t->data + first * row_bytes;
    part.bytes = rows * row_bytes;
    return part;
}

/* What is packed is counted, since `serve` says before loading what it will take
 * (model_measure) and is held to it. */
err loader_pack(loader *o, matrix *w, const gguf_tensor *t, const char *name)
{
    const err e = o->exact ? matrix_open_exact(w, t) : matrix_open(w, t);

    if (e != ERR_OK) return err_blame(o->why, e, name);
    o->m->weight_bytes += w->panels * w->panel_bytes;
    return ERR_OK;
}

err loader_weights(loader *o, const loader_weight *list, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        const char *name = loader_part(o, list[i].name);
        const gguf_tensor *t = NULL;

        TRY(loader_find(o, name, (const size_t[3]){list[i].cols, list[i].rows, 0}, &t));
        TRY(loader_pack(o, list[i].to, t, name));
    }
    return ERR_OK;
}

err loader_fused(loader *o, const char *part, const loader_weight *list, size_t n)
{
    const char *name = loader_part(o, part);
    const gguf_tensor *t = NULL;
    size_t rows = 0, first = 0;

    for (size_t i = 0; i < n; i++) rows += list[i].rows;
    TRY(loader_find(o, name, (const size_t[3]){list[0].cols, rows, 0}, &t));
    for (size_t i = 0; i < n; i++) {
        const gguf_tensor one = loader_rows(t, first, list[i].rows);

        TRY(loader_pack(o, list[i].to, &one, name));
        first += list[i].rows;
    }
    return ERR_OK;
}

/* --- vectors --- */

/* One allocation for all of them: a layer has up to twenty, of a few kilobytes. */
float *loader_take(model *m, size_t n)
{
    float *p = m->vectors + m->vector_floats;

    m->vector_floats += n;
    return p;
}

err loader_vector(loader *o, const char *name, size_t n, size_t rows, float **out)
{
    const gguf_tensor *t = NULL;
    float *v;

    TRY(loader_find(o, name, (const size_t[3]){n, rows > 1 ? rows : 0, 0}, &t));
    v = loader_take(o->m, n * rows);
    for (size_t r = 0; r < rows; r++) TRY(matrix_read_row(t, r, v + r * n));
    *out = v;
    return ERR_OK;
}

err loader_maybe(loader *o, const char *name, size_t n, size_t rows, float **out)
{
    return loader_look(o, name) ? loader_vector(o, name, n, rows, out) : ERR_OK;
}

/* What is no matrix by its name: gains and biases may have a row for each head or expert. */
bool loader_is_vector(const gguf_tensor *t)
{
    static const char bias[] = ".bias";
    const size_t n = sizeof bias - 1;

    return t->n_dims == 1 || (t->name.n > n && !memcmp(t->name.at + t->name.n - n, bias, n));
}

/* Gains of heads may be written once for all of them and stand in memory for each. */
size_t loader_count_vectors(const loader *o)
{
    const model *m = o->m;
    size_t n = 2 * m->D + m->L * (m->H * m->C + m->E);

    for (size_t i = 0; i < gguf_tensors(o->g); i++) {
        const gguf_tensor *t = gguf_tensor_at(o->g, i);

        if (loader_is_vector(t)) n += t->dim[0] * t->dim[1] * t->dim[2];
    }
    return n;
}

/* --- what nobody asked for --- */

static bool begins(gguf_text name, const char *with)
{
    return name.n >= strlen(with) && memcmp(name.at, with, strlen(with)) == 0;
}

/* Number of the layer that a tensor belongs to, or -1. */
static long layer_of(gguf_text name)
{
    char digits[16] = "";

    if (!begins(name, "blk.")) return -1;
    memcpy(digits, name.at + 4, name.n - 4 < 15 ? name.n - 4 : 15);
    return strtol(digits, NULL, 10);
}

/* Pictures and sound are read by parts of their own, which text does not touch. */
bool loader_leaves_out(const loader *o, gguf_text name)
{
    static const char *const others[] = {"v.", "a.", "mm.", "rope_factors_", "rope_freqs"};

    for (size_t i = 0; i < sizeof others / sizeof others[0]; i++)
        if (begins(name, others[i])) return true;
    return layer_of(name) >= (long)o->m->L;
}

err loader_check_seen(const loader *o)
{
    for (size_t i = 0; i < gguf_tensors(o->g); i++) {
        const gguf_text name = gguf_tensor_at(o->g, i)->name;

        if (!o->seen[i] && !loader_leaves_out(o, name))
            return err_blame_bytes(o->why, ERR_PART, name.at, name.n);
    }
    return ERR_OK;
}
