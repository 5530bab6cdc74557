/* hf_keys.h - what config.json says, as the keys "general.architecture" and "<architecture>.*".
 */
#ifndef SERVER_CONVERT_HF_KEYS_H
#define SERVER_CONVERT_HF_KEYS_H

#include "engine/gguf/gguf_write.h"
#include "server/convert/hf_config.h"

/* Is every number there that must be? False: a sentence that begins with the file's name. */
bool hf_keys_check(const hf_config *c, const hf_folder *f, fault *why);

/* Write them. Called after hf_keys_check has found nothing to refuse, on the same folder. */
void hf_keys_write(const hf_config *c, const hf_folder *f, gguf_writer *w);

#endif
