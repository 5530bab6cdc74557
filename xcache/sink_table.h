/* sink_table.h - exact keys and values of the first tokens of contexts, found by their ids.
 *
 * A model gives the first tokens of a context a mass of attention whatever they say (attention
 * sinks, arXiv:2309.17453), so what rounds them costs more than what rounds all others. Their
 * keys and values follow from the first SINK_TOKENS ids alone and are computed again to the
 * bit, so they take no bytes of a block: an entry here serves all contexts that begin alike. */
#ifndef XCACHE_SINK_TABLE_H
#define XCACHE_SINK_TABLE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "engine/err.h"
#include "xcache/codec/codec.h"
#include "xcache/lru.h"
#include "xcache/scratch.h"

/* KIVI and KVQuant's sinks, and what StreamingLLM found to be enough. One would do for most
 * models; four cost nothing but this table. */
enum { SINK_TOKENS = 4 };

#define SINK_NONE UINT32_MAX

typedef struct sink_entry {
    int32_t ids[SINK_TOKENS];
    unsigned holders;
    bool stored; /* its numbers are there */
} sink_entry;

typedef struct sink_table {
    const codec_state *codec; /* borrowed; NULL: the table is closed */
    sink_entry *list;         /* [n] */
    uint32_t n;
    char *memory; /* [n] entries of entry_bytes */
    size_t entry_bytes;
    lru resting; /* entries that nobody holds: free, or found still */
} sink_table;

/* Bytes of a table for so many running contexts, its lists aside. */
size_t sink_table_bytes(const codec_state *s, int running);

/* ERR_NOMEM. The caller closes, in either case. */
err sink_table_open(sink_table *t, const codec_state *s, int running);
void sink_table_close(sink_table *t);

/* The entry of ids [SINK_TOKENS], held once more; each running context holds one at most. If
 * it is new its numbers are not there yet: sink_store is next, before anybody looks for it. */
uint32_t sink_hold(sink_table *t, const int32_t *ids);
void sink_drop(sink_table *t, uint32_t entry);
bool sink_is_stored(const sink_table *t, uint32_t entry);

/* Its numbers are the first tokens of this open page. */
void sink_store(sink_table *t, uint32_t entry, const open_page *page);

/* Overwrite these tokens in a tile of one layer that was rebuilt in scratch kt and v. Any
 * thread. */
void sink_patch(const sink_table *t, uint32_t entry, int layer, const codec_scratch *tile);

/* Does nobody hold an entry? */
bool sink_table_rests(const sink_table *t);

#endif
