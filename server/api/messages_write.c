/* messages_write.c - an answer as blocks, whole or as events.
 *
 *   message_start
 *   of each block   content_block_start, content_block_delta ..., content_block_stop
 *   message_delta   why it ended, and the usage
 *   message_stop
 *
 * Usage: tokens that were found in the cache are not input_tokens, as the original counts. */
#include "server/api/blocks.h"
#include "server/api/messages.h"

/* --- the words of a kind of block --- */

static const struct {
    const char *open, *close;   /* around the text of a whole block */
    const char *start;          /* a block of which nothing is known yet */
    const char *delta, *member; /* type of a delta, and where its text is */
} words[] = {
    [PIECE_TEXT] = {"{\"type\":\"text\",\"text\":", "}", "{\"type\":\"text\",\"text\":\"\"}",
                    "text_delta", "text"},
    /* nothing is signed: what thoughts say is shown, and sent back as it is */
    [PIECE_REASONING] = {"{\"type\":\"thinking\",\"thinking\":", ",\"signature\":\"\"}",
                         "{\"type\":\"thinking\",\"thinking\":\"\",\"signature\":\"\"}",
                         "thinking_delta", "thinking"},
    [PIECE_ARGUMENTS] = {NULL, NULL, NULL, "input_json_delta", "partial_json"},
};

/* A use of a tool, up to its input. */
static void open_use(text_builder *t, const block *b)
{
    text_add_string(t, "{\"type\":\"tool_use\",\"id\":");
    text_add_json_string(t, b->id);
    text_add_string(t, ",\"name\":");
    text_add_json_string(t, b->name);
    text_add_string(t, ",\"input\":");
}

static void add_block(text_builder *t, const block *b)
{
    if (b->kind == PIECE_CALL) {
        open_use(t, b);
        blocks_add_arguments(t, b);
        text_add_string(t, "}");
        return;
    }
    text_add_string(t, words[b->kind].open);
    blocks_add_text(t, b);
    text_add_string(t, words[b->kind].close);
}

/* --- what frames them --- */

static const char *stop_reason(const reply *a)
{
    if (a->generation->out.finish == FINISH_LENGTH) return "max_tokens";
    if (a->generation->out.stop) return "stop_sequence";
    return a->calls ? "tool_use" : "end_turn";
}

static void add_stop(text_builder *t, const reply *a)
{
    text_addf(t, "\"stop_reason\":\"%s\",\"stop_sequence\":", stop_reason(a));
    text_add_json_string(t, a->generation->out.stop);
}

static void add_usage(text_builder *t, size_t prompt, size_t cached, size_t completion)
{
    text_addf(t,
              "\"usage\":{\"input_tokens\":%zu,\"cache_creation_input_tokens\":0,"
              "\"cache_read_input_tokens\":%zu,\"output_tokens\":%zu}",
              prompt - cached, cached, completion);
}

static void open_message(text_builder *t, const reply *a)
{
    text_addf(t,
              "{\"id\":\"%s\",\"type\":\"message\",\"role\":\"assistant\",\"model\":", a->id);
    text_add_json_string(t, a->model);
    text_add_string(t, ",\"content\":[");
}

/* --- the whole --- */

void messages_open(text_builder *t, const reply *a)
{
    open_message(t, a);
}

void messages_write_choice(text_builder *t, reply *a, const reply_slice *s)
{
    for (size_t i = 0; i < s->n_pieces; i++) blocks_add(a->blocks, &s->pieces[i]);
    for (size_t i = 0; i < a->blocks->n; i++) {
        if (i) text_add_string(t, ",");
        add_block(t, &a->blocks->at[i]);
    }
    if (a->blocks->failed) t->failed = true;
}

void messages_close(text_builder *t, const reply *a, const reply_usage *u)
{
    text_add_string(t, "],");
    add_stop(t, a);
    text_add_string(t, ",");
    add_usage(t, u->prompt, u->cached, u->completion);
    text_add_string(t, "}");
}

/* --- events --- */

static void open_event(text_builder *t, const char *name)
{
    text_addf(t, "event: %s\ndata: {\"type\":\"%s\"", name, name);
}

static void close_event(text_builder *t)
{
    text_add_string(t, "}\n\n");
}

/* A first token is there, so what the cache had of the prompt is known. */
static void write_start(text_builder *t, const reply *a)
{
    open_event(t, "message_start");
    text_add_string(t, ",\"message\":");
    open_message(t, a);
    text_add_string(t, "],\"stop_reason\":null,\"stop_sequence\":null,");
    add_usage(t, a->generation->in.n_ids, a->generation->out.cached_tokens, 0);
    text_add_string(t, "}");
    close_event(t);
}

static void start_block(text_builder *t, const reply *a, size_t i)
{
    const block *b = &a->blocks->at[i];

    open_event(t, "content_block_start");
    text_addf(t, ",\"index\":%zu,\"content_block\":", i);
    if (b->kind == PIECE_CALL) {
        open_use(t, b);
        text_add_string(t, "{}}");
    } else {
        text_add_string(t, words[b->kind].start);
    }
    close_event(t);
}

static void stop_block(text_builder *t, size_t i)
{
    open_event(t, "content_block_stop");
    text_addf(t, ",\"index\":%zu", i);
    close_event(t);
}

static void write_piece(text_builder *t, reply *a, const struct piece *p)
{
    const size_t before = a->blocks->n;
    const bool begins = blocks_add(a->blocks, p);

    if (a->blocks->failed) {
        t->failed = true;
        return;
    }
    if (begins && before) stop_block(t, before - 1);
    if (begins) start_block(t, a, a->blocks->n - 1);
    if (p->kind == PIECE_CALL) return;
    open_event(t, "content_block_delta");
    text_addf(t, ",\"index\":%zu,\"delta\":{\"type\":\"%s\",\"%s\":", a->blocks->n - 1,
              words[p->kind].delta, words[p->kind].member);
    text_add_json(t, p->text, p->len);
    text_add_string(t, "}");
    close_event(t);
}

void messages_write_events(text_builder *t, reply *a, const reply_slice *s)
{
    if (s->first) write_start(t, a);
    for (size_t i = 0; i < s->n_pieces; i++) write_piece(t, a, &s->pieces[i]);
    if (s->last && a->blocks->n) stop_block(t, a->blocks->n - 1);
}

void messages_end_events(text_builder *t, reply *a, const reply_usage *u)
{
    open_event(t, "message_delta");
    text_add_string(t, ",\"delta\":{");
    add_stop(t, a);
    text_add_string(t, "},");
    add_usage(t, u->prompt, u->cached, u->completion);
    close_event(t);
    open_event(t, "message_stop");
    close_event(t);
}
