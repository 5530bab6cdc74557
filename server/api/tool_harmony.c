/* tool_harmony.c - the channels of the gpt-oss models.
 *
 *   head  <|message|>  body  (<|end|> | <|call|> | <|return|> | <|start|> | <|channel|>)  head
 * ..
 *
 * An answer begins within a head: the prompt ends with <|start|>assistant. The head says what
 * the body is: "to=functions.f" a call's arguments, "analysis" thoughts, all else text. */
#include <string.h>

#include "server/api/tool_parse_state.h"

enum { MOST_HEAD = 512 }; /* bytes; one that is longer is none */

static const char message[] = "<|message|>";
static const char *const ends[] = {"<|end|>", "<|call|>", "<|return|>", "<|start|>",
                                   "<|channel|>"};
enum { N_ENDS = sizeof ends / sizeof *ends };

static piece_kind body_kind(const tool_parser *p)
{
    if (p->open) return PIECE_ARGUMENTS;
    return p->told_value && p->setup.thoughts.open ? PIECE_REASONING : PIECE_TEXT;
}

/* Blanks around a body are its layout's. */
static void say(tool_parser *p, char c)
{
    if (!p->open && tool_parse_is_blank(c)) {
        if (!p->trims) text_add(&p->blanks, &c, 1);
        return;
    }
    p->trims = false;
    tool_parse_tell(p, body_kind(p), p->blanks.at, p->blanks.n);
    tool_parse_clear(&p->blanks);
    tool_parse_tell(p, body_kind(p), &c, 1);
    if (p->setup.twice && body_kind(p) == PIECE_REASONING)
        tool_parse_tell(p, PIECE_TEXT, &c, 1);
}

static void begin_head(tool_parser *p)
{
    p->n_held = 0;
    p->open = false;
    p->any = false;
    p->told_value = false;
    tool_parse_clear(&p->blanks);
    tool_parse_clear(&p->word);
    p->state = tool_harmony_head;
}

static bool body(tool_parser *p, char c)
{
    int found = TOOL_NONE;

    p->held[p->n_held++] = c;
    while (p->n_held && (found = tool_parse_match(p, ends, N_ENDS)) == TOOL_NONE) {
        const char first = p->held[0];

        memmove(p->held, p->held + 1, --p->n_held);
        say(p, first);
    }
    if (p->n_held && found != TOOL_MORE) begin_head(p);
    return true;
}

/* The head is whole. A function's name ends with a blank or the next mark. */
static void read_head(tool_parser *p)
{
    static const char to[] = "to=functions.";
    const char *head = tool_parse_word(p), *name = strstr(head, to);
    char function[TOOL_HELD] = "";
    size_t n = 0;

    if (name && p->setup.format) {
        name += sizeof to - 1;
        while (n + 1 < sizeof function && tool_parse_is_name(name[n])) n++;
        memcpy(function, name, n);
        function[n] = '\0';
    }
    p->told_value = strstr(head, "analysis") != NULL;
    p->trims = true;
    p->n_held = 0;
    p->state = body;
    if (n) tool_parse_call(p, function);
}

/* What is no head is text: a model that writes no channels answers all the same. */
bool tool_harmony_head(tool_parser *p, char c)
{
    const size_t n = sizeof message - 1;

    text_add(&p->word, &c, 1);
    p->any = true;
    if (p->word.n >= n && memcmp(p->word.at + p->word.n - n, message, n) == 0) {
        read_head(p);
    } else if (p->word.n > MOST_HEAD) {
        tool_harmony_end(p);
        p->n_held = 0;
        p->state = body;
    }
    return true;
}

void tool_harmony_end(tool_parser *p)
{
    const char *head = tool_parse_word(p);

    if (p->state == tool_harmony_head && !strstr(head, "<|"))
        for (size_t i = 0; i < p->word.n; i++) say(p, p->word.at[i]);
    if (p->state == body)
        for (size_t i = 0; i < p->n_held; i++) say(p, p->held[i]);
    tool_parse_clear(&p->word);
    p->n_held = 0;
}

bool tool_harmony_thinks(const tool_parser *p)
{
    return p->state == body && body_kind(p) == PIECE_REASONING;
}
