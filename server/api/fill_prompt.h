/* fill_prompt.h - a text with a gap as the ids of a prompt, in the tokens with which the model
 * was taught to fill one in.
 *
 *   [REPO name \n  (FILE name \n text)*  FILE name \n]  PREFIX text  SUFFIX text  MIDDLE */
#ifndef SERVER_API_FILL_PROMPT_H
#define SERVER_API_FILL_PROMPT_H

#include "server/api/request.h"

/* The members `prompt` and `suffix` (both texts, either may be missing), `input_extra`
 * ([{filename, text}]: other files, which come first) and `spm_infill` (the suffix before the
 * prefix) become q's only prompt. False: why says what is wrong; UNSUPPORTED where the
 * vocabulary lacks one of these tokens. */
bool fill_prompt_read(request *q, const cJSON *body, const request_env *env, fault *why);

#endif
