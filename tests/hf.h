/* hf.h - a llama model with a llama-bpe vocabulary as the folder it would have on the Hugging
 * Face hub. What `xquantd convert` makes of the folder must be the same model. */
#ifndef TESTS_HF_H
#define TESTS_HF_H

#include <cjson/cJSON.h>
#include <stddef.h>

#include "engine/gguf/gguf.h"

/* Write the folder, its weights in that many files. Matrices that are not F16 or BF16 become
 * F32. Ends the process when something is wrong. */
void hf_write(const gguf *g, const char *folder, size_t shards);

/* The same of another family's model, as `record` says: "config" is its config.json, "names"
 * what a tensor is called there, with % for the layer; "together": rotary pairs are together in
 * g; "less_1": gains are stored less 1. */
void hf_write_as(const gguf *g, const char *folder, const cJSON *record);

#endif
