/* sample_file.h - how a model's authors want it to be sampled, as its file says.
 *
 * Keys general.sampling.* of GGUF, as llama.cpp writes them from generation_config.json. They
 * are defaults: what a request says goes before them. */
#ifndef ENGINE_MODEL_SAMPLE_FILE_H
#define ENGINE_MODEL_SAMPLE_FILE_H

#include "engine/gguf/gguf.h"
#include "engine/model/sample.h"

/* Put what the file says into *p; what it does not say stays. A number that is none, or beyond
 * what a request may ask for, is passed over: the first such key is written to `passed` [size],
 * else
 * "". */
void sample_read_file(const gguf *g, sample_params *p, char *passed, size_t size);

#endif
