/* chat_setup.h - how a server writes conversations: the file's templates, or those that options
 * name, and what they are always run with. */
#ifndef SERVER_CHAT_SETUP_H
#define SERVER_CHAT_SETUP_H

#include <stdbool.h>

#include <cjson/cJSON.h>

#include "config/config.h"
#include "engine/err.h"
#include "engine/gguf/gguf.h"
#include "engine/tokenizer/tokenizer.h"
#include "server/fault.h"

struct chat;

typedef struct chat_setup {
    struct chat *templates;
    cJSON *kwargs; /* --chat-template-kwargs: an object, or NULL */
    bool plain;    /* the file's cannot be used, and --plain-chat has put lines in its place */
    char file_problem[400]; /* what is wrong with the file's, if it is asked; empty: nothing */
} chat_setup;

/* Read the options and the file g, whose vocabulary is t; both outlive *out. The caller closes.
 * Errors: NOMEM; OPEN, TEMPLATE, JSON: an option is wrong, why says which and how. */
err chat_setup_open(chat_setup *out, const config *c, const gguf *g, const tokenizer *t,
                    fault *why);
void chat_setup_close(chat_setup *s);

#endif
