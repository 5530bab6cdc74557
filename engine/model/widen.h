/* widen.h - one block of each type of widen.def, to floats. Source: ggml's format, whose
 * numbers tests/golden/dequantize.json keeps. */
#ifndef ENGINE_MODEL_WIDEN_H
#define ENGINE_MODEL_WIDEN_H

#include <stdint.h>

#define WIDEN(type, elements, bytes, as) void widen_##type(const uint8_t *block, float *out);
#include "engine/model/widen.def"
#undef WIDEN

#endif
