/* responses_write.c - an answer as items, whole or as events that are numbered.
 *
 *   response.created, response.in_progress
 *   of each block   output_item.added
 *                   content_part.added       not of a call
 *                   <kind>.delta ...
 *                   <kind>.done
 *                   content_part.done        not of a call
 *                   output_item.done
 *   response.completed, response.incomplete or response.failed
 *
 * What a block has in common with the others is here, in what it differs is the table. */
#include <string.h>

#include "server/api/blocks.h"
#include "server/api/responses.h"

/* --- the words of a kind of block --- */

typedef struct words {
    const char *id_prefix, *item; /* of its item: id, and the members that say what it is */
    const char *part;             /* the type of its only part; NULL: it has none */
    const char *event;            /* "response.<event>.delta" */
    const char *member;           /* of the done event: the whole text */
} words;

static const words words_of[] = {
    [PIECE_TEXT] = {"msg_", "\"type\":\"message\",\"role\":\"assistant\"", "output_text",
                    "output_text", "text"},
    [PIECE_REASONING] = {"rs_", "\"type\":\"reasoning\",\"summary\":[]", "reasoning_text",
                         "reasoning_text", "text"},
    [PIECE_CALL] = {"fc_", "\"type\":\"function_call\"", NULL, "function_call_arguments",
                    "arguments"},
};

static const words *words_for(const block *b)
{
    return &words_of[b->kind];
}

/* The response's digits and the item's number: whoever names the item names the response. */
static void add_item_id(text_builder *t, const reply *a, size_t i)
{
    text_addf(t, "\"%s%s%02zx\"", words_for(&a->blocks->at[i])->id_prefix,
              strchr(a->id, '_') + 1, i);
}

/* --- items --- */

/* Of tokens [from, to); none where they were not asked for. */
static void add_logprobs(text_builder *t, const reply *a, size_t from, size_t to)
{
    text_add_string(t, ",\"logprobs\":[");
    for (size_t i = from; a->generation->in.top >= 0 && i < to; i++) {
        if (i > from) text_add_string(t, ",");
        reply_add_logprob(t, a, i);
    }
    text_add_string(t, "]");
}

static void add_part(text_builder *t, const reply *a, const block *b, bool whole)
{
    text_addf(t, "{\"type\":\"%s\",\"text\":", words_for(b)->part);
    if (whole)
        blocks_add_text(t, b);
    else
        text_add_string(t, "\"\"");
    if (b->kind == PIECE_TEXT) {
        text_add_string(t, ",\"annotations\":[]");
        add_logprobs(t, a, b->from, whole ? b->to : b->from);
    }
    text_add_string(t, "}");
}

static void add_call(text_builder *t, const block *b, bool whole)
{
    text_add_string(t, ",\"call_id\":");
    text_add_json_string(t, b->id);
    text_add_string(t, ",\"name\":");
    text_add_json_string(t, b->name);
    text_add_string(t, ",\"arguments\":");
    if (whole)
        blocks_add_text(t, b);
    else
        text_add_string(t, "\"\"");
}

static void add_item(text_builder *t, const reply *a, size_t i, const char *status)
{
    const block *b = &a->blocks->at[i];
    const bool whole = strcmp(status, "in_progress") != 0;

    text_add_string(t, "{\"id\":");
    add_item_id(t, a, i);
    text_addf(t, ",%s,\"status\":\"%s\"", words_for(b)->item, status);
    if (words_for(b)->part) {
        text_add_string(t, ",\"content\":[");
        if (whole) add_part(t, a, b, true);
        text_add_string(t, "]");
    } else {
        add_call(t, b, whole);
    }
    text_add_string(t, "}");
}

static bool is_complete(const reply *a)
{
    return a->generation->out.finish != FINISH_LENGTH;
}

/* Only the last item can have been cut off. */
static const char *status_of(const reply *a, size_t i)
{
    return i + 1 < a->blocks->n || is_complete(a) ? "completed" : "incomplete";
}

void responses_add_output(text_builder *t, const reply *a)
{
    text_add_string(t, "[");
    for (size_t i = 0; i < a->blocks->n; i++) {
        if (i) text_add_string(t, ",");
        add_item(t, a, i, status_of(a, i));
    }
    text_add_string(t, "]");
    /* An answer with a hole must not look whole. */
    if (a->blocks->failed) t->failed = true;
}

