/* key_scale.h - powers of two that make the channels of a key alike in size.
 *
 * A key in eight bits has one step for all of its channels, as large as its largest asks for.
 * In real models a few channels are tens of times larger than the others: biases of Wk
 * (Qwen 2.5) or gains of norms (Gemma 3, Qwen 3) make them so, and the others lose what the
 * query reads. So attention computes
 *
 *   q k = (q / s) (s k),     s_c = 2^-e_c, alike in both channels of a pair that turns
 *
 * which changes no bit of a product in floats, for a power of two moves the exponent alone. */
#ifndef ENGINE_MODEL_KEY_SCALE_H
#define ENGINE_MODEL_KEY_SCALE_H

#include "engine/err.h"
#include "engine/model/model.h"

/* Find the scales of all layers, from biases and from gains of norms: no text is needed. A
 * layer whose scales are all 1 gets none. The model owns them. ERR_NOMEM. */
err key_scale_open(model *m);

#endif
