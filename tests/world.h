/* world.h - conversations to which everything happens, and what they then say.
 *
 * The promise of the cache: whatever happens to a context, its tokens do not change.
 * Conversations are read in random pieces and batches, cut, forked, ended and begun again, lose
 * their pages, blocks, and the layers that windows have passed; the logits of a row are then
 * compared, all bits of them, with those of a run that nothing ever disturbed. */
#ifndef TESTS_WORLD_H
#define TESTS_WORLD_H

#include "engine/model/forward.h"
#include "xcache/cache.h"
#include "xcache/codec/plan.h"

enum { WORLD_CTX = 448, WORLD_TALKS = 3 };

/* A conversation: all its tokens, computed or not. */
typedef struct talk {
    context *c; /* NULL: idle */
    int32_t ids[WORLD_CTX];
    size_t n;
} talk;

typedef struct world {
    const model *m;
    const kern *kern;
    team *team;
    size_t block;
    cache *cache, *calm; /* disturbed; not */
    forward *forward;
    talk talks[WORLD_TALKS];
    float *logits[WORLD_TALKS], *expected;
    uint32_t state;
    int cuts; /* of rebuilding */
    size_t checked;
    size_t dropped, rewound; /* blocks that lost their windowed layers; tokens computed again */
} world;

/* So many random events, with a workspace and then streaming, each in the same order every
 * time. w has model, kern, team and block; `checked` counts the rows compared. */
void world_live(world *w, const char *mode, const plan *p, int turns);

/* The same with the model in a file, and its plan where the mode asks for one. */
void world_live_in(const char *path, const char *mode, int turns);

#endif
