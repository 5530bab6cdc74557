/* comparison.h - cache modes side by side on a text: how far each is from exact keys and
 * values. What a plan records of itself and what `perplexity` prints both come from here.
 *
 * Each row of the text is read by a fresh context in every mode, teacher forced: a query sees
 * its own block exactly and earlier ones through their codes. Mode kv32 reads along as the
 * exact one. The last token of a row has no next one and does not count. */
#ifndef XCACHE_CALIBRATE_COMPARISON_H
#define XCACHE_CALIBRATE_COMPARISON_H

#include <stddef.h>

#include "xcache/calibrate/divergence.h"
#include "xcache/calibrate/reader.h"

typedef struct comparison comparison;

/* Open kv32 and n modes; all is borrowed. room.contexts is of no account, room.tokens the
 * length of a row. Errors of cache_open, *at then the name of the mode at fault, else NULL;
 * NOMEM. The caller closes. */
err comparison_open(comparison **out, const reader_model *r, const reader_mode *modes, size_t n,
                    const reader_room *room, const char **at);
void comparison_close(comparison *c);

/* Read rows of room.tokens tokens; 4 bytes a position and mode are kept. ids and the order of
 * modes change nothing but what they say, nor does the number of threads. ERR_NOMEM. */
err comparison_read(comparison *c, const reader_text *text, const stage *p);

/* Of mode i, 0 being kv32, over all that was read; and its cache as it is. */
divergence comparison_mean(const comparison *c, size_t i);

/* Of its positions in rows from `from` on and before `to`, where both are 0 or a power of two
 * from 512 on; *positions how many, 0: none was read. The mean KL of these. */
double comparison_mean_between(const comparison *c, size_t i, size_t from, size_t to,
                               size_t *positions);
divergence_tail comparison_tail(comparison *c, size_t i);
void comparison_read_stats(const comparison *c, size_t i, cache_stats *out);

#endif
