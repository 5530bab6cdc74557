/* hf_bends.h - the numbers of xIELU, which a folder has as tensors of each layer and a model
 * file as keys. Of apertus; for all others these calls do nothing. */
#ifndef SERVER_CONVERT_HF_BENDS_H
#define SERVER_CONVERT_HF_BENDS_H

#include "server/convert/hf_config.h"

/* Are they there? False: a sentence. */
bool hf_bends_check(const hf_folder *f, const hf_config *c, fault *why);

/* Their keys. Called after hf_bends_check has succeeded. */
void hf_bends_write(const hf_folder *f, const hf_config *c, gguf_writer *w);

#endif
