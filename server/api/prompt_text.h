/* prompt_text.h - a prompt's ids as the text that they spell, control tokens by their names.
 *
 * A client that posts it to /v1/completions gets the ids again. Any thread. */
#ifndef SERVER_API_PROMPT_TEXT_H
#define SERVER_API_PROMPT_TEXT_H

#include "server/api/request.h"
#include "server/text.h"

/* What id i adds to the text: its piece, less a space that the vocabulary puts before text;
 * nothing for a BOS that no text spelled. */
gguf_text prompt_text_piece(const tokenizer *t, const request_prompt *p, size_t i);

/* The whole, as bytes: not JSON. */
void prompt_text_add(text_builder *to, const tokenizer *t, const request_prompt *p);

#endif
