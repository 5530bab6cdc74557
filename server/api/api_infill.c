/* api_infill.c - POST /infill: fill in the gap of a text, in llama-server's words, for editors.
 *
 *   input_prefix + prompt, input_suffix, input_extra    prompt, suffix, input_extra
 *   n_predict                                           max_tokens
 *
 *   {content, stop: false, ..} ..  {content: "", stop: true, stop_type, timings, ..}
 *
 * The prompt is fill_prompt.c's. An event is what a whole answer is, as far as it is known. */
#include <string.h>

#include "server/api/completion.h"
#include "server/api/fill_prompt.h"
#include "server/api/routes.h"
#include "server/api/translation.h"

/* --- the request --- */

static const request_rename renames[] = {
    {"prompt", "input_prefix"},
    {"suffix", "input_suffix"},
    {"max_tokens", "n_predict"},
    {NULL, NULL},
};

/* What is typed in the line stands between prefix and gap, as if it were the prefix's end. */
static bool join_prefix(const translation *t)
{
    const char *prefix = "", *prompt = "";
    text_builder all = {0};
    bool good;

    if (!json_get_string(t->from, "input_prefix", &prefix, t->why) ||
        !json_get_string(t->from, "prompt", &prompt, t->why))
        return false;
    text_add_string(&all, prefix);
    text_add_string(&all, prompt);
    good = all.failed ? fault_fail(t->why, ERR_NOMEM)
                      : translation_put_text(t, t->to, "prompt", all.at ? all.at : "");
    text_free(&all);
    return good;
}

static bool translate(request *q, cJSON **body, const request_env *env, fault *why)
{
    translation t;
    bool good;

    (void)q;
    good = translation_begin(&t, *body, REQUEST_INFILL, env, why) && join_prefix(&t);
    if (good) cJSON_DeleteItemFromObjectCaseSensitive(t.to, "messages");
    return translation_end(&t, body, good);
}

/* --- the answer --- */

static const char *stop_type(const reply *a)
{
    if (a->generation->out.finish == FINISH_LENGTH) return "limit";
    return a->generation->out.stop ? "word" : "eos";
}

/* `{"index":0,"content":..`, and what is known of the request. */
static void open_object(text_builder *t, const reply *a, const reply_slice *s)
{
    text_add_string(t, "{\"index\":0,\"content\":");
    reply_add_text(t, s, PIECE_TEXT);
    text_addf(t, ",\"stop\":%s,\"tokens_predicted\":%zu,\"tokens_evaluated\":%zu",
              s->last ? "true" : "false", s->token_to, a->generation->in.n_ids);
    reply_add_token_ids(t, a, s);
}

/* `content` is what the answer was in the whole, for the lines in it are asked for. */
static void add_end(text_builder *t, const reply *a, const reply_usage *u)
{
    const generation_out *out = &a->generation->out;

    text_add_string(t, ",\"model\":");
    text_add_json_string(t, a->model);
    text_addf(t, ",\"has_new_line\":%s,\"truncated\":false,\"stop_type\":\"%s\"",
              memchr(out->text, '\n', out->text_bytes) ? "true" : "false", stop_type(a));
    text_add_string(t, ",\"stopping_word\":");
    text_add_json_string(t, out->stop ? out->stop : "");
    text_addf(t, ",\"tokens_cached\":%zu,", u->cached);
    reply_add_timings(t, u);
    text_add_string(t, "}");
}

static void open_answer(text_builder *t, const reply *a)
{
    (void)t, (void)a;
}

static void write_choice(text_builder *t, reply *a, const reply_slice *s)
{
    open_object(t, a, s);
}

static void write_events(text_builder *t, reply *a, const reply_slice *s)
{
    const reply_usage own = reply_usage_of(a);

    text_add_string(t, "data: ");
    open_object(t, a, s);
    if (s->last)
        add_end(t, a, &own);
    else
        text_add_string(t, "}");
    text_add_string(t, "\n\n");
}

static void end_events(text_builder *t, reply *a, const reply_usage *usage)
{
    (void)t, (void)a, (void)usage;
}

static const completion_kind infill_kind = {
    .request = {.translate = translate, .renames = renames, .read_prompt = fill_prompt_read},
    .id_prefix = "infill-",
    .prompt_param = "input_prefix",
    .stream_type = "text/event-stream",
    .open_answer = open_answer,
    .write_choice = write_choice,
    .close_answer = add_end,
    .write_events = write_events,
    .end_events = end_events,
};

void api_infill(http_request *r)
{
    completion_start(r, &infill_kind);
}
