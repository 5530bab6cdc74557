/* messages.h - Anthropic's /v1/messages: a translator of its requests, a writer of its answers.
 *
 * An answer is blocks: texts, thoughts, uses of tools. A request's messages are made of the
 * same blocks, and of the tools' results, which a chat has as messages of their own. */
#ifndef SERVER_API_MESSAGES_H
#define SERVER_API_MESSAGES_H

#include "server/api/completion_kind.h"

/* request_kind's, in messages_read.c; the second for who only counts, and sets no max_tokens.
 */
bool messages_translate(request *q, cJSON **body, const request_env *env, fault *why);
bool messages_translate_count(request *q, cJSON **body, const request_env *env, fault *why);
extern const request_rename messages_renames[];

/* completion_kind's, in messages_write.c. */
void messages_open(text_builder *t, const reply *a);
void messages_write_choice(text_builder *t, reply *a, const reply_slice *s);
void messages_close(text_builder *t, const reply *a, const reply_usage *usage);
void messages_write_events(text_builder *t, reply *a, const reply_slice *s);
void messages_end_events(text_builder *t, reply *a, const reply_usage *usage);

#endif
