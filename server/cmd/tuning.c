/* tuning.c - options to a codec_tuning and back.
 *
 * An option that no mode in the list looks at is refused: its figures would be those of the
 * default, and be read as if the option did not matter. */
#include "server/cmd/tuning.h"

#include <stdlib.h>
#include <string.h>

/* By codec_accumulator; the words of --cl-accumulator. */
static const char *const accumulators[] = {"fp32", "fp16", "4bit"};

codec_tuning tuning_read(const config *c)
{
    codec_tuning t = {.group = (size_t)atoi(c->group),
                      .kept_layers = (int)c->kept_layers,
                      .rank_percent = (int)c->rank,
                      .base_layer = (int)c->cl_base,
                      .open_loop = c->cl_open_loop};

    while (strcmp(accumulators[t.accumulator], c->cl_accumulator) != 0) t.accumulator++;
    return t;
}

const char *tuning_idle_option(const config *c, const reader_mode *modes, size_t n,
                               const model *m)
{
    enum { PLAN = CODEC_LOOP << 1 /* beside the parts of a tuning */ };
    const codec_tuning t = tuning_read(c), *usual = &codec_usual;
    const struct {
        const char *option;
        unsigned part;
        bool set;
    } rows[] = {{"--group", CODEC_GROUP, t.group != usual->group},
                {"--kept-layers", CODEC_KEPT, t.kept_layers != usual->kept_layers},
                {"--rank", CODEC_RANK, t.rank_percent != usual->rank_percent},
                {"--cl-accumulator", CODEC_LOOP, t.accumulator != usual->accumulator},
                {"--cl-base", CODEC_LOOP, t.base_layer != usual->base_layer},
                {"--cl-open-loop", CODEC_LOOP, t.open_loop != usual->open_loop},
                {"--predict", PLAN, *c->predict != 0}};
    unsigned used = 0;

    for (size_t i = 0; i < n; i++)
        used |= codec_uses(modes[i].name, m) | (codec_ratio(modes[i].name) > 0 ? PLAN : 0);
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
        if (rows[i].set && !(used & rows[i].part)) return rows[i].option;
    return NULL;
}

void tuning_add_json(text_builder *t, const codec_tuning *tuning)
{
    text_addf(t, "{\"group\":%zu,\"kept_layers\":%d,\"rank\":%d", tuning->group,
              tuning->kept_layers, tuning->rank_percent);
    text_addf(t, ",\"cl_accumulator\":\"%s\",\"cl_base\":%d,\"cl_open_loop\":%s}",
              accumulators[tuning->accumulator], tuning->base_layer,
              tuning->open_loop ? "true" : "false");
}
