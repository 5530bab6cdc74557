/* chat_prompt.h - the messages of a chat request as the ids of a prompt.
 *
 * What a template may see of a message is what the client sent, in the words that templates
 * know: contents are one text, "developer" is "system" to a template that has no such role,
 * arguments of tool calls are values. */
#ifndef SERVER_API_CHAT_PROMPT_H
#define SERVER_API_CHAT_PROMPT_H

#include "server/api/request.h"

/* request_kind.read_prompt of the chat endpoint. */
bool chat_prompt_read(request *q, const cJSON *body, const request_env *env, fault *why);

#endif
