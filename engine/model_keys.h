/* model_keys.h - the numbers of a model, from the keys of its file. Internal to model. */
#ifndef ENGINE_MODEL_KEYS_H
#define ENGINE_MODEL_KEYS_H

#include "engine/arch.h"
#include "engine/model.h"

/* All sizes of *m but V. ERR_MISSING, ERR_KEYTYPE, ERR_RANGE. */
err model_read_sizes(model *m, const arch_keys *k);

/* Windows and angles of m's layers, for m->ctx positions: m->ropes are opened. ERR_KEYTYPE,
 * ERR_RANGE, ERR_SHAPE, ERR_NOMEM. */
err model_read_positions(model *m, const arch_keys *k);

#endif
