/* embed.h - texts of runs that become vectors, beside the steps of others.
 *
 *   run A  text 0 | text 1 | text 2      the group:  A0 A1 A2 B0     one encoder, which
 * computes run B  text 0                                                   a group in pieces
 *
 * Runs that want vectors take part in no step: their texts go through the encoder together, as
 * many as fit a group, the oldest run's first and last those who are behind. Between two pieces
 * everything else has its turn, so a long text stops nobody. The scheduler's thread only. */
#ifndef SERVER_SCHED_EMBED_H
#define SERVER_SCHED_EMBED_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "engine/err.h"
#include "engine/model/encoder.h"
#include "server/sched/run.h"
#include "server/sched/share.h"

/* A text of the group at hand. */
typedef struct embed_part {
    run *run; /* NULL: it is over, and its vector wanted by nobody */
    size_t text;
} embed_part;

typedef struct embed {
    encoder *encoder;
    embed_part *parts;      /* [ENCODER_GROUP_ROWS] */
    size_t n;               /* of them; 0: no group is at hand */
    uint64_t texts, tokens; /* since the start, of groups that are through */
} embed;

/* e NULL: there are no texts. ERR_NOMEM. The caller closes. */
err embed_open(embed *m, encoder *e);
void embed_close(embed *m);

/* Is there anything to compute for these runs? A new group is begun where none is at hand.
 * Texts of runs that are behind come only where `everybody` has a turn. */
bool embed_begin(embed *m, run *const *runs, size_t n, bool everybody);

/* Compute a piece of the group at hand, of up to so many rows; with the last one its runs have
 * their vectors. Returns the seconds that it took, which are charged to those who wanted it. */
double embed_step(embed *m, size_t rows, share *to);

/* x is about to be freed. */
void embed_forget(embed *m, const run *x);

#endif
