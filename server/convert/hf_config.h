/* hf_config.h - config.json: which architecture it is, its sizes, and the keys they become.
 *
 * What would change the numbers and has no key in the file (an unknown kind of rotary
 * scaling, another activation) is refused by name. */
#ifndef SERVER_CONVERT_HF_CONFIG_H
#define SERVER_CONVERT_HF_CONFIG_H

#include "server/convert/hf_archs.h"
#include "server/convert/hf_experts.h"
#include "server/convert/hf_folder.h"

enum { HF_ROPE_MAX = 512 /* pairs that a head rotates */ };

/* How positions are rotated. */
typedef struct hf_rope {
    double base, local_base; /* local: of sliding layers; 0: the same */
    size_t pairs;
    const char *scaling; /* "linear", "yarn", or NULL */
    double factor;
    uint32_t original_context;                     /* 0: no key */
    double attn_factor;                            /* 0: no key */
    double fast, slow, all, temper;                /* of YaRN; 0: no key */
    float freqs[HF_ROPE_MAX];                      /* llama3's divisors, where has_freqs */
    float longs[HF_ROPE_MAX], shorts[HF_ROPE_MAX]; /* phi3's, where has_longs */
    bool has_freqs, has_longs;
} hf_rope;

/* Sizes by the letters of engine/model/model.h. */
typedef struct hf_config {
    const char *class_name, *arch; /* "LlamaForCausalLM", "llama"; static */
    unsigned bit;                  /* HF_LLAMA ... */
    size_t V, D, L, H, G, C, E, F;
    bool tied;     /* the output is the embedding */
    size_t window; /* tokens a layer looks back, which the file does not keep; 0: all */
    hf_experts experts;
    hf_rope rope;
} hf_config;

/* Read and check f->config, which is completed by what its class takes for granted. False: a
 * sentence that begins with the file's name. */
bool hf_config_read(hf_config *c, hf_folder *f, fault *why);

#endif
