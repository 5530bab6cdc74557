/* template.h - a conversation to token ids, as the model was trained to see it.
 *
 * ChatML is built in: <|im_start|>role\ncontent<|im_end|>\n, then an opened assistant
 * turn. Text between control tokens is joined and encoded plainly, so what a user writes
 * can never become a control token, and the ids equal those of the whole rendered text
 * whenever the user wrote none. */
#ifndef ENGINE_TEMPLATE_H
#define ENGINE_TEMPLATE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "engine/err.h"
#include "engine/tokenizer.h"

typedef struct template_message {
    const char *role; /* "system", "user", "assistant", "tool" ...: checked by the caller */
    const char *content;
    size_t content_bytes;
} template_message;

/* Encode n messages, BOS first where the tokenizer wants one, and open the assistant's
 * turn if `generate`. *ids is malloc'd; the caller frees it.
 * Errors: NOMEM, TEMPLATE (the vocabulary has no ChatML control tokens). */
err template_encode(const tokenizer *t, const template_message *messages, size_t n,
                    bool generate, int32_t **ids, size_t *count);

#endif
