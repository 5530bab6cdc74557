/* test_invariant_embedded.c - whatever happens to a context, its tokens do not change
 * (world.h): in the embedded model. */
#include "tests/lab.h"
#include "tests/test.h"
#include "tests/world.h"

TEST(invariant_holds_in_the_embedded_model)
{
    world_live_in(LAB_EMBEDDED, "klt16", 20);
    world_live_in(LAB_EMBEDDED, "xq4", 20);
    world_live_in(LAB_EMBEDDED, "cl3", 16);
}
