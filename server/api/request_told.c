/* request_told.c - how many answers there are, and what is told of them beside their text: n,
 * best_of, logprobs, echo, prompt_logprobs.
 *
 *                       logprobs        of the prompt's tokens, too
 *   /v1/completions     a number        with echo; or prompt_logprobs
 *   chat                a flag, and     prompt_logprobs
 *                       top_logprobs
 *
 * A prompt whose tokens are told of is computed anew: what the cache has of it are keys and
 * values, and no logits. */
#include "server/api/request.h"

/* best_of answers are made to a prompt, and the n likeliest told. 0 and 1 are words for none.
 */
bool request_read_counts(request *q, const cJSON *body, fault *why)
{
    int64_t n = 1, best_of = 0;

    if (!json_get_int(body, "n", 1, REQUEST_MAX_CHOICES, &n, why)) return false;
    if (!json_get_int(body, "best_of", 0, REQUEST_MAX_CHOICES, &best_of, why)) return false;
    q->told = (size_t)n;
    q->n = (size_t)(best_of > 1 ? best_of : n);
    q->in.scored = q->n > q->told;
    if (q->n >= q->told) return true;
    return fault_refuse(why, ERR_INVALID, "best_of", "'best_of' must not be less than 'n'.");
}

/* -1: none; 0: of the sampled token alone. */
static bool read_chat_logprobs(int *top, const cJSON *body, fault *why)
{
    bool wanted = false;
    int64_t n = 0;

    if (!json_get_bool(body, "logprobs", &wanted, why)) return false;
    if (!json_get_int(body, "top_logprobs", 0, REQUEST_MAX_TOP, &n, why)) return false;
    if (!wanted && json_get(body, "top_logprobs") && n > 0)
        return fault_refuse(why, ERR_INVALID, "top_logprobs",
                            "'top_logprobs' needs 'logprobs' to be true.");
    *top = wanted ? (int)n : -1;
    return true;
}

static bool read_logprobs(request *q, bool chat, const cJSON *body, fault *why)
{
    int64_t n = -1;

    if (chat) return read_chat_logprobs(&q->in.top, body, why);
    if (!json_get_int(body, "logprobs", 0, REQUEST_MAX_TOP, &n, why)) return false;
    q->in.top = (int)n;
    return true;
}

static int larger(int a, int b)
{
    return a > b ? a : b;
}

bool request_read_told(request *q, bool chat, const cJSON *body, fault *why)
{
    int64_t n = -1;

    if (!read_logprobs(q, chat, body, why) || !json_get_bool(body, "echo", &q->echo, why) ||
        !json_get_int(body, "prompt_logprobs", 0, REQUEST_MAX_TOP, &n, why))
        return false;
    q->prompt_logprobs = (int)n;
    q->in.reads_prompt = n >= 0 || (q->echo && q->in.top >= 0);
    q->in.prompt_top = larger(0, larger((int)n, q->echo ? q->in.top : 0));
    return true;
}

/* What is known only when all is computed cannot be streamed. */
bool request_check_told(const request *q, fault *why)
{
    const char *name = q->in.scored              ? "best_of"
                       : q->prompt_logprobs >= 0 ? "prompt_logprobs"
                                                 : "";

    if (!q->stream || !name[0]) return true;
    return fault_refuse(why, ERR_INVALID, name, "An answer with '%s' cannot be streamed.",
                        name);
}
