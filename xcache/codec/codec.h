/* codec.h - the storage formats: how one layer of a block of tokens becomes codes, and comes
 * back.
 *
 * A row of codec.def is a struct of functions, so no code asks which codec it has.
 *
 *    open page, layer l                block of the pool                       tile
 *    x, k, v of B tokens  --encode-->  codes | scales of layer l  --decode-->  k, v of B tokens
 *
 * Encode finds what keeps_x and keeps_raw_k ask for. Decode rebuilds a tile in a worker's
 * scratch (rebuilds), or points at the codes, which are the numbers themselves. Layers stand
 * alone, unless the codec carries: then layer l is the difference to what the decoder has of
 * layer l-1, so layers come in order, the first first, for the encoder too:
 *
 *    state: x^ of layer l-1   --encode or decode of layer l-->   state: x^ of layer l
 *
 * A closed loop leaves the same x^ on both sides, bit for bit, and expand makes k and v of it
 * without decoding again. What is written is a pure function of what the page holds: equal
 * tokens after equal tokens give equal blocks, which is why contexts can share them. */
#ifndef XCACHE_CODEC_CODEC_H
#define XCACHE_CODEC_CODEC_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "engine/context.h"
#include "engine/err.h"
#include "engine/kern/kern.h"
#include "engine/model/model.h"

/* One layer of an open page, block_tokens rows. */
typedef struct codec_rows {
    const float *x;     /* [B,D], only where the codec says keeps_x; else NULL */
    const float *raw_k; /* [B,E] k before rotary positions, only with keeps_raw_k */
    const void *k;      /* [G,B/16,C,16] with rotary positions applied, in open_format */
    const void *v;      /* [G,B,C], the same */
    size_t sinks;       /* the first rows whose codes nobody reads: they may be written as
                           anything, and must not cost the others precision */
} codec_rows;

/* Where a tile may be rebuilt: one per worker. Aligned to 64 bytes. */
typedef struct codec_scratch {
    float *x;     /* [B,D] */
    float *k, *v; /* [B,E], v right after k */
    float *kt;    /* [G,B/16,C,16] what a tile's keys are in */
    float *temp;  /* [codec_state.temp_floats] */
    float *state; /* [B,D] for codec_place.state where a whole block is done at once */
} codec_scratch;

/* One layer of one sealed block: where its bytes are, and what goes with them. */
typedef struct codec_place {
    uint8_t *codes, *scales; /* read-only once sealed */
    const int32_t *ids;      /* [B] the block's tokens */
    size_t first;            /* position of the first of them */
    float *state;            /* [B,D] what a codec that carries hands from layer to layer:
                                the decoded input of the layer before; else NULL */
    const codec_scratch *scratch;
} codec_place;

/* A layer that several workers encode, each some of a block's tokens: stages in order, all
 * parts of one before the next; of CODEC_WRITE there is one part alone. */
typedef enum codec_stage {
    CODEC_PREDICT,
    CODEC_QUANTIZE,
    CODEC_WRITE,
    CODEC_HOLD,
    CODEC_STAGES
} codec_stage;

typedef struct codec_share {
    codec_stage stage;
    size_t part, parts; /* each a multiple of CODEC_PART_TOKENS */
    void *memory;       /* [codec_state.share_bytes] aligned to 64, the same in all stages */
} codec_share;

enum { CODEC_PART_TOKENS = 16 };

/* Bytes of one layer of one block. */
typedef struct codec_size {
    size_t codes, scales;
} codec_size;

typedef struct codec codec;

/* What the decoder of `cl` carries from layer to layer, beside what it hands to K and V. */
typedef enum codec_accumulator {
    CODEC_FP32,
    CODEC_FP16, /* rounded */
    CODEC_4BIT, /* coded and decoded per token, min-max in groups */
} codec_accumulator;

enum { CODEC_KEPT_BITS = 4 };

/* Divergence of the plan's ratio that `auto` is, where nobody says another. */
#define CODEC_MAX_KL 0.005

/* What the paper leaves open. Each mode has the parts that codec.uses names. */
typedef struct codec_tuning {
    size_t group;     /* values that share a scale: 32, 64, 128 */
    int kept_layers;  /* the first so many layers are stored at CODEC_KEPT_BITS or more */
    int rank_percent; /* share of a latent's width that is kept, by singular value: 1 .. 100,
                         rounded up to whole bytes of codes */
    int base_layer;   /* the last layer stored as it is; differences from then on */
    codec_accumulator accumulator;
    bool open_loop; /* differences of exact inputs, not to what the decoder has */
} codec_tuning;

/* The tuning of every mode unless an ablation asks for another. */
extern const codec_tuning codec_usual;

/* Parts of a tuning, for codec.uses. */
enum { CODEC_GROUP = 1, CODEC_KEPT = 2, CODEC_RANK = 4, CODEC_LOOP = 8 };

