/* codec.h - the storage formats: how one layer of 128 tokens becomes codes, and comes back.
 *
 * A row of codec.def is a struct of functions, so no code asks which codec it has. A codec
 * writes a sealed block layer by layer from the exact values of an open page, and reads it
 * as keys and values. What it writes is a pure function of what the page holds. */
#ifndef XCACHE_CODEC_H
#define XCACHE_CODEC_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "engine/context.h"
#include "engine/err.h"
#include "engine/kern.h"
#include "engine/model.h"

/* One layer of an open page, block_tokens rows. */
typedef struct codec_rows {
    const float *x;     /* [B,D], only where the codec says keeps_x; else NULL */
    const float *k, *v; /* [B,E], k with rotary positions applied */
} codec_rows;

/* Where a tile may be rebuilt: one per worker. Aligned to 64 bytes. */
typedef struct codec_scratch {
    float *x;     /* [B,D] */
    float *k, *v; /* [B,E] */
} codec_scratch;

/* Bytes of one layer of one block. */
typedef struct codec_size {
    size_t codes, scales;
} codec_size;

typedef struct codec codec;

/* An open codec: its sizes and weights for one model. Read-only after codec_open. */
typedef struct codec_state {
    const codec *codec;
    const model *m;
    const kern *kern;
    size_t block_tokens;
    int bits;      /* n of the mode; 0 where it has none */
    void *own;     /* the codec's; see open and close */
    char mode[16]; /* "xq4" */
} codec_state;

struct codec {
    bool keeps_x;  /* open pages must keep layer inputs */
    bool rebuilds; /* a tile is made in scratch, not read in place */
    /* Prepare s->own. NULL: nothing to do. ERR_NOMEM, ERR_MODEMODEL. */
    err (*open)(codec_state *s);
    void (*close)(codec_state *s);
    codec_size (*size)(const codec_state *s, int layer);
    /* Write layer `layer` of a block: `codes` and `scales` are its places. */
    void (*encode)(const codec_state *s, int layer, const codec_rows *in, uint8_t *codes,
                   uint8_t *scales);
    /* Keys and values of that layer; `first` = position of the block's first token. */
    void (*decode)(const codec_state *s, int layer, const uint8_t *codes, const uint8_t *scales,
                   size_t first, const codec_scratch *scratch, kv_tile *out);
};

/* Open the codec of `mode` ("kv16", "xq4", "auto"). ERR_MODE: no such mode; ERR_MODEMODEL:
 * not with this model; ERR_NOMEM. m and k are borrowed. The caller closes. */
err codec_open(codec_state *out, const char *mode, const model *m, const kern *k,
               size_t block_tokens);
void codec_close(codec_state *s);

/* Mode i of codec.def, in its order, for help and tests; false past the last. */
bool codec_mode(size_t i, char mode[16]);

#define CODEC(id, mode, n, help) extern const codec codec_##id;
#include "xcache/codec.def"
#undef CODEC

#endif