/* --- the response --- */

/* Nothing is paid for being cached, so nothing counts as written. */
static void add_usage(text_builder *t, const reply_usage *u)
{
    text_addf(t,
              "{\"input_tokens\":%zu,\"input_tokens_details\":{\"cached_tokens\":%zu,"
              "\"cache_write_tokens\":0,\"recomputed_tokens\":%zu},\"output_tokens\":%zu,"
              "\"output_tokens_details\":{\"reasoning_tokens\":%zu},\"total_tokens\":%zu}",
              u->prompt, u->cached, u->rewound, u->completion, u->reasoning,
              u->prompt + u->completion);
}

/* What every form of it says of the request. */
static void open_response(text_builder *t, const reply *a, const char *status,
                          const char *error)
{
    const bool cut = strcmp(status, "incomplete") == 0;

    text_addf(t,
              "{\"id\":\"%s\",\"object\":\"response\",\"created_at\":%llu,\"status\":\"%s\","
              "\"background\":false,\"error\":%s,\"incomplete_details\":%s,\"model\":",
              a->id, (unsigned long long)a->created, status, error,
              cut ? "{\"reason\":\"max_output_tokens\"}" : "null");
    text_add_json_string(t, a->model);
    text_add_string(t, ",\"temperature\":");
    text_add_float(t, a->request->in.sample.temperature);
    text_add_string(t, ",\"top_p\":");
    text_add_float(t, a->request->in.sample.top_p);
    text_add_string(t, a->request->said.echo ? a->request->said.echo : "");
}

static void add_begun(text_builder *t, const reply *a)
{
    open_response(t, a, "in_progress", "null");
    text_add_string(t, ",\"output\":[],\"usage\":null}");
}

static void add_ended(text_builder *t, const reply *a, const reply_usage *usage)
{
    open_response(t, a, is_complete(a) ? "completed" : "incomplete", "null");
    text_add_string(t, ",\"output\":");
    responses_add_output(t, a);
    text_add_string(t, ",\"usage\":");
    add_usage(t, usage);
    text_add_string(t, "}");
}

/* --- events --- */

static void open_event(text_builder *t, reply *a, const char *event, const char *what)
{
    text_addf(t,
              "event: response.%s%s\ndata: {\"type\":\"response.%s%s\",\"sequence_number\":%u",
              event, what, event, what, a->events++);
}

static void close_event(text_builder *t)
{
    text_add_string(t, "}\n\n");
}

/* An event of item i, of its part where it has parts. */
static void open_item_event(text_builder *t, reply *a, size_t i, const char *what, size_t from)
{
    const words *w = words_for(&a->blocks->at[i]);

    open_event(t, a, w->event, what);
    text_add_string(t, ",\"item_id\":");
    add_item_id(t, a, i);
    text_addf(t, ",\"output_index\":%zu", i);
    if (w->part) text_add_string(t, ",\"content_index\":0");
    if (a->blocks->at[i].kind == PIECE_TEXT) add_logprobs(t, a, from, a->blocks->at[i].to);
}

static void write_item(text_builder *t, reply *a, size_t i, const char *what,
                       const char *status)
{
    open_event(t, a, "output_item.", what);
    text_addf(t, ",\"output_index\":%zu,\"item\":", i);
    add_item(t, a, i, status);
    close_event(t);
}

static void write_part(text_builder *t, reply *a, size_t i, const char *what, bool whole)
{
    if (!words_for(&a->blocks->at[i])->part) return;
    open_event(t, a, "content_part.", what);
    text_add_string(t, ",\"item_id\":");
    add_item_id(t, a, i);
    text_addf(t, ",\"output_index\":%zu,\"content_index\":0,\"part\":", i);
    add_part(t, a, &a->blocks->at[i], whole);
    close_event(t);
}

