/* hf_archs.h - the rows of hf_archs.def: architectures that `convert` writes. */
#ifndef SERVER_CONVERT_HF_ARCHS_H
#define SERVER_CONVERT_HF_ARCHS_H

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
    HF_PAIRED = HF_LLAMA | HF_MIXTRAL | HF_GRANITE | HF_GRANITEMOE | HF_SMOLLM3 |
                HF_MISTRAL3, /* files have rotary pairs together */
    HF_CROWDS = HF_MIXTRAL | HF_QWEN2MOE | HF_QWEN3MOE | HF_GPT_OSS | HF_GRANITEMOE |
                HF_GLM4MOE | HF_MINIMAX_M2 | HF_LLAMA4, /* have experts */
    HF_MEAN_NORMS = HF_COMMAND_R | HF_COHERE2 | HF_PHI2 | HF_STARCODER2 | HF_STABLELM,
    HF_TIED = HF_GAINS_LESS_1 | HF_COMMAND_R | HF_COHERE2 | HF_STARCODER2 | HF_SMOLLM3
};

#endif
