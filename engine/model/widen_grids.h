/* widen_grids.h - the points of the IQ types (widen.c): which combinations of weights they
 * have. Source: ggml's format. */
#ifndef ENGINE_MODEL_WIDEN_GRIDS_H
#define ENGINE_MODEL_WIDEN_GRIDS_H

#include <stdint.h>

extern const uint16_t widen_grid_iq2_xxs[256];
extern const uint16_t widen_grid_iq2_xs[512];
extern const uint16_t widen_grid_iq2_s[1024];
extern const uint16_t widen_grid_iq3_xxs[256];
extern const uint16_t widen_grid_iq3_s[512];
extern const uint16_t widen_grid_iq1[2048];

#endif
