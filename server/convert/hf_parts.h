/* hf_parts.h - what a model file will hold: its tensors in order, and where in the folder each
 * of them is read.
 *
 * hf_tensors.def says which tensor becomes which; one that is missing, has another shape, or is
 * in no row is an error that names it. What a person should know of and is no fault is counted:
 * towers for pictures and sound, and layers that guess later tokens, are left out. */
#ifndef SERVER_CONVERT_HF_PARTS_H
#define SERVER_CONVERT_HF_PARTS_H

#include "engine/gguf/gguf.h"
#include "server/convert/hf_config.h"
#include "server/convert/hf_quant.h"
#include "server/convert/hf_rows.h"

typedef struct hf_part {
    char name[64];
    hf_rows from;
    gguf_tensor to; /* without data, as F32 */
    bool matrix;    /* may be written as another type */
    long layer;     /* -1: of none */
    bool output;    /* it makes the logits */
} hf_part;

typedef struct hf_parts {
    hf_part *list; /* in the order of the file */
    size_t n;
    size_t towers, guessing; /* tensors of the folder that are left out */
} hf_parts;

/* List all of a folder's. False: a sentence. The caller closes, also then. */
bool hf_parts_open(hf_parts *out, const hf_folder *f, const hf_config *c, fault *why);
void hf_parts_close(hf_parts *p);

#endif
