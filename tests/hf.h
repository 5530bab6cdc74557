/* hf.h - a llama model with a llama-bpe vocabulary as the folder it would have on the Hugging
 * Face hub. What `xquantd convert` makes of the folder must be the same model. */
#ifndef TESTS_HF_H
#define TESTS_HF_H

#include <stddef.h>

#include "engine/gguf/gguf.h"

/* Write the folder, its weights in that many files. Matrices that are not F16 or BF16 become
 * F32. Ends the process when something is wrong. */
void hf_write(const gguf *g, const char *folder, size_t shards);

#endif
