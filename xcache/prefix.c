/* prefix.c - a hash table with chains, all of it in arrays as long as the pool.
 *
 *    buckets [2^n]   key.low & mask -> first entry
 *    entries [blocks]   entry of block b: key, parent, next in the bucket
 *
 * A key is in the table once. Where two chains of tokens hash alike the first one has it, and
 * the other's block stays out: it is rare, and costs a hit, never a wrong one. */
#include "xcache/prefix.h"

#include <assert.h>
#include <stdlib.h>

#define XXH_INLINE_ALL
#include <xxhash.h>

typedef struct entry {
    prefix_key key;
    pool_block parent;
    pool_block next; /* in the bucket */
    uint32_t followers;
    bool in, changed;
} entry;

struct prefix_table {
    entry *entries;      /* [blocks] */
    pool_block *buckets; /* [mask + 1] the first entry, or PREFIX_NONE */
    size_t blocks, mask;
    prefix_key keep; /* the bits of a key that count */
};

/* Fewer bits are for tests, which want collisions to happen. */
static uint64_t low_bits(unsigned n)
{
    return n >= 64 ? UINT64_MAX : (UINT64_C(1) << n) - 1;
}

/* A power of two. */
static size_t count_buckets(size_t blocks)
{
    size_t n = 1;

    while (n < blocks) n *= 2;
    return n;
}

err prefix_open(prefix_table **out, size_t blocks, unsigned key_bits)
{
    prefix_table *t = calloc(1, sizeof *t);
    const size_t n = count_buckets(blocks);

    if (!t) return ERR_NOMEM;
    t->blocks = blocks;
    t->mask = n - 1;
    t->keep = (prefix_key){low_bits(key_bits), key_bits > 64 ? low_bits(key_bits - 64) : 0};
    t->entries = calloc(blocks, sizeof *t->entries);
    t->buckets = malloc(n * sizeof *t->buckets);
    if (!t->entries || !t->buckets) {
        prefix_close(t);
        return ERR_NOMEM;
    }
    for (size_t i = 0; i < n; i++) t->buckets[i] = PREFIX_NONE;
    *out = t;
    return ERR_OK;
}

void prefix_close(prefix_table *t)
{
    if (!t) return;
    free(t->entries);
    free(t->buckets);
    free(t);
}

prefix_key prefix_next(const prefix_table *t, prefix_key before, const void *bytes, size_t n)
{
    XXH3_state_t state;
    XXH128_hash_t h;

    XXH3_128bits_reset(&state);
    /* the key before stands for all tokens before */
    XXH3_128bits_update(&state, &before, sizeof before);
    XXH3_128bits_update(&state, bytes, n);
    h = XXH3_128bits_digest(&state);
    return (prefix_key){h.low64 & t->keep.low, h.high64 & t->keep.high};
}

static bool same_key(prefix_key a, prefix_key b)
{
    return a.low == b.low && a.high == b.high;
}

static pool_block first_of(const prefix_table *t, prefix_key key)
{
    pool_block b = t->buckets[key.low & t->mask];

    while (b != PREFIX_NONE && !same_key(t->entries[b].key, key)) b = t->entries[b].next;
    return b;
}

pool_block prefix_find(const prefix_table *t, prefix_key key, pool_block parent)
{
    const pool_block b = first_of(t, key);

    /* the parent's number settles all earlier tokens: it was compared when it was found, and it
     * cannot be freed before what follows it */
    return b != PREFIX_NONE && t->entries[b].parent == parent ? b : PREFIX_NONE;
}

bool prefix_add(prefix_table *t, prefix_key key, pool_block parent, pool_block b)
{
    pool_block *bucket = &t->buckets[key.low & t->mask];

    assert(b < t->blocks && !t->entries[b].in);
    if (first_of(t, key) != PREFIX_NONE) return false;
    t->entries[b] = (entry){.key = key, .parent = parent, .next = *bucket, .in = true};
    *bucket = b;
    if (parent != PREFIX_NONE) t->entries[parent].followers++;
    return true;
}

void prefix_remove(prefix_table *t, pool_block b)
{
    pool_block *at = &t->buckets[t->entries[b].key.low & t->mask];

    assert(t->entries[b].in);
    while (*at != b) at = &t->entries[*at].next;
    *at = t->entries[b].next;
    t->entries[b].in = false;
    if (t->entries[b].parent != PREFIX_NONE) t->entries[t->entries[b].parent].followers--;
}

bool prefix_change(prefix_table *t, pool_block b)
{
    const entry was = t->entries[b];
    const prefix_key key = prefix_changed(t, was.key);

    assert(was.in && !was.changed);
    if (first_of(t, key) != PREFIX_NONE) return false;
    prefix_remove(t, b);
    prefix_add(t, key, was.parent, b);
    t->entries[b].changed = true;
    t->entries[b].followers = was.followers;
    return true;
}

bool prefix_has_changed(const prefix_table *t, pool_block b)
{
    assert(t->entries[b].in);
    return t->entries[b].changed;
}

prefix_key prefix_changed(const prefix_table *t, prefix_key key)
{
    /* all bits turned: no hash is likelier to meet it than any other key, and turned again it
     * is the first */
    return (prefix_key){key.low ^ t->keep.low, key.high ^ t->keep.high};
}

bool prefix_has(const prefix_table *t, pool_block b)
{
    return t->entries[b].in;
}

prefix_key prefix_of(const prefix_table *t, pool_block b)
{
    assert(t->entries[b].in);
    return t->entries[b].key;
}

pool_block prefix_parent(const prefix_table *t, pool_block b)
{
    assert(t->entries[b].in);
    return t->entries[b].parent;
}

size_t prefix_followers(const prefix_table *t, pool_block b)
{
    assert(t->entries[b].in);
    return t->entries[b].followers;
}

size_t prefix_bytes(size_t blocks)
{
    return blocks * sizeof(entry) + count_buckets(blocks) * sizeof(pool_block);
}
