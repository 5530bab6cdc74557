/* reply_prompt.h - what an answer says of its prompt: its text, and what the model thought of
 * its tokens. Loop thread only. */
#ifndef SERVER_API_REPLY_PROMPT_H
#define SERVER_API_REPLY_PROMPT_H

#include "server/api/reply.h"

/* The prompt's text, escaped, within the quotes of a JSON string. */
void reply_prompt_add_text(text_builder *t, const reply *a);

/* `,"prompt_logprobs":[null,{"464":{"logprob":..,"rank":..,"decoded_token":..},..},..]`, where
 * they were asked for: vLLM's form, by ids. */
void reply_prompt_add_logprobs(text_builder *t, const reply *a);

#endif
