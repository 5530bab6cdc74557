/* hf_config.h - config.json: which architecture it is, its sizes, and the keys they become.
 *
 * What would change the numbers and has no key in the file (an unknown kind of rotary
 * scaling, another activation) is refused by name. */
#ifndef SERVER_CONVERT_HF_CONFIG_H
#define SERVER_CONVERT_HF_CONFIG_H

#include "engine/gguf/gguf_write.h"
#include "server/convert/hf_folder.h"

/* The rows of hf_archs.def by number, and as the bits of a set. */
enum {
#define HF_ARCH(name, arch, activation, theta) HF_ROW_##name,
#include "server/convert/hf_archs.def"
#undef HF_ARCH
    HF_ARCHS
};

enum {
#define HF_ARCH(name, arch, activation, theta) HF_##name = 1 << HF_ROW_##name,
#include "server/convert/hf_archs.def"
#undef HF_ARCH
    HF_ALL = (1 << HF_ARCHS) - 1
};

/* Sets of them. */
enum {
    HF_GAINS_LESS_1 = HF_GEMMA | HF_GEMMA2 | HF_GEMMA3, /* norms' gains are stored less 1 */
    HF_PAIRED = HF_LLAMA | HF_GRANITE | HF_SMOLLM3 |
                HF_MISTRAL3, /* files have rotary pairs together */
    HF_MEAN_NORMS = HF_COMMAND_R | HF_COHERE2 | HF_PHI2 | HF_STARCODER2 | HF_STABLELM,
    HF_TIED = HF_GAINS_LESS_1 | HF_COMMAND_R | HF_COHERE2 | HF_STARCODER2 | HF_SMOLLM3
};

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
    hf_rope rope;
} hf_config;

/* Read and check f->config. False: a sentence that begins with the file's name. */
bool hf_config_read(hf_config *c, const hf_folder *f, fault *why);

/* The keys "general.architecture" and "<architecture>.*". */
void hf_config_write(const hf_config *c, const hf_folder *f, gguf_writer *w);

#endif
