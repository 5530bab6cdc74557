/* tool_setup.h - how this server's model calls tools and thinks: worked out once it is loaded.
 */
#ifndef SERVER_API_TOOL_SETUP_H
#define SERVER_API_TOOL_SETUP_H

#include "config/config.h"
#include "engine/tokenizer/tokenizer.h"
#include "server/api/tool_format.h"

enum { TOOL_SETUP_SHOWN = 24 };

struct chat;

typedef struct tool_setup {
    const tool_format *format;
    tool_thoughts thoughts;
    bool silent, twice, whole; /* --reasoning-format: what becomes of thoughts */
    /* Control tokens that marks are made of: they are spelled where marks are looked for. */
    int32_t shown[TOOL_SETUP_SHOWN];
    size_t n_shown;
} tool_setup;

/* Of the template and the options. ERR_INVALID: an option names what there is not; *what is
 * the option. */
err tool_setup_open(tool_setup *out, const config *c, const struct chat *templates,
                    const tokenizer *t, const char **what);

/* What thoughts become by a name of llama-server's: none, auto, deepseek, deepseek-legacy.
 * False: it is none of these. */
bool tool_setup_reasoning(tool_setup *s, const char *name);

/* The `thoughts` of a parser under these rules: open NULL where they stay text. */
tool_thoughts tool_setup_split(const tool_setup *s);

#endif
