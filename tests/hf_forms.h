/* hf_forms.h - tensors of a folder that are not one of a model file each: experts, in one
 * tensor or in many, two matrices in one, numbers that the file has as keys. By a record's
 * "forms":
 *
 *   {"name": "model.layers.%.mlp.experts.#.up_proj.weight", "of": ["ffn_up_exps.weight"]}
 *   {"name": ..., "of": [two names], "woven": rows in turns, else one behind the other,
 *    "turned": columns first, "flat": a vector for each plane, "line": a vector as a matrix}
 *   {"name": ..., "key": "xielu.beta", "dims": 0}      one number of each layer
 *   {"name": ..., "number": 1}                         one number, once
 * With "#" in its name there is a tensor for each plane. Where the file's tensors are MXFP4, so
 * are the folder's: NAME_blocks and NAME_scales, row by row. */
#ifndef TESTS_HF_FORMS_H
#define TESTS_HF_FORMS_H

#include <cjson/cJSON.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>

#include "engine/gguf/gguf.h"
#include "server/text.h"

typedef enum hf_half { HF_WHOLE, HF_BLOCKS, HF_SCALES } hf_half;

/* One tensor of the folder. */
typedef struct hf_item {
    char name[160];
    const gguf_tensor *of[2]; /* the second NULL: one */
    bool woven, turned, flat, line;
    size_t plane, planes; /* planes: how many it holds, from the first */
    hf_half half;         /* of MXFP4 */
    float number;         /* where of[0] is NULL */
    int dims;             /* of the number: 0 or 1 */
} hf_item;

/* Items of one form and layer; how many. out NULL: none is written. 0: the layer has none. */
size_t hf_forms_list(const gguf *g, const cJSON *form, size_t layer, hf_item *out);

/* Is it part of some form? */
bool hf_forms_has(const cJSON *record, const char *part);

/* "NAME":{...}, its place from *offset, which goes on behind it; its bytes. */
void hf_forms_describe(text_builder *t, const hf_item *item, size_t *offset);
void hf_forms_write(FILE *f, const hf_item *item);

#endif
