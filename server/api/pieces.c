/* pieces.c - the parser sees each byte of an answer once, whether it is streamed or not, so
 * that what is streamed adds up to what is told as a whole. */
#include "server/api/pieces.h"

err pieces_open(pieces *x, const request *q)
{
    *x = (pieces){0};
    return request_parser(q, &x->parser);
}

void pieces_close(pieces *x)
{
    tool_parse_free(x->parser);
    *x = (pieces){0};
}

static void feed(pieces *x, const generation *g, size_t end)
{
    if (end <= x->text) return;
    tool_parse_feed(x->parser, g->out.text + x->text, end - x->text);
    x->text = end;
}

/* A token counts as a thought that begins within one, and does not end it. */
void pieces_read(pieces *x, reply *a, size_t i)
{
    bool thinks;

    if (!x->parser || i < x->tokens) return;
    thinks = tool_parse_thinks(x->parser);
    feed(x, a->generation, a->generation->out.tokens[i].text_end);
    a->thoughts += thinks && tool_parse_thinks(x->parser);
    x->tokens = i + 1;
}

void pieces_end(pieces *x, reply *a)
{
    if (!x->parser) return;
    for (size_t i = x->tokens; i < a->generation->out.n_tokens; i++) pieces_read(x, a, i);
    feed(x, a->generation, a->generation->out.text_bytes);
    tool_parse_end(x->parser);
}

bool pieces_wait(const pieces *x)
{
    return x->parser && tool_parse_waits(x->parser);
}

err pieces_take(pieces *x, reply *a, reply_slice *s)
{
    const char *text = a->generation->out.text;

    if (x->parser) {
        TRY(tool_parse_take(x->parser, &s->pieces, &s->n_pieces));
        a->calls = tool_parse_calls(x->parser);
        return ERR_OK;
    }
    x->room = (piece){PIECE_TEXT, .text = text + s->text_from,
                      .len = s->text_to - s->text_from};
    s->pieces = &x->room;
    s->n_pieces = x->room.len > 0;
    return ERR_OK;
}
