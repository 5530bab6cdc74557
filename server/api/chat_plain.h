/* chat_plain.h - tools for templates that know none.
 *
 * A conversation in which tools are called is rewritten in messages that every template has:
 * the tools are described in the system message, a call is a part of what the assistant said,
 * and a result of what the user says. The form is that of `generic` in tool_formats.def. */
#ifndef SERVER_API_CHAT_PLAIN_H
#define SERVER_API_CHAT_PLAIN_H

#include <cjson/cJSON.h>

#include "engine/err.h"
#include "engine/template/chat.h"

/* The messages anew, where the template lacks a word for something that they or the tools
 * (an array, or NULL: none) have; else NULL. What is not understood stays as it is. The caller
 * frees. ERR_NOMEM. */
err chat_plain_write(const chat *c, const cJSON *messages, const cJSON *tools, cJSON **out);

#endif
