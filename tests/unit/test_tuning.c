/* test_tuning.c - the options of ablations: what they say, and which have nothing to change. */
#include "server/cmd/tuning.h"

#include <stdlib.h>
#include <string.h>

#include "engine/kern/cpu.h"
#include "engine/model/model_load.h"
#include "tests/test.h"
#include "tests/tiny.h"

static config options(int argc, char **argv)
{
    config c;

    CHECK(config_load(&c, CONFIG_PERPLEXITY, argc, argv, NULL) == NULL);
    return c;
}

TEST(tuning_is_the_usual_one_without_options)
{
    config c = options(0, NULL);
    const codec_tuning t = tuning_read(&c), *usual = &codec_usual;

    CHECK(t.group == usual->group && t.kept_layers == usual->kept_layers);
    CHECK(t.rank_percent == usual->rank_percent && t.base_layer == usual->base_layer);
    CHECK(t.accumulator == usual->accumulator && t.open_loop == usual->open_loop);
    config_free(&c);
}

TEST(tuning_is_what_the_options_say_and_is_told_in_their_words)
{
    char *argv[] = {"--group=32",  "--kept-layers=1", "--rank=50", "--cl-accumulator=4bit",
                    "--cl-base=0", "--cl-open-loop"};
    config c = options(6, argv);
    const codec_tuning t = tuning_read(&c);
    text_builder b = {0};
    char *text;

    CHECK(t.group == 32 && t.kept_layers == 1 && t.rank_percent == 50);
    CHECK(t.accumulator == CODEC_4BIT && t.base_layer == 0 && t.open_loop);
    tuning_add_json(&b, &t);
    text = text_take(&b, NULL);
    CHECK(strcmp(text,
                 "{\"group\":32,\"kept_layers\":1,\"rank\":50,"
                 "\"cl_accumulator\":\"4bit\",\"cl_base\":0,\"cl_open_loop\":true}") == 0);
    free(text);
    config_free(&c);
}

/* The idle option of this command line, for two modes and the tiny model (every query head has
 * keys of its own); "" if there is none. */
static const char *idle(char *option, const char *first, const char *second)
{
    const reader_mode modes[] = {{first, NULL}, {second, NULL}};
    tiny *t = tiny_new();
    config c = options(1, &option);
    const char *name;
    gguf *file;
    model *m;
    size_t n;
    unsigned char *bytes = tiny_write(t, &n, NULL, NULL);

    tiny_free(t);
    CHECK(gguf_open_memory(&file, bytes, n, NULL) == ERR_OK);
    CHECK(model_open(&m, file, 0, NULL) == ERR_OK);
    name = tuning_idle_option(&c, modes, 2, m);
    config_free(&c);
    model_close(m);
    gguf_close(file);
    free(bytes);
    return name ? name : "";
}

TEST(tuning_options_that_change_no_mode_are_named)
{
    static const struct {
        const char *option, *first, *second, *idle;
    } rows[] = {{"--group=64", "kv16", "xq4", ""},
                {"--group=64", "kv16", "klt16", "--group"},
                {"--group=128", "kv16", "klt16", ""}, /* the default asks for nothing */
                {"--kept-layers=0", "xq4", "kivi3", ""},
                {"--kept-layers=0", "xq4", "kivi8", "--kept-layers"},
                {"--rank=50", "xq4", "cl2", "--rank"}, /* x itself is stored */
                {"--cl-base=1", "xq4", "cl4", ""},
                {"--cl-base=1", "xq4", "kivi4", "--cl-base"},
                {"--cl-accumulator=fp16", "xq4", "kivi4", "--cl-accumulator"},
                {"--cl-open-loop", "klt16", "kivi4", "--cl-open-loop"},
                {"--predict=none", "klt16", "kivi4", ""},
                {"--predict=none", "cl2", "kivi4", "--predict"},
                {"--group=64", "xq5", "kv16", ""}}; /* the mode is at fault */

    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
        CHECK(strcmp(idle((char *)(uintptr_t)rows[i].option, rows[i].first, rows[i].second),
                     rows[i].idle) == 0);
}
