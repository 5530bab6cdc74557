/* model_keys.h - the numbers of a model, from the keys of its file. Internal to model. */
#ifndef ENGINE_MODEL_MODEL_KEYS_H
#define ENGINE_MODEL_MODEL_KEYS_H

#include "engine/model/arch.h"
#include "engine/model/model.h"

/* All sizes of *m but V. ERR_MISSING, ERR_KEYTYPE, ERR_RANGE. */
err model_read_sizes(model *m, const arch_keys *k);

/* Which of m's layers have windows, and of how many keys. ERR_KEYTYPE, ERR_RANGE. */
err model_read_windows(model *m, const arch_keys *k);

/* What the angles of m's layers follow, whose windows are known: rules [2], out, the second
 * with n 0 where there is one for all. ERR_KEYTYPE, ERR_RANGE, ERR_SHAPE. */
err model_read_positions(model *m, const arch_keys *k, rope_rule *rules);

/* Angles of m->ctx positions, for every layer: as much memory as a head's width asks for, so a
 * tensor must have shown that it is what the key says. ERR_NOMEM. */
err model_open_ropes(model *m, const rope_rule *rules);

#endif
