/* test_invariant_heads.c - whatever happens to a context, its tokens do not change (world.h):
 * in a trained model whose heads share keys and values. */
#include <stdio.h>

#include "tests/test.h"
#include "tests/world.h"

TEST(invariant_holds_with_grouped_heads)
{
    const char *at = test_shared("models/seedling-38m-gqa-f16.gguf");
    char path[4096];

    if (!at) SKIP("the GQA model is not here");
    snprintf(path, sizeof path, "%s", at);
    world_live_in(path, "xq4", 20);
    world_live_in(path, "cl3", 16);
}
