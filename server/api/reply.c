/* reply.c - the words that both generation endpoints use.
 *
 * Written by hand, not as a cJSON tree: an event is made for every token, and a tree would be a
 * dozen allocations each. Numbers and our own words need no escaping; the rest goes through
 * text_add_json. */
#include "server/api/reply.h"

#include <string.h>

#include "engine/utf8.h"

void reply_open(text_builder *t, const reply *a, const char *object)
{
    text_addf(t, "{\"id\":\"%s\",\"object\":\"%s\",\"created\":%llu,\"model\":", a->id, object,
              (unsigned long long)a->created);
    text_add_json_string(t, a->model);
    text_add_string(t, ",\"system_fingerprint\":\"xquantd-" XQUANTD_VERSION "\"");
}

void reply_open_event(text_builder *t, const reply *a, const char *object)
{
    text_add_string(t, "data: ");
    reply_open(t, a, object);
    text_add_string(t, ",\"choices\":[");
}

/* With include_usage every event has the member, and the last one its value: as the original
 * does. */
void reply_close_event(text_builder *t, const reply *a, const reply_slice *s)
{
    if (s->last && !a->request->include_usage) {
        const reply_usage own = reply_usage_of(a);

        text_add_string(t, ",");
        reply_add_timings(t, &own);
    }
    text_add_string(t, a->request->include_usage ? ",\"usage\":null}\n\n" : "}\n\n");
}

void reply_end_events(text_builder *t, const reply *a, const char *object,
                      const reply_usage *usage)
{
    if (a->request->include_usage) {
        reply_open_event(t, a, object);
        text_add_string(t, "],");
        reply_add_usage(t, usage);
        text_add_string(t, ",");
        reply_add_timings(t, usage);
        text_add_string(t, "}\n\n");
    }
    text_add_string(t, "data: [DONE]\n\n");
}

void reply_close(text_builder *t, const reply *a, const reply_usage *usage)
{
    (void)a;
    text_add_string(t, "],");
    reply_add_usage(t, usage);
    text_add_string(t, ",");
    reply_add_timings(t, usage);
    text_add_string(t, "}");
}

void reply_add_usage(text_builder *t, const reply_usage *u)
{
    text_addf(
        t,
        "\"usage\":{\"prompt_tokens\":%zu,\"completion_tokens\":%zu,"
        "\"total_tokens\":%zu,\"prompt_tokens_details\":{\"cached_tokens\":%zu,"
        "\"recomputed_tokens\":%zu},\"completion_tokens_details\":{\"reasoning_tokens\":%zu}}",
        u->prompt, u->completion, u->prompt + u->completion, u->cached, u->rewound,
        u->reasoning);
}

/* A generation that fills the cache alone has no first token: then all of it is the prompt's.
 */
reply_usage reply_usage_of(const reply *a)
{
    const generation_out *out = &a->generation->out;
    const uint64_t first = out->first_ns ? out->first_ns : out->ended_ns;

    return (reply_usage){.prompt = a->generation->in.n_ids,
                         .cached = out->cached_tokens,
                         .completion = out->n_tokens,
                         .rewound = out->rewound_tokens,
                         .reasoning = a->thoughts,
                         .prompt_ns = first - out->started_ns,
                         .completion_ns = out->ended_ns - first};
}

/* `"x_n":..,"x_ms":..` and both by the other; 0 where nothing can be divided. */
static void add_pace(text_builder *t, const char *what, size_t n, uint64_t ns)
{
    const double ms = (double)ns / 1e6, count = (double)n;

    text_addf(t,
              "\"%s_n\":%zu,\"%s_ms\":%.3f,\"%s_per_token_ms\":%.3f,"
              "\"%s_per_second\":%.3f",
              what, n, what, ms, what, n ? ms / count : 0, what, ns ? count / ms * 1e3 : 0);
}

void reply_add_timings(text_builder *t, const reply_usage *u)
{
    text_addf(t, "\"timings\":{\"cache_n\":%zu,", u->cached);
    add_pace(t, "prompt", u->prompt - u->cached, u->prompt_ns);
    text_add_string(t, ",");
    add_pace(t, "predicted", u->completion, u->completion_ns);
    text_add_string(t, "}");
}

void reply_add_prompt_ids(text_builder *t, const reply *a)
{
    const generation_in *in = &a->generation->in;

    if (!a->request->return_token_ids) return;
    text_add_string(t, ",\"prompt_token_ids\":[");
    for (size_t i = 0; i < in->n_ids; i++) text_addf(t, "%s%d", i ? "," : "", in->ids[i]);
    text_add_string(t, "]");
}

