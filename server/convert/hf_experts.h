/* hf_experts.h - what config.json says of experts: how many there are, how wide, in which
 * layers, and how they are chosen. */
#ifndef SERVER_CONVERT_HF_EXPERTS_H
#define SERVER_CONVERT_HF_EXPERTS_H

#include "engine/gguf/gguf_write.h"
#include "server/json.h"

/* X 0: there are none. */
typedef struct hf_experts {
    size_t X, used, F, shared; /* F: of one; shared: of what all tokens pass; 0: nothing */
    size_t dense, step; /* layers before the first with experts; one in so many has them */
    size_t guessing;    /* layers behind the last, which guess later tokens */
    bool summed, said;  /* their weights sum to 1; the file says whether */
} hf_experts;

/* Read them of an architecture, a bit of hf_archs.h. False: a sentence. */
bool hf_experts_read(hf_experts *e, unsigned arch, const cJSON *config, fault *why);

/* Has layer l experts? */
bool hf_experts_in(const hf_experts *e, size_t l);

/* Their keys, but for those that hf_keys.def has. */
void hf_experts_write(const hf_experts *e, unsigned arch, const char *name, gguf_writer *w);

#endif