static void end_item(text_builder *t, reply *a, size_t i)
{
    const block *b = &a->blocks->at[i];

    open_item_event(t, a, i, ".done", b->from);
    if (b->kind == PIECE_CALL) {
        text_add_string(t, ",\"name\":");
        text_add_json_string(t, b->name);
    }
    text_addf(t, ",\"%s\":", words_for(b)->member);
    blocks_add_text(t, b);
    close_event(t);
    write_part(t, a, i, "done", true);
    write_item(t, a, i, "done", status_of(a, i));
}

/* The tokens of a slice count with its first text, or the one that is open at its end. */
static size_t take_tokens(block *b, const reply_slice *s, const struct piece *p, bool begins)
{
    const size_t from = begins ? s->token_from : b->to;

    if (p->kind != PIECE_TEXT) return 0;
    if (begins) b->from = from;
    b->to = s->token_to;
    return from;
}

static void write_piece(text_builder *t, reply *a, const reply_slice *s, const struct piece *p)
{
    const size_t before = a->blocks->n;
    const bool begins = blocks_add(a->blocks, p);
    const size_t i = a->blocks->n - 1;
    size_t from;

    if (a->blocks->failed) {
        t->failed = true;
        return;
    }
    from = take_tokens(&a->blocks->at[i], s, p, begins);
    if (begins && before) end_item(t, a, before - 1);
    if (begins) write_item(t, a, i, "added", "in_progress");
    if (begins) write_part(t, a, i, "added", false);
    if (p->kind == PIECE_CALL || !p->len) return;
    open_item_event(t, a, i, ".delta", from);
    text_add_string(t, ",\"delta\":");
    text_add_json(t, p->text, p->len);
    close_event(t);
}

static void write_response(text_builder *t, reply *a, const char *event)
{
    open_event(t, a, event, "");
    text_add_string(t, ",\"response\":");
    add_begun(t, a);
    close_event(t);
}

/* An answer of no text has an item of no text: clients look for one. */
static const struct piece nothing = {PIECE_TEXT, .text = ""};

void responses_write_events(text_builder *t, reply *a, const reply_slice *s)
{
    if (s->first) write_response(t, a, "created");
    if (s->first) write_response(t, a, "in_progress");
    for (size_t i = 0; i < s->n_pieces; i++) write_piece(t, a, s, &s->pieces[i]);
    if (!s->last) return;
    if (!a->blocks->n) write_piece(t, a, s, &nothing);
    if (!a->blocks->failed) end_item(t, a, a->blocks->n - 1);
}

void responses_end_events(text_builder *t, reply *a, const reply_usage *usage)
{
    open_event(t, a, is_complete(a) ? "completed" : "incomplete", "");
    text_add_string(t, ",\"response\":");
    add_ended(t, a, usage);
    close_event(t);
}

/* What was said so far stays said: clients have it. */
void responses_fail_events(text_builder *t, reply *a, const char *code, const char *message)
{
    text_builder error = {0};

    text_add_string(&error, "{\"code\":");
    text_add_json_string(&error, code ? code : "server_error");
    text_add_string(&error, ",\"message\":");
    text_add_json_string(&error, message);
    text_add_string(&error, "}");
    if (error.failed) t->failed = true;
    open_event(t, a, "failed", "");
    text_add_string(t, ",\"response\":");
    open_response(t, a, "failed", error.at ? error.at : "null");
    text_add_string(t, ",\"output\":");
    responses_add_output(t, a);
    text_add_string(t, ",\"usage\":null}");
    close_event(t);
    text_free(&error);
}

/* --- the whole --- */

/* All of it waits for the usage. */
void responses_open(text_builder *t, const reply *a)
{
    (void)t, (void)a;
}

static void add_piece(reply *a, const reply_slice *s, const struct piece *p)
{
    const bool begins = blocks_add(a->blocks, p);

    if (a->blocks->failed) return;
    take_tokens(&a->blocks->at[a->blocks->n - 1], s, p, begins);
}

void responses_write_choice(text_builder *t, reply *a, const reply_slice *s)
{
    (void)t;
    for (size_t i = 0; i < s->n_pieces; i++) add_piece(a, s, &s->pieces[i]);
    if (!a->blocks->n) add_piece(a, s, &nothing);
}

void responses_close(text_builder *t, const reply *a, const reply_usage *usage)
{
    add_ended(t, a, usage);
}
