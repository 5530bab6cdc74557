/* test_invariant_arch.c - whatever happens to a context, its tokens do not change (world.h): in
 * every architecture. */
#include <stdlib.h>

#include "tests/planned.h"
#include "tests/test.h"
#include "tests/world.h"

/* Windows are shorter than a block and longer; one model's keys come from a single head. */
TEST(invariant_holds_in_every_architecture)
{
    static const char *const models[] = {
        "--arch qwen2 --layers 3 --vocab 8192",
        "--arch qwen3 --layers 3 --head-dim 32 --kv-heads 4",
        "--arch phi3 --layers 3 --window 90 --rope long --turning 12",
        "--arch gemma2 --layers 4 --head-dim 32 --window 150",
        "--arch gemma3 --layers 7 --kv-heads 1 --head-dim 32 --window 40 --rope linear",
        "--arch qwen3moe --layers 3 --experts 4 --used 2",
        "--arch gpt-oss --layers 4 --experts 4 --used 2 --window 90",
        "--arch olmo2 --layers 4 --window 40 --rope yarn",
        "--arch command-r --layers 3 --beside 1",
        "--arch cohere2 --layers 4 --window 90 --type Q8_0",
        "--arch glm4moe --layers 3 --experts 4 --used 2 --turning 8",
        "--arch llama4 --layers 4 --window 512 --experts 4 --used 1",
        "--arch starcoder2 --layers 3",
        "--arch qwen3 --layers 3 --head-dim 32 --kv-heads 4 --type Q8_0",
        "--arch phi3 --layers 3 --d 256 --ffn 256 --type Q4_K"};
    static const char *const modes[] = {"kv32", "kv16", "kivi4", "xq4"};
    size_t dropped = 0, rewound = 0;
    world *w = calloc(1, sizeof *w);

    for (size_t i = 0; i < sizeof models / sizeof models[0]; i++) {
        planned p;
        plan *made;

        planned_open_random(&p, models[i], 2);
        made = planned_make(&p, planned_full);
        *w = (world){.m = p.m, .kern = &p.kern, .team = p.team, .block = 64};
        for (size_t k = 0; k < sizeof modes / sizeof modes[0]; k++)
            world_live(w, modes[k], NULL, 12);
        dropped += w->dropped;
        rewound += w->rewound;
        w->dropped = 0;
        world_live(w, "cl3", NULL, 12);
        world_live(w, "klt8", made, 12);
        CHECK(w->checked == 2 * 12 * 6 && w->dropped == 0); /* layers follow from each other */
        plan_close(made);
        planned_close(&p);
    }
    CHECK(dropped > 50 && rewound > 1000); /* some have windows, and went back behind them */
    free(w);
}
