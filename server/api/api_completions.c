/* api_completions.c - POST /v1/completions: continue a prompt, as text or token ids.
 *
 * The older wire format: an event has the form of a whole answer, so one function writes both.
 */
#include <stdlib.h>
#include <string.h>

#include "server/api/completion.h"
#include "server/api/fill_prompt.h"
#include "server/api/prompt_text.h"
#include "server/api/reply_prompt.h"
#include "server/api/routes.h"

enum { DEFAULT_MAX_TOKENS = 16 };

/* --- the prompt --- */

/* The next prompt of q, with room for so many ids. NULL: no memory. */
static request_prompt *add_prompt(request *q, size_t n, fault *why)
{
    request_prompt *p = &q->prompts[q->n_prompts++];

    p->ids = calloc(n + 1, sizeof *p->ids);
    if (!p->ids) fault_fail(why, ERR_NOMEM);
    return p->ids ? p : NULL;
}

/* Control tokens that the text spells are recognised: whoever posts here writes the template
 * himself, as for llama-server. A BOS that he wrote is not added again. */
static bool read_text(request *q, const char *text, const request_env *env, fault *why)
{
    const size_t n = strlen(text), most = tokenizer_most_ids(env->tokens, n);
    const int32_t bos = tokenizer_bos(env->tokens);
    token_ids ids = request_room(env);
    request_prompt *p;
    err e;

    if (ids.most > most) ids.most = most;
    p = add_prompt(q, ids.most, why);
    if (!p) return false;
    ids.at = p->ids;
    e = tokenizer_append(env->tokens, text, n, TOKENIZER_SPECIALS, &ids);
    if (e != ERR_OK) return request_refuse_text(env, e, "prompt", why);
    p->n = ids.n;
    p->began = tokenizer_adds_bos(env->tokens) && !(p->n && p->ids[0] == bos);
    if (!p->began) return true;
    memmove(p->ids + 1, p->ids, p->n * sizeof *p->ids);
    p->ids[0] = bos;
    p->n++;
    return true;
}

/* Ids are taken as they are: whoever sends them has placed BOS where it belongs. */
static bool read_ids(request *q, const cJSON *list, const request_env *env, fault *why)
{
    const int64_t last = (int64_t)tokenizer_size(env->tokens) - 1;
    request_prompt *p = add_prompt(q, (size_t)cJSON_GetArraySize(list), why);
    const cJSON *item;

    if (!p) return false;
    cJSON_ArrayForEach (item, list) {
        if (!json_is_int(item, 0, last))
            return fault_refuse(why, ERR_INVALID, "prompt",
                                "A token id in 'prompt' must be an integer from 0 to %lld.",
                                (long long)last);
        p->ids[p->n++] = (int32_t)item->valuedouble;
    }
    return true;
}

/* A string, or an array of token ids. */
static bool read_one(request *q, const cJSON *prompt, const request_env *env, fault *why)
{
    if (cJSON_IsString(prompt)) return read_text(q, prompt->valuestring, env, why);
    if (cJSON_IsArray(prompt)) return read_ids(q, prompt, env, why);
    return fault_refuse(
        why, ERR_INVALID, "prompt",
        "'prompt' must be a string, an array of token ids, or an array of such.");
}

/* A suffix is what the answer is to lead up to; an empty one asks for nothing. */
static bool is_filled(const cJSON *body)
{
    const cJSON *suffix = json_get(body, "suffix");

    return suffix && !(cJSON_IsString(suffix) && !suffix->valuestring[0]);
}

/* string, [int]: one prompt. [string], [[int]]: one or several. */
static bool read_prompt(request *q, const cJSON *body, const request_env *env, fault *why)
{
    const cJSON *prompt = json_get(body, "prompt");
    const cJSON *first = cJSON_IsArray(prompt) ? prompt->child : NULL, *item;

    if (!prompt) return fault_refuse(why, ERR_REQUIRED, "prompt", "'prompt' is required.");
    if (is_filled(body)) return fill_prompt_read(q, body, env, why);
    if (!first || cJSON_IsNumber(first))
        return request_make_room(q, 1, why) && read_one(q, prompt, env, why);
    if (!request_make_room(q, (size_t)cJSON_GetArraySize(prompt), why)) return false;
    cJSON_ArrayForEach (item, prompt)
        if (!read_one(q, item, env, why)) return false;
    return true;
}

/* --- logprobs: four arrays side by side --- */

/* A token that is told: of the prompt, where that is echoed, or of the answer. */
typedef struct told {
    int32_t id;
    gguf_text shown; /* what it adds to the text */
    float logprob;
    const sample_top *best; /* [in.top] */
    bool known;             /* the first token of a prompt has no logprob: nothing is before */
} told;

/* Tokens of the prompt in front of those of the slice. */
static size_t echoed(const reply *a, const reply_slice *s)
{
    return a->request->echo && s->first ? a->generation->in.n_ids : 0;
}

static size_t count_told(const reply *a, const reply_slice *s)
{
    return echoed(a, s) + s->token_to - s->token_from;
}

