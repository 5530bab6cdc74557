/* hf_sampling.c - sampling that is the default where a request is silent.
 *
 * Only what the file says goes over: transformers' own defaults, as the best 50 tokens, are its
 * library's and not the model's. A file that says not to sample at all means the best token. A
 * penalty of repetition is for all tokens before, there. */
#include "server/convert/hf_sampling.h"

static const struct {
    const char *name, *key;
    bool whole;
    double least, most;
} rows[] = {{"temperature", "general.sampling.temp", false, 0, 2},
            {"top_k", "general.sampling.top_k", true, 0, 1 << 30},
            {"top_p", "general.sampling.top_p", false, 0, 1},
            {"min_p", "general.sampling.min_p", false, 0, 1},
            {"repetition_penalty", "general.sampling.penalty_repeat", false, 0.01, 100}};
enum { ROWS = sizeof rows / sizeof rows[0] };

/* False: there is none, or it is not what it must be. */
static bool read_number(const hf_folder *f, size_t i, double *out, fault *why)
{
    double value = -1;

    if (!json_get_number(f->generation, rows[i].name, rows[i].least, rows[i].most, &value, why))
        return false;
    *out = value;
    return value >= 0;
}

static bool is_greedy(const hf_folder *f)
{
    return cJSON_IsFalse(json_get(f->generation, "do_sample"));
}

bool hf_sampling_check(const hf_folder *f, fault *why)
{
    double value;

    for (size_t i = 0; i < ROWS; i++)
        if (json_get(f->generation, rows[i].name) && !read_number(f, i, &value, why))
            return hf_folder_blame(why, "generation_config.json");
    return true;
}

void hf_sampling_write(const hf_folder *f, gguf_writer *w)
{
    const bool greedy = is_greedy(f);
    fault none = {0};
    double value;

    if (greedy) gguf_write_f32(w, rows[0].key, 0);
    for (size_t i = greedy ? ROWS - 1 : 0; i < ROWS; i++) {
        if (!read_number(f, i, &value, &none)) continue;
        if (rows[i].whole)
            gguf_write_i32(w, rows[i].key, (int32_t)value);
        else
            gguf_write_f32(w, rows[i].key, (float)value);
        if (i == ROWS - 1) gguf_write_i32(w, "general.sampling.penalty_last_n", -1);
    }
}
