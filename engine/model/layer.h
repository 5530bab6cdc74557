/* layer.h - the two halves of a layer behind its first products, for whoever walks through
 * layers: a step of contexts (forward.c), texts that become vectors (encoder.c). Internal to
 * them. */
#ifndef ENGINE_MODEL_LAYER_H
#define ENGINE_MODEL_LAYER_H

#include <stddef.h>

struct forward;

/* Wo attention(q), deferred. f->x is the norm of h, f->q are finished queries, and f->k, f->v
 * finished keys and values, which the contexts are given. */
void layer_attend(struct forward *f, size_t l);

/* ffn(norm h), deferred; where it stands beside attention, of f->x. */
void layer_network(struct forward *f, size_t l);

#endif
