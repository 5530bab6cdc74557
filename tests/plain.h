/* plain.h - the network once more, as plain loops in double precision over dequantized weights:
 * what engine/model/forward must come close to. It reads the file by itself, one layer at a
 * time. */
#ifndef TESTS_PLAIN_H
#define TESTS_PLAIN_H

#include <stddef.h>
#include <stdint.h>

#include "engine/gguf/gguf.h"

/* Logits [n_at,V] after ids at[0], at[1], ... of ids [n], in a context of ctx tokens. Aborts
 * where the file lacks something. */
void plain_logits(const gguf *g, size_t ctx, const int32_t *ids, size_t n, const size_t *at,
                  size_t n_at, float *logits);

#endif
