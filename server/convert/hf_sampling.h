/* hf_sampling.h - how a model's authors want it to be sampled: generation_config.json as the
 * keys general.sampling.* of a model file (engine/model/sample_file.h reads them). */
#ifndef SERVER_CONVERT_HF_SAMPLING_H
#define SERVER_CONVERT_HF_SAMPLING_H

#include "engine/gguf/gguf_write.h"
#include "server/convert/hf_folder.h"

/* Are its numbers ones that a request may ask for, too? False: a sentence that begins with the
 * file's name. */
bool hf_sampling_check(const hf_folder *f, fault *why);

/* The keys of what it says; nothing where there is no such file. */
void hf_sampling_write(const hf_folder *f, gguf_writer *w);

#endif
