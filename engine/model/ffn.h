/* ffn.h - the feed-forward half of a layer: a dense network, or experts. Internal to forward.
 */
#ifndef ENGINE_MODEL_FFN_H
#define ENGINE_MODEL_FFN_H

#include <stddef.h>

#include "engine/model/product.h"

struct forward;

/* Defers what the network of layer l makes of x, the rows that it reads, which its caller has
 * normed with the list that ffn_inputs gives. */
void ffn_run(struct forward *f, size_t l, product_source x);

/* The products that read those rows first: list [2]. Returns how many. */
int ffn_inputs(const struct forward *f, size_t l, product *list);

#endif
