/* api_ollama.c - Ollama's endpoints: answers as lines, and what is said of the model.
 *
 *   POST /api/chat, /api/generate        {model, created_at, message | response, done: false}
 * ..
 *                                        {.., done: true, done_reason, counts, durations}
 *   GET  /api/tags, /api/ps, POST /api/show, GET /api/version
 *
 * A call of a tool is said when it is whole: its arguments are values there. */
#include "server/api/ollama.h"

#include <string.h>
#include <time.h>

#include "engine/clock.h"
#include "engine/template/chat.h"
#include "server/api/blocks.h"
#include "server/api/chat_prompt.h"
#include "server/api/completion.h"
#include "server/api/routes.h"
#include "server/api/server.h"
#include "server/api/text_call.h"
#include "server/http/answer.h"

/* --- a line --- */

static void open_line(text_builder *t, const reply *a)
{
    char now[OLLAMA_TIME_BYTES];

    ollama_time(now, (uint64_t)time(NULL));
    text_add_string(t, "{\"model\":");
    text_add_json_string(t, a->model);
    text_addf(t, ",\"created_at\":\"%s\"", now);
}

/* The calls among blocks [from, to), which are whole. */
static void add_calls(text_builder *t, const blocks *b, size_t from, size_t to)
{
    const char *before = ",\"tool_calls\":[";

    for (size_t i = from; i < to; i++) {
        if (b->at[i].kind != PIECE_CALL) continue;
        text_addf(t, "%s{\"function\":{\"name\":", before);
        text_add_json_string(t, b->at[i].name);
        text_add_string(t, ",\"arguments\":");
        blocks_add_arguments(t, &b->at[i]);
        text_add_string(t, "}}");
        before = ",";
    }
    if (before[1] == '\0') text_add_string(t, "]");
}

static bool has_kind(const reply_slice *s, piece_kind kind)
{
    for (size_t i = 0; i < s->n_pieces; i++)
        if (s->pieces[i].kind == kind) return true;
    return false;
}

/* Durations are of the clock, in nanoseconds; a model that stays loaded takes none to load. */
static void add_done(text_builder *t, const reply *a, const reply_usage *u)
{
    const generation_out *out = &a->generation->out;
    const uint64_t first = out->first_ns ? out->first_ns : out->ended_ns;

    text_addf(
        t,
        ",\"done\":true,\"done_reason\":\"%s\",\"total_duration\":%llu,\"load_duration\":0,"
        "\"prompt_eval_count\":%zu,\"prompt_eval_duration\":%llu,\"eval_count\":%zu,"
        "\"eval_duration\":%llu}",
        generation_finish_name(out->finish), (unsigned long long)(clock_ns() - a->arrived_ns),
        u->prompt, (unsigned long long)(first - out->started_ns), u->completion,
        (unsigned long long)(out->ended_ns - first));
}

/* --- what a dialect's two endpoints differ in: where the text is --- */

static void add_message(text_builder *t, const reply *a, const reply_slice *s, size_t from,
                        size_t to)
{
    text_add_string(t, ",\"message\":{\"role\":\"assistant\",\"content\":");
    reply_add_text(t, s, PIECE_TEXT);
    if (has_kind(s, PIECE_REASONING)) {
        text_add_string(t, ",\"thinking\":");
        reply_add_text(t, s, PIECE_REASONING);
    }
    add_calls(t, a->blocks, from, to);
    text_add_string(t, "}");
}

static void add_response(text_builder *t, const reply *a, const reply_slice *s, size_t from,
                         size_t to)
{
    (void)a, (void)from, (void)to;
    text_add_string(t, ",\"response\":");
    reply_add_text(t, s, PIECE_TEXT);
    if (!has_kind(s, PIECE_REASONING)) return;
    text_add_string(t, ",\"thinking\":");
    reply_add_text(t, s, PIECE_REASONING);
}

typedef void add_text(text_builder *t, const reply *a, const reply_slice *s, size_t from,
                      size_t to);

/* --- streams --- */

/* `events` counts the blocks that have been said: a call's block is whole when another begins,
 * or when all has ended. */
static void write_events(text_builder *t, reply *a, const reply_slice *s, add_text *add)
{
    const size_t said = a->events;
    size_t whole;

    for (size_t i = 0; i < s->n_pieces; i++) blocks_add(a->blocks, &s->pieces[i]);
    whole = a->blocks->n - (!s->last && a->blocks->n);
    if (a->blocks->failed) t->failed = true;
    a->events = (unsigned)whole;
    if (whole == said && !has_kind(s, PIECE_TEXT) && !has_kind(s, PIECE_REASONING)) return;
    open_line(t, a);
    add(t, a, s, said, whole);
    text_add_string(t, ",\"done\":false}\n");
}

static void end_events(text_builder *t, const reply *a, const reply_usage *u, add_text *add)
{
    const reply_slice none = {0};

    open_line(t, a);
    add(t, a, &none, 0, 0);
    add_done(t, a, u);
    text_add_string(t, "\n");
}

/* --- whole answers --- */

static void write_choice(text_builder *t, reply *a, const reply_slice *s, add_text *add)
{
    for (size_t i = 0; i < s->n_pieces; i++) blocks_add(a->blocks, &s->pieces[i]);
    if (a->blocks->failed) t->failed = true;
    add(t, a, s, 0, a->blocks->n);
}

static void chat_choice(text_builder *t, reply *a, const reply_slice *s)
{
    write_choice(t, a, s, add_message);
}

static void chat_events(text_builder *t, reply *a, const reply_slice *s)
{
    write_events(t, a, s, add_message);
}

static void chat_end(text_builder *t, reply *a, const reply_usage *u)
{
    end_events(t, a, u, add_message);
}

static void generate_choice(text_builder *t, reply *a, const reply_slice *s)
{
    write_choice(t, a, s, add_response);
}

static void generate_events(text_builder *t, reply *a, const reply_slice *s)
{
    write_events(t, a, s, add_response);
}

static void generate_end(text_builder *t, reply *a, const reply_usage *u)
{
    end_events(t, a, u, add_response);
}

const completion_kind api_ollama_chat_kind = {
    .request = {.chat = true,
                .translate = ollama_translate_chat,
                .renames = ollama_renames,
                .read_prompt = chat_prompt_read},
    .id_prefix = "ollama-",
    .prompt_param = "messages",
    .stream_type = "application/x-ndjson",
    .open_answer = open_line,
    .write_choice = chat_choice,
    .close_answer = add_done,
    .write_events = chat_events,
    .end_events = chat_end,
};

const completion_kind api_ollama_generate_kind = {
    .request = {.chat = true,
                .translate = ollama_translate_generate,
                .renames = ollama_renames,
                .read_prompt = ollama_read_prompt},
    .id_prefix = "ollama-",
    .prompt_param = "prompt",
    .stream_type = "application/x-ndjson",
    .open_answer = open_line,
    .write_choice = generate_choice,
    .close_answer = add_done,
    .write_events = generate_events,
    .end_events = generate_end,
};

void api_ollama_chat(http_request *r)
{
    completion_start(r, &api_ollama_chat_kind);
}

void api_ollama_generate(http_request *r)
{
    completion_start(r, &api_ollama_generate_kind);
}