/* What to open. All borrowed; mode until codec_open returns. */
typedef struct codec_options {
    const char *mode;           /* "kv16", "xq4", "auto" */
    const struct plan *plan;    /* of a mode that needs one, or NULL */
    const codec_tuning *tuning; /* NULL: codec_usual */
    size_t block_tokens;
    const struct codec_state *beside; /* an open codec of the same model, which closes later:
                                         what both would hold is borrowed. Or NULL */
} codec_options;

/* An open codec: its sizes and weights for one model. Read-only after codec_open. */
typedef struct codec_state {
    const codec *codec;
    const model *m;
    const kern *kern;
    size_t block_tokens;
    codec_tuning tuning;
    int bits;     /* n of the mode; 0 where it has none */
    double ratio; /* of a mode that needs a plan; else 0 */
    const struct plan *plan;
    const struct codec_state *beside;
    void *own;          /* the codec's; see open and close */
    size_t temp_floats; /* of scratch that it asks for */
    size_t share_bytes; /* of codec_share.memory */
    size_t bytes;       /* of weights that own holds besides the model's */
    char mode[16];      /* "xq4" */
} codec_state;

struct codec {
    bool keeps_x;          /* open pages must keep layer inputs */
    bool keeps_raw_k;      /* and keys before rotary positions */
    kv_format open_format; /* of keys and values in open pages: KV_FLOAT or KV_HALF */
    bool rebuilds;         /* a tile is made in scratch, not read in place */
    bool carries;          /* layers come in order and hand place.state on */
    unsigned uses;         /* parts of a tuning that count */
    /* Hold model and plan against the mode, and set s->bytes, s->temp_floats and
     * s->share_bytes, by sizes alone. NULL: any will do, and all are 0. ERR_MODEMODEL,
     * ERR_NOPLAN, ERR_PLANMODEL: of another model or ratio. */
    err (*measure)(codec_state *s);
    /* Prepare s->own. NULL: nothing to do. ERR_NOMEM. */
    err (*open)(codec_state *s);
    void (*close)(codec_state *s);
    codec_size (*size)(const codec_state *s, int layer);
    /* Write one layer of a block. A closed loop updates place.state by decode's own means; an
     * open one keeps there what it needs. */
    void (*encode)(const codec_state *s, int layer, const codec_rows *in,
                   const codec_place *place);
    /* One part of one stage of encode; all of them together are encode, bit for bit. NULL: it
     * cannot be shared. */
    void (*encode_part)(const codec_state *s, int layer, const codec_rows *in,
                        const codec_place *place, const codec_share *share);
    /* Keys and values of that layer. Of a codec that rebuilds: floats in scratch kt and v. */
    void (*decode)(const codec_state *s, int layer, const codec_place *place, kv_tile *out);
    /* The second half of decode: keys and values of what place.state holds after encode, which
     * is bit for bit what decode would leave there. NULL: what encode leaves is not that. */
    void (*expand)(const codec_state *s, int layer, const codec_place *place, kv_tile *out);
    /* Write one layer of a block anew for another state of the same codec, of a larger ratio:
     * decode it at `from`, encode what that gives at `to`. Both carry. NULL: cannot be done. */
    void (*transcode)(const codec_state *s, const codec_state *other, int layer,
                      const codec_place *from, const codec_place *to);
};

/* Open the codec of a mode. ERR_MODE: no such mode; ERR_MODEMODEL: not with this model;
 * ERR_NOPLAN, ERR_PLANMODEL, ERR_NOMEM. m, k and the plan are borrowed. The caller closes. */
err codec_open(codec_state *out, const codec_options *o, const model *m, const kern *k);
void codec_close(codec_state *s);

/* The same for a model of which nothing is known but its sizes: *out can only be asked for
 * sizes, and need not be closed. */
err codec_measure(codec_state *out, const codec_options *o, const model *m);

/* The end of a rebuild: keys in scratch k get their rotary positions and go to kt, in a tile's
 * order; *out is kt and v. */
void codec_turn(const codec_state *s, int layer, const codec_place *place, kv_tile *out);

/* The same where scratch k and v are products with Wk and Wv: biases and norms of heads come
 * first. */
void codec_finish(const codec_state *s, int layer, const codec_place *place, kv_tile *out);

/* Mode i of codec.def that needs no plan, in its order, for help and tests; false past the
 * last. */
bool codec_mode(size_t i, char mode[16]);

/* The parts that count for a mode with that model: a rank needs grouped heads, and a mode of 4
 * bits or more keeps all layers at as many. Other words: all, for codec_open to refuse. */
unsigned codec_uses(const char *mode, const model *m);

/* The ratio of a mode that needs a plan ("klt7.5": 7.5); 0 for every other word. */
double codec_ratio(const char *mode);

#define CODEC(id, mode, n, help) extern const codec codec_##id;
#include "xcache/codec/codec.def"
#undef CODEC

#endif
