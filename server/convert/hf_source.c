/* hf_source.c - tensors of a folder, and their companions.
 *
 *   x.weight                     floats, or E4M3
 *   x.weight_scale_inv, _scale   what E4M3 is multiplied by: one number, one a row, one a block
 *   x.activation_scale, .input_scale     of activations in eight bits: not needed here
 *   x_blocks, x_scales           MXFP4 in place of x: always row by row */
#include "server/convert/hf_source.h"

#include <stdio.h>
#include <string.h>

static bool refuse_shape(const safetensor *t, const uint64_t *dim, int n, fault *why)
{
    char is[128] = "", wanted[128] = "";

    for (int i = 0; i < t->n_dims && i < 4; i++)
        snprintf(is + strlen(is), sizeof is - strlen(is), "%s%llu", i ? ", " : "",
                 (unsigned long long)t->dim[i]);
    for (int i = 0; i < n; i++)
        snprintf(wanted + strlen(wanted), sizeof wanted - strlen(wanted), "%s%llu",
                 i ? ", " : "", (unsigned long long)dim[i]);
    return fault_refuse(why, ERR_JSON, NULL, "tensor %s: its shape is [%s], not [%s]", t->name,
                        is, wanted);
}

static bool has_shape(const safetensor *t, const uint64_t *dim, int n)
{
    for (int i = 0; i < n; i++)
        if (t->n_dims != n || t->dim[i] != dim[i]) return false;
    return true;
}

static bool read_type(const safetensor *t, hf_number *out)
{
    static const struct {
        const char *name;
        hf_number type;
    } types[] = {{"F32", HF_F32}, {"F16", HF_F16}, {"BF16", HF_BF16}, {"F8_E4M3", HF_E4M3}};

    for (size_t i = 0; i < sizeof types / sizeof types[0]; i++) {
        *out = types[i].type;
        if (strcmp(types[i].name, t->dtype) == 0) return true;
    }
    return false;
}

/* A companion of the tensor called name: with `to` in place of what it ends with, "weight". */
static const safetensor *take_beside(const hf_folder *f, const char *name, const char *to)
{
    const size_t n = strlen(name), m = strlen("weight");
    char other[320];

    if (n < m || strcmp(name + n - m, "weight") != 0) return NULL;
    snprintf(other, sizeof other, "%.*s%s", (int)(n - m), name, to);
    return hf_folder_take(f, other);
}

/* --- E4M3 --- */

/* One for all, one a row, or one a block: which of them the shape of the scales says. */
static bool place_scales(hf_source *s, const hf_quant *q, fault *why)
{
    const uint64_t rows = s->t->dim[0], cols = s->t->dim[1];
    const uint64_t down = (rows + q->block[0] - 1) / q->block[0];
    const uint64_t blocks[2] = {down, (cols + q->block[1] - 1) / q->block[1]};
    const safetensor *t = s->scale;
    uint64_t all = 1;

    for (int i = 0; i < t->n_dims; i++) all *= t->dim[i];
    s->scale_cols = 1;
    s->block[0] = (size_t)rows;
    s->block[1] = (size_t)cols;
    if (all == 1) return true;
    if (has_shape(t, blocks, 2)) {
        s->block[0] = q->block[0];
        s->block[1] = q->block[1];
        s->scale_cols = (size_t)blocks[1];
        return true;
    }
    s->block[0] = 1;
    return all == rows ? t->dim[0] == rows || refuse_shape(t, blocks, 2, why)
                       : refuse_shape(t, blocks, 2, why);
}

