/* hf_keys.c - numbers of config.json as keys of a model file.
 *
 * Most go over as they are, by the rows of hf_keys.def; sizes, rotary positions and experts as
 * hf_config.c and hf_experts.c have read them. */
#include "server/convert/hf_keys.h"

#include <stdio.h>
#include <string.h>

enum { MUST = -1, OMIT = -2 }; /* what absence means */

typedef enum key_kind { COUNT, REAL } key_kind; /* what it is in the file: u32, f32 */

typedef struct key_row {
    key_kind kind;
    const char *name, *key;
    unsigned archs;
    double otherwise;
} key_row;

static const key_row keys[] = {
#define HF_KEY(kind, name, key, archs, otherwise) {kind, #name, key, archs, otherwise},
#include "server/convert/hf_keys.def"
#undef HF_KEY
};

/* The number of a row; *present false where there is none and need not be. */
static bool read_key(const key_row *k, const hf_folder *f, double *value, bool *present,
                     fault *why)
{
    int64_t count = 0;

    *present = json_get(f->config, k->name) || k->otherwise >= 0;
    *value = k->otherwise;
    if (!*present && k->otherwise == MUST)
        return fault_refuse(why, ERR_JSON, NULL, "%s is missing", k->name);
    if (!json_get(f->config, k->name)) return true;
    if (k->kind == REAL) return json_get_number(f->config, k->name, 0, 1e12, value, why);
    if (!json_get_int(f->config, k->name, 0, INT32_MAX, &count, why)) return false;
    *value = (double)count;
    return true;
}

/* All of them before anything is written, so that hf_keys_write cannot fail. */
bool hf_keys_check(const hf_config *c, const hf_folder *f, fault *why)
{
    double value;
    bool present;

    for (size_t i = 0; i < sizeof keys / sizeof keys[0]; i++)
        if ((keys[i].archs & c->bit) && !read_key(&keys[i], f, &value, &present, why))
            return hf_folder_blame(why, "config.json");
    return true;
}

static const char *name_key(const hf_config *c, const char *key, char out[128])
{
    snprintf(out, 128, "%s.%s", c->arch, key);
    return out;
}

static void write_count(const hf_config *c, gguf_writer *w, const char *key, size_t value)
{
    char name[128];

    gguf_write_u32(w, name_key(c, key, name), (uint32_t)value);
}

static void write_real(const hf_config *c, gguf_writer *w, const char *key, double value)
{
    char name[128];

    gguf_write_f32(w, name_key(c, key, name), (float)value);
}

static void write_rope(const hf_config *c, gguf_writer *w)
{
    const hf_rope *r = &c->rope;
    char name[128];

    write_count(c, w, "rope.dimension_count", 2 * r->pairs);
    write_real(c, w, "rope.freq_base", r->base);
    if (r->local_base > 0) write_real(c, w, "rope.freq_base_swa", r->local_base);
    if (r->scaling) {
        gguf_write_text(w, name_key(c, "rope.scaling.type", name), r->scaling,
                        strlen(r->scaling));
        write_real(c, w, "rope.scaling.factor", r->factor);
    }
    if (r->original_context)
        write_count(c, w, "rope.scaling.original_context_length", r->original_context);
    if (r->attn_factor > 0) write_real(c, w, "rope.scaling.attn_factor", r->attn_factor);
    if (r->fast > 0) write_real(c, w, "rope.scaling.yarn_beta_fast", r->fast);
    if (r->slow > 0) write_real(c, w, "rope.scaling.yarn_beta_slow", r->slow);
    if (r->all > 0) write_real(c, w, "rope.scaling.yarn_log_multiplier", r->all);
    if (r->temper > 0) write_real(c, w, "attention.temperature_scale", r->temper);
}

void hf_keys_write(const hf_config *c, const hf_folder *f, gguf_writer *w)
{
    fault none = {0};
    double value = 0;
    bool present = false;

    gguf_write_text(w, "general.architecture", c->arch, strlen(c->arch));
    for (size_t i = 0; i < sizeof keys / sizeof keys[0]; i++) {
        const key_row *k = &keys[i];

        if (!(k->archs & c->bit)) continue;
        (void)read_key(k, f, &value, &present, &none); /* hf_keys_check has checked it */
        if (present && k->kind == COUNT) write_count(c, w, k->key, (size_t)value);
        if (present && k->kind == REAL) write_real(c, w, k->key, value);
    }
    write_count(c, w, "attention.head_count", c->H);
    write_count(c, w, "attention.head_count_kv", c->G);
    write_count(c, w, "attention.key_length", c->C);
    write_count(c, w, "attention.value_length", c->C);
    write_count(c, w, "vocab_size", c->V);
    write_rope(c, w);
    hf_experts_write(&c->experts, c->bit, c->arch, w);
}