static told told_at(const reply *a, const reply_slice *s, size_t i)
{
    const generation *g = a->generation;
    const size_t of_prompt = echoed(a, s), k = s->token_from + i - of_prompt;

    if (i < of_prompt)
        return (told){.id = g->in.ids[i],
                      .shown = prompt_text_piece(g->tokenizer, a->prompt, i),
                      .logprob = g->out.prompt[i].logprob,
                      .best = g->out.prompt_best + i * (size_t)g->in.prompt_top,
                      .known = i > 0};
    return (told){.id = g->out.tokens[k].id,
                  .shown = generation_piece(g, k),
                  .logprob = reply_logprob(a, k),
                  .best = g->out.top ? g->out.top + k * (size_t)g->in.top : NULL,
                  .known = true};
}

/* Characters of some text: bytes that begin one. */
static size_t count_characters(gguf_text shown)
{
    size_t n = 0;

    for (size_t i = 0; i < shown.n; i++) n += ((unsigned char)shown.at[i] & 0xc0) != 0x80;
    return n;
}

static void add_name(text_builder *t, const reply *a, const told *of)
{
    reply_add_token(t, a, of->id);
}

static void add_logprob(text_builder *t, const reply *a, const told *of)
{
    (void)a;
    if (of->known)
        text_add_float(t, of->logprob);
    else
        text_add_string(t, "null");
}

static void add_pair(text_builder *t, const reply *a, int32_t id, float logprob)
{
    reply_add_token(t, a, id);
    text_add_string(t, ":");
    text_add_float(t, logprob);
}

/* The k best, and the token itself if it is not among them. */
static void add_best(text_builder *t, const reply *a, const told *of)
{
    const size_t k = of->known ? (size_t)a->generation->in.top : 0;
    bool listed = !of->known;

    text_add_string(t, of->known ? "{" : "null");
    for (size_t j = 0; j < k; j++) {
        if (j) text_add_string(t, ",");
        add_pair(t, a, of->best[j].id, of->best[j].logprob);
        listed |= of->best[j].id == of->id;
    }
    if (!listed && k) text_add_string(t, ",");
    if (!listed) add_pair(t, a, of->id, of->logprob);
    if (of->known) text_add_string(t, "}");
}

/* `"name":[..]` of all tokens that the slice tells. */
static void add_array(text_builder *t, const reply *a, const reply_slice *s, const char *name,
                      void (*add)(text_builder *t, const reply *a, const told *of))
{
    const size_t n = count_told(a, s);

    text_addf(t, "\"%s\":[", name);
    for (size_t i = 0; i < n; i++) {
        const told of = told_at(a, s, i);

        if (i) text_add_string(t, ",");
        add(t, a, &of);
    }
    text_add_string(t, "],");
}

/* text_offset counts characters over the whole answer, so a stream carries the sum from event
 * to event in the reply. */
static void add_logprobs(text_builder *t, reply *a, const reply_slice *s)
{
    const size_t n = count_told(a, s);

    text_add_string(t, "{");
    add_array(t, a, s, "tokens", add_name);
    add_array(t, a, s, "token_logprobs", add_logprob);
    add_array(t, a, s, "top_logprobs", add_best);
    text_add_string(t, "\"text_offset\":[");
    for (size_t i = 0; i < n; i++) {
        text_addf(t, "%s%zu", i ? "," : "", a->characters);
        a->characters += count_characters(told_at(a, s, i).shown);
    }
    text_add_string(t, "]}");
}

/* --- answers --- */

static const char object_name[] = "text_completion";

/* The same in an answer and in an event. */
static void write_choice(text_builder *t, reply *a, const reply_slice *s)
{
    text_addf(t, "{\"index\":%zu,\"text\":\"", a->index);
    if (a->request->echo && s->first) reply_prompt_add_text(t, a);
    reply_add_escaped(t, s, PIECE_TEXT);
    text_add_string(t, "\",\"logprobs\":");
    if (a->generation->in.top >= 0)
        add_logprobs(t, a, s);
    else
        text_add_string(t, "null");
    text_add_string(t, ",");
    reply_add_finish(t, a, s);
    if (s->first) reply_prompt_add_logprobs(t, a);
    if (s->first) reply_add_prompt_ids(t, a);
    reply_add_token_ids(t, a, s);
    text_add_string(t, "}");
}

static void open_answer(text_builder *t, const reply *a)
{
    reply_open(t, a, object_name);
    text_add_string(t, ",\"choices\":[");
}

static void write_events(text_builder *t, reply *a, const reply_slice *s)
{
    reply_open_event(t, a, object_name);
    write_choice(t, a, s);
    text_add_string(t, "]");
    reply_close_event(t, a, s);
}

static void end_events(text_builder *t, reply *a, const reply_usage *usage)
{
    reply_end_events(t, a, object_name, usage);
}

const completion_kind api_completions_kind = {
    .request = {.default_max_tokens = DEFAULT_MAX_TOKENS, .read_prompt = read_prompt},
    .id_prefix = "cmpl-",
    .prompt_param = "prompt",
    .stream_type = "text/event-stream",
    .open_answer = open_answer,
    .write_choice = write_choice,
    .close_answer = reply_close,
    .write_events = write_events,
    .end_events = end_events,
};

void api_completions(http_request *r)
{
    completion_start(r, &api_completions_kind);
}