void reply_add_token_ids(text_builder *t, const reply *a, const reply_slice *s)
{
    const generation_token *tokens = a->generation->out.tokens;

    if (!a->request->return_token_ids) return;
    text_add_string(t, ",\"token_ids\":[");
    for (size_t i = s->token_from; i < s->token_to; i++)
        text_addf(t, "%s%d", i > s->token_from ? "," : "", tokens[i].id);
    text_add_string(t, "]");
}

/* Who calls a tool has stopped for it, whatever token said so. */
const char *reply_finish(const reply *a)
{
    if (a->generation->out.finish == FINISH_STOP && a->calls) return "tool_calls";
    return generation_finish_name(a->generation->out.finish);
}

void reply_add_finish(text_builder *t, const reply *a, const reply_slice *s)
{
    text_add_string(t, "\"finish_reason\":");
    text_add_json_string(t, s->last ? reply_finish(a) : NULL);
    text_add_string(t, ",\"stop_reason\":");
    text_add_json_string(t, s->last ? a->generation->out.stop : NULL);
}

/* No piece cuts a character, so each is valid UTF-8 by itself, and so is its JSON. */
void reply_add_escaped(text_builder *t, const reply_slice *s, piece_kind kind)
{
    for (size_t i = 0; i < s->n_pieces; i++)
        if (s->pieces[i].kind == kind) text_add_escaped(t, s->pieces[i].text, s->pieces[i].len);
}

void reply_add_text(text_builder *t, const reply_slice *s, piece_kind kind)
{
    text_add_string(t, "\"");
    reply_add_escaped(t, s, kind);
    text_add_string(t, "\"");
}

/* Byte tokens are half characters. The escaped form is the original's, for clients that put
 * them together again. */
void reply_add_token(text_builder *t, const reply *a, int32_t id)
{
    const gguf_text shown = tokenizer_piece(a->generation->tokenizer, id, true);

    if (utf8_valid(shown.at, shown.n)) {
        text_add_json(t, shown.at, shown.n);
        return;
    }
    text_add_string(t, "\"bytes:");
    for (size_t i = 0; i < shown.n; i++)
        text_addf(t, "\\\\x%02x", (unsigned)(unsigned char)shown.at[i]);
    text_add_string(t, "\"");
}

float reply_logprob(const reply *a, size_t i)
{
    const generation *g = a->generation;
    const size_t top = g->in.top > 0 ? (size_t)g->in.top : 0;

    for (size_t k = 0; k < top; k++)
        if (g->out.top[i * top + k].id == g->out.tokens[i].id)
            return g->out.top[i * top + k].logprob;
    return g->out.tokens[i].logprob;
}

/* --- logprobs: a token with its bytes --- */

/* A control token has no bytes that the answer's text would show. */
static void add_bytes(text_builder *t, const reply *a, int32_t id)
{
    const gguf_text shown = tokenizer_piece(a->generation->tokenizer, id, false);

    if (shown.n == 0) {
        text_add_string(t, "null");
        return;
    }
    for (size_t i = 0; i < shown.n; i++)
        text_addf(t, "%c%u", i ? ',' : '[', (unsigned)(unsigned char)shown.at[i]);
    text_add_string(t, "]");
}

/* Without the closing brace. */
static void open_entry(text_builder *t, const reply *a, int32_t id, float logprob)
{
    text_add_string(t, "{\"token\":");
    reply_add_token(t, a, id);
    text_add_string(t, ",\"logprob\":");
    text_add_float(t, logprob);
    text_add_string(t, ",\"bytes\":");
    add_bytes(t, a, id);
}

/* The sampled token and, beside it, the best: it need not be among them. */
void reply_add_logprob(text_builder *t, const reply *a, size_t i)
{
    const generation *g = a->generation;
    const size_t k = (size_t)g->in.top;

    open_entry(t, a, g->out.tokens[i].id, reply_logprob(a, i));
    text_add_string(t, ",\"top_logprobs\":[");
    for (size_t j = 0; j < k; j++) {
        const sample_top *best = &g->out.top[i * k + j];

        if (j) text_add_string(t, ",");
        open_entry(t, a, best->id, best->logprob);
        text_add_string(t, "}");
    }
    text_add_string(t, "]}");
}