static bool find_scales(hf_source *s, const hf_folder *f, const hf_quant *q, const char *name,
                        fault *why)
{
    s->scale = take_beside(f, name, "weight_scale_inv");
    if (!s->scale) s->scale = take_beside(f, name, "weight_scale");
    (void)take_beside(f, name, "activation_scale");
    (void)take_beside(f, name, "input_scale");
    if (!s->scale)
        return fault_refuse(why, ERR_JSON, NULL, "tensor %s: its scales are missing",
                            s->t->name);
    if (s->t->n_dims != 2)
        return fault_refuse(why, ERR_JSON, NULL, "tensor %s: %s of %d dimensions is not read",
                            s->t->name, s->t->dtype, s->t->n_dims);
    if (!read_type(s->scale, &s->scale_type) || s->scale_type == HF_E4M3)
        return fault_refuse(why, ERR_JSON, NULL, "tensor %s: scales of %s are not supported",
                            s->scale->name, s->scale->dtype);
    return place_scales(s, q, why);
}

/* --- MXFP4 --- */

static bool find_blocks(hf_source *s, const hf_folder *f, const char *name,
                        const hf_shape *shape, fault *why)
{
    const int a = shape->turned ? 2 : 1, b = shape->turned ? 1 : 2; /* rows; columns */
    const uint64_t dim[4] = {shape->dim[0], shape->dim[a], shape->dim[b] / 32, 16};
    char other[320];

    snprintf(other, sizeof other, "%s_blocks", name);
    s->t = shape->n == 3 ? hf_folder_take(f, other) : NULL;
    if (!s->t) return true;
    snprintf(other, sizeof other, "%s_scales", name);
    s->scale = hf_folder_take(f, other);
    s->type = HF_MXFP4;
    if (!s->scale) return fault_refuse(why, ERR_JSON, NULL, "tensor %s is missing", other);
    if (strcmp(s->t->dtype, "U8") != 0 || strcmp(s->scale->dtype, "U8") != 0)
        return fault_refuse(why, ERR_JSON, NULL, "tensor %s: %s is not supported (U8 is)",
                            s->t->name, s->t->dtype);
    if (!has_shape(s->t, dim, 4) || shape->dim[b] % 32) return refuse_shape(s->t, dim, 4, why);
    return has_shape(s->scale, dim, 3) || refuse_shape(s->scale, dim, 3, why);
}

bool hf_source_find(hf_source *out, const hf_folder *f, const hf_quant *q, const char *name,
                    const hf_shape *shape, bool *found, fault *why)
{
    hf_source s = {.t = hf_folder_take(f, name)};

    *found = true;
    if (!s.t) {
        if (q->kind == HF_QUANT_MXFP4 && !find_blocks(&s, f, name, shape, why)) return false;
        *found = s.t != NULL;
        *out = s;
        return true;
    }
    if (!has_shape(s.t, shape->dim, shape->n))
        return refuse_shape(s.t, shape->dim, shape->n, why);
    if (!read_type(s.t, &s.type) || (s.type == HF_E4M3 && q->kind != HF_QUANT_FP8))
        return fault_refuse(why, ERR_JSON, NULL,
                            "tensor %s: %s is not supported (F32, F16, BF16 are)", s.t->name,
                            s.t->dtype);
    if (s.type == HF_E4M3 && !find_scales(&s, f, q, name, why)) return false;
    *out = s;
    return true;
}

bool hf_source_number(const hf_folder *f, const char *name, float *out, bool *found, fault *why)
{
    hf_source s = {.t = hf_folder_take(f, name)};
    const hf_rows one = {
        .source = &s, .sources = 1, .planes = 1, .rows = 1, .cols = 1, .all = 1, .step = 1};

    *found = s.t != NULL;
    if (!s.t) return true;
    if (!read_type(s.t, &s.type) || s.type == HF_E4M3)
        return fault_refuse(why, ERR_JSON, NULL, "tensor %s: %s is not supported", name,
                            s.t->dtype);
    if (s.t->n_dims > 1 || (s.t->n_dims == 1 && s.t->dim[0] != 1))
        return refuse_shape(s.t, (const uint64_t[]){1}, 1, why);
    hf_rows_read(&one, 0, out);
    return true;
}
