/* ollama.h - Ollama's /api/chat and /api/generate: translators of their requests, writers of
 * their answers.
 *
 * A stream is lines of JSON, each of the form of a whole answer; the last one is `done`, and
 * has counts and times in nanoseconds. A stream is what is answered unless it is not wanted. */
#ifndef SERVER_API_OLLAMA_H
#define SERVER_API_OLLAMA_H

#include "server/api/completion_kind.h"

/* request_kind's, in ollama_read.c. */
bool ollama_translate_chat(request *q, cJSON **body, const request_env *env, fault *why);
bool ollama_translate_generate(request *q, cJSON **body, const request_env *env, fault *why);
bool ollama_read_prompt(request *q, const cJSON *body, const request_env *env, fault *why);
extern const request_rename ollama_renames[];

/* The name without the tag that every model has there. */
#define OLLAMA_TAG ":latest"

/* "2026-09-01T10:20:30Z", in a buffer that has room for it. */
enum { OLLAMA_TIME_BYTES = 32 };
void ollama_time(char text[OLLAMA_TIME_BYTES], uint64_t unix_seconds);

#endif
