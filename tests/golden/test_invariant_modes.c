/* test_invariant_modes.c - whatever happens to a context, its tokens do not change (world.h):
 * in every mode of the cache. */
#include <stdlib.h>

#include "tests/planned.h"
#include "tests/test.h"
#include "tests/world.h"
#include "xcache/codec/codec.h"

TEST(invariant_holds_in_every_mode_on_both_paths)
{
    world *w = calloc(1, sizeof *w);
    planned tiny;
    plan *p;
    char mode[16];

    planned_open(&tiny, 2);
    p = planned_make(&tiny, planned_full);
    *w = (world){.m = tiny.m, .kern = &tiny.kern, .team = tiny.team};
    for (w->block = 64; w->block <= 128; w->block *= 2) {
        for (size_t i = 0; codec_mode(i, mode); i++) world_live(w, mode, NULL, 40);
        world_live(w, "klt8", p, 40);
    }
    CHECK(w->checked == 2 * 2 * 40 * 14);
    plan_close(p);
    planned_close(&tiny);
    free(w);
}
