/* template.h - a conversation to token ids, as the model was trained to see it.
 *
 * How a family writes one is a row of templates.def, found by what the file's own template
 * holds. Text between control tokens is joined and encoded plainly, so what a user writes
 * can never become a control token, and the ids equal those of the whole rendered text
 * whenever the user wrote none. */
#ifndef ENGINE_TOKENIZER_TEMPLATE_H
#define ENGINE_TOKENIZER_TEMPLATE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "engine/err.h"
#include "engine/tokenizer/tokenizer.h"

typedef struct template_message {
    const char *role; /* "system", "user", "assistant", "tool": checked by the caller */
    const char *content;
    size_t content_bytes;
} template_message;

/* The row's name, or NULL: the file's template is not one of the table's. */
const char *template_name(const tokenizer *t);

/* Encode n messages, BOS first where the tokenizer wants one, and open the assistant's
 * turn if `generate`. out->most and out->cancel are the caller's; out->at is malloc'd, and his
 * to free where there is no error.
 * Errors: NOMEM, TEMPLATE (no row fits the file's template and vocabulary), and those of
 * tokenizer_append. */
err template_encode(const tokenizer *t, const template_message *messages, size_t n,
                    bool generate, token_ids *out);

#endif
