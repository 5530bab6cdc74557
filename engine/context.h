/* context.h - how forward reaches what came before: it adds the layer inputs of
 * this step, and reads keys and values back a block of tokens at a time.
 *
 * forward calls it, xcache implements it, and neither includes the other.
 * Letters as in model.h: T tokens of this call, D model width, G key/value heads,
 * C width of one head, B tokens of a block. Arrays are row-major, [rows, cols]. */
#ifndef ENGINE_CONTEXT_H
#define ENGINE_CONTEXT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct context {
    const struct context_ops *ops; /* first member of the implementation's own struct */
    size_t block_tokens;           /* B, tokens of a sealed block: 64, 128, 256 or 512 */
    bool every_tile;               /* each tile of each layer must be asked for, in order of
                                      layers: what is rebuilt follows from the layer before */
} context;

/* Number formats of a tile. */
typedef enum kv_format { KV_FLOAT, KV_HALF, KV_INT8 } kv_format;

static inline size_t kv_number_bytes(kv_format f)
{
    return f == KV_FLOAT ? sizeof(float) : f == KV_HALF ? sizeof(uint16_t) : sizeof(int8_t);
}

/* Keys and values of n tokens as attention reads them in place, whatever n: keys 0 .. n-1
 * count, all B can be read. The number of an int8 is scale * int. What one head reads lies
 * together, but for values just rebuilt. */
typedef struct kv_tile {
    kv_format format;
    const void *k;                     /* [G,B/16,C,16] 16 keys of a channel side by side */
    const void *v;                     /* [G,B,C], or [B,G,C]; in numbers: */
    size_t v_stride, v_head;           /* from token to token, from head to head */
    const uint16_t *k_scale, *v_scale; /* [G,B] halves, KV_INT8 only; else NULL */
} kv_tile;

/* The tile of k and v as open pages, pages of the workspace and kv modes store them. No scales.
 */
static inline kv_tile kv_stored_tile(kv_format format, const void *k, const void *v, size_t C,
                                     size_t B)
{
    return (kv_tile){.format = format, .k = k, .v = v, .v_stride = C, .v_head = B * C};
}

typedef struct context_ops {
    /* Add tokens first .. first+T-1 of this step's to one layer of the open block, which has
     * room for them. Layers come in order, 0 first, the tokens in any order. Any worker, others
     * at once with other tokens; the owner seals between steps.
     *
     *   x [T,D]       in  float32, input of the layer's K and V projections
     *   k, v [T,G,C]  in  float32, as computed, biases and norms of heads applied
     * (model_finish_kv); k before rotary positions, which are applied in place. All borrowed
     *
     * Cannot fail: the scheduler reserved the room. Cost: O(T*D). Does not allocate. */
    void (*append)(context *c, int layer, size_t first, const float *x, float *k,
                   const float *v, size_t T);

    /* Keys and values of block b of one layer, rebuilt from the codes if need be.
     * All workers may call it at once between two appends, each with its own slot.
     *
     *   out  k with rotary positions applied. Owned by c; valid until that slot's release
     *
     * Returns n, the tokens in the block, 1 .. block_tokens. Cannot fail. Cost: a lookup,
     * or at most 4*D*G*C flop a token. Source: arXiv:2508.10395, section 3.1. */
    size_t (*tile)(context *c, int layer, size_t b, int slot, kv_tile *out);

    /* The slot's tile is read no more. A debug build poisons what was rebuilt, so that
     * nothing but codes and open pages can survive a step. */
    void (*release)(context *c, int slot);
} context_ops;

#endif
