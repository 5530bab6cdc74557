/* load_encoder.h - tensors that models for embeddings add. Internal to model_load. */
#ifndef ENGINE_MODEL_LOAD_ENCODER_H
#define ENGINE_MODEL_LOAD_ENCODER_H

#include "engine/model/loader.h"

/* What is added to the embedding, the norm of the sum, and what a pooled row goes through. */
err load_encoder(loader *o);

/* Norms of the sums behind the halves of the layer. */
err load_encoder_layer(loader *o);

/* Is it read where it lies, by rows, and packed by nobody? */
bool load_encoder_reads_rows(const gguf_tensor *t);

#endif
