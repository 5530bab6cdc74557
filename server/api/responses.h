/* responses.h - /v1/responses: a translator of its requests, a writer of its answers.
 *
 * A conversation is a list of items (messages, calls of functions, their outputs, thoughts),
 * which is longer than a chat's list of messages: what belongs to one turn of the assistant is
 * several items. */
#ifndef SERVER_API_RESPONSES_H
#define SERVER_API_RESPONSES_H

#include "server/api/completion_kind.h"

/* request_kind's, in responses_read.c. */
bool responses_translate(request *q, cJSON **body, const request_env *env, fault *why);
bool responses_read_prompt(request *q, const cJSON *body, const request_env *env, fault *why);
extern const request_rename responses_renames[];

/* In responses_words.c: the members that need no conversation. */
struct translation;
bool responses_translate_words(const struct translation *t, request *q);

/* completion_kind's, in responses_write.c. */
void responses_open(text_builder *t, const reply *a);
void responses_write_choice(text_builder *t, reply *a, const reply_slice *s);
void responses_close(text_builder *t, const reply *a, const reply_usage *usage);
void responses_write_events(text_builder *t, reply *a, const reply_slice *s);
void responses_fail_events(text_builder *t, reply *a, const char *code, const char *message);
void responses_end_events(text_builder *t, reply *a, const reply_usage *usage);

/* The items of an answer, a JSON array. */
void responses_add_output(text_builder *t, const reply *a);

#endif
