/* hf_quant.h - in which way the weights of a folder are quantized already. */
#ifndef SERVER_CONVERT_HF_QUANT_H
#define SERVER_CONVERT_HF_QUANT_H

#include <stddef.h>

#include "server/json.h"

typedef enum hf_quant_kind {
    HF_QUANT_NONE,
    HF_QUANT_FP8,  /* E4M3, with a scale for a tensor, a row or a block */
    HF_QUANT_MXFP4 /* E2M1 in blocks of 32, each with a power of two */
} hf_quant_kind;

typedef struct hf_quant {
    hf_quant_kind kind;
    size_t block[2]; /* rows and columns of a block that has a scale of FP8 */
} hf_quant;

/* Read quantization_config. False: a sentence with the name of a way that is not read. */
bool hf_quant_read(hf_quant *q, const cJSON *config, fault *why);

#endif
