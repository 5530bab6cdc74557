/* test_sizing.c - which mode is taken for so many users, and what holds them. */
#include "server/cmd/sizing.h"

#include <stdlib.h>
#include <string.h>

#include "server/cmd/probe.h"
#include "tests/test.h"

/* The mode taken of four, of which two have a KL that is known. */
static const char *choose(uint64_t users, double max_kl)
{
    static const sizing_mode modes[] = {
        {.mode = "kv16", .kl = SIZING_EXACT, .contexts = 10},
        {.mode = "xq4", .kl = -1, .contexts = 80},
        {.mode = "cl3", .kl = -1, .contexts = 100},
        {.mode = "klt8", .kl = .001, .contexts = 60},
        {.mode = "klt16", .kl = .004, .contexts = 120},
        {.mode = "klt64", .kl = .3, .contexts = 500},
    };
    const sizing_wish w = {.users = users, .max_kl = max_kl};

    return sizing_choose(modes, sizeof modes / sizeof modes[0], &w)->mode;
}

TEST(sizing_takes_the_smallest_divergence_that_holds_all)
{
    CHECK(strcmp(choose(1, 0), "kv16") == 0);
    CHECK(strcmp(choose(10, 0), "kv16") == 0);
    CHECK(strcmp(choose(11, 0), "klt8") == 0);
    CHECK(strcmp(choose(60, 0), "klt8") == 0);
    CHECK(strcmp(choose(61, 0), "klt16") == 0);
    CHECK(strcmp(choose(120, 0), "klt16") == 0);
}

TEST(sizing_takes_what_holds_most_where_nothing_holds_all)
{
    CHECK(strcmp(choose(121, 0), "klt16") == 0);
    CHECK(strcmp(choose(121, .5), "klt64") == 0);
    CHECK(strcmp(choose(501, .5), "klt64") == 0);
    CHECK(strcmp(choose(501, .002), "klt8") == 0);
    CHECK(strcmp(choose(501, .0001), "kv16") == 0);
}

/* An unknown KL is no small one: what is known to be near goes first, however little it holds.
 */
TEST(sizing_never_takes_what_is_not_measured)
{
    const sizing_mode modes[] = {{.mode = "kv16", .contexts = 10},
                                 {.mode = "xq4", .kl = -1, .contexts = 80},
                                 {.mode = "cl3", .kl = -1, .contexts = 100},
                                 {.mode = "klt7.5", .kl = .019, .contexts = 90}};
    sizing_wish w = {.users = 70};

    CHECK(sizing_choose(modes, 4, &w) == &modes[0]);
    CHECK(sizing_is_near(&modes[0], &w) && !sizing_is_near(&modes[1], &w));
    CHECK(!sizing_is_near(&modes[3], &w));
    w.max_kl = .02;
    CHECK(sizing_choose(modes, 4, &w) == &modes[3]);
    CHECK(sizing_is_near(&modes[3], &w) && !sizing_is_near(&modes[2], &w));
    w.users = 95; /* klt7.5 holds most of those that are near */
    CHECK(sizing_choose(modes, 4, &w) == &modes[3]);
}

static void open_embedded(config *c, runtime *r)
{
    char *arguments[] = {"--threads", "2", "--model", "models/seedling-32m-mha-q8_0.gguf"};
    char what[4352];

    CHECK(config_load(c, CONFIG_PLAN, 4, arguments, (char *[]){NULL}) == NULL);
    CHECK(runtime_open_model(r, c, c->model, what, sizeof what) == ERR_OK);
}

TEST(sizing_leaves_nothing_and_takes_no_more_than_there_is)
{
    const uint64_t sizes[] = {UINT64_C(200) << 20, UINT64_C(1) << 30, UINT64_C(100) << 30};
    const char *const modes[] = {"kv16", "xq4", "cl3"};
    config c;
    runtime r;

    open_embedded(&c, &r);
    for (size_t i = 0; i < 9; i++) {
        const sizing_wish w = {.ram_bytes = sizes[i % 3], .tokens = 1500};
        sizing_mode m = {0};
        uint64_t sum;

        strcpy(m.mode, modes[i / 3]);
        CHECK(sizing_measure(&r, &w, &m) == ERR_OK);
        sum = r.weights->weight_bytes + m.sizes.pool_bytes + m.sizes.workspace_bytes +
              m.scratch_bytes + m.sizes.weight_bytes;
        CHECK(sum <= w.ram_bytes && sum > w.ram_bytes / 100 * 97);
        CHECK(m.context_bytes == 12 * m.sizes.block_bytes); /* 1500 tokens in 12 blocks */
        CHECK(m.contexts == m.sizes.blocks / 12);
    }
    runtime_close(&r);
    config_free(&c);
}

TEST(sizing_of_too_little_memory_holds_nothing)
{
    const sizing_wish w = {.ram_bytes = 40 << 20, .tokens = 2048};
    sizing_mode m = {.mode = "xq4"};
    config c;
    runtime r;

    open_embedded(&c, &r);
    CHECK(sizing_measure(&r, &w, &m) == ERR_OK && m.contexts == 0);
    runtime_close(&r);
    config_free(&c);
}

TEST(probe_takes_time_where_keys_are_rebuilt_and_none_where_they_are_read)
{
    double seconds = -1;
    config c;
    runtime r;

    open_embedded(&c, &r);
    CHECK(probe_attach(&r, "kv16", NULL, &seconds) == ERR_OK && seconds == 0);
    CHECK(probe_attach(&r, "xq4", NULL, &seconds) == ERR_OK && seconds > 1e-7 && seconds < 1);
    CHECK(probe_attach(&r, "klt16", NULL, &seconds) == ERR_NOPLAN);
    CHECK(probe_attach(&r, "xq5", NULL, &seconds) == ERR_MODE);
    runtime_close(&r);
    config_free(&c);
}
