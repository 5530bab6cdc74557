/* tuning.h - what the options of `perplexity` ask of the codecs, for ablations. */
#ifndef SERVER_CMD_TUNING_H
#define SERVER_CMD_TUNING_H

#include <stddef.h>

#include "config/config.h"
#include "server/cmd/evaluate.h"
#include "server/text.h"
#include "xcache/codec/codec.h"

/* What --group, --kept-layers, --rank and --cl-... say. */
codec_tuning tuning_read(const config *c);

/* The first of these options (and of --predict) that was set and that none of the modes has
 * with that model: "--rank"; NULL: all count. */
const char *tuning_idle_option(const config *c, const reader_mode *modes, size_t n,
                               const model *m);

/* The same as a JSON object. */
void tuning_add_json(text_builder *t, const codec_tuning *tuning);

#endif
