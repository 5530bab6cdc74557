/* hf_bends.c - xIELU, arXiv:2411.13010: two numbers that are trained in each layer, and two
 * constants that not every folder has. They go over as they were trained; loaders bend them. */
#include "server/convert/hf_bends.h"

#include <stdio.h>

#include "server/convert/hf_source.h"

static const struct {
    const char *name, *key;
    bool must;
    float otherwise;
} bends[] = {{"alpha_p", "xielu.alpha_p", true, 0},
             {"alpha_n", "xielu.alpha_n", true, 0},
             {"beta", "xielu.beta", false, 0.5f},
             {"eps", "xielu.eps", false, -1e-6f}};
enum { BENDS = sizeof bends / sizeof bends[0] };

static bool read_bend(const hf_folder *f, size_t l, size_t i, float *out, fault *why)
{
    char name[128];
    bool found = false;

    *out = bends[i].otherwise;
    snprintf(name, sizeof name, "model.layers.%zu.mlp.act_fn.%s", l, bends[i].name);
    if (!hf_source_number(f, name, out, &found, why)) return false;
    return found || !bends[i].must ||
           fault_refuse(why, ERR_JSON, NULL, "tensor %s is missing", name);
}

bool hf_bends_check(const hf_folder *f, const hf_config *c, fault *why)
{
    float number;

    for (size_t l = 0; c->bit & HF_APERTUS && l < c->L; l++)
        for (size_t i = 0; i < BENDS; i++)
            if (!read_bend(f, l, i, &number, why)) return false;
    return true;
}

void hf_bends_write(const hf_folder *f, const hf_config *c, gguf_writer *w)
{
    fault none = {0};

    for (size_t i = 0; c->bit & HF_APERTUS && i < BENDS; i++) {
        gguf_write_array(w, bends[i].key, GGUF_TYPE_FLOAT32, c->L);
        for (size_t l = 0; l < c->L; l++) {
            float number = 0;

            (void)read_bend(f, l, i, &number, &none); /* hf_bends_check has read it */
            gguf_write_element(w, &number, sizeof number);
        }
    }
}
