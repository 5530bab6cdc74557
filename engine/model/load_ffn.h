/* load_ffn.h - feed-forward networks of a layer, from tensors to packed weights. Internal to
 * model_load. */
#ifndef ENGINE_MODEL_LOAD_FFN_H
#define ENGINE_MODEL_LOAD_FFN_H

#include "engine/model/loader.h"

/* The dense network of the layer at hand, or its experts. */
err load_ffn(loader *o);

/* Is it the gate of an expert that all tokens share? */
bool load_ffn_is_gate(const gguf_tensor *t);

/* The largest F of all networks, by the keys and, for experts that all tokens share, by their
 * tensors. */
size_t load_ffn_widest(const loader *o);

#endif
