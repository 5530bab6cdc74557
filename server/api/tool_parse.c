/* tool_parse.c - text, thoughts and marks; what is common to all calls.
 *
 *   text --mark--> [want open] --> [want begin] --> CALL --> [want end] --> more
 *    ^ |                                  ^                                  |
 *    | '--<think>--> thoughts --</think>--|--> text                          |
 *    |                                    '------ between, begin ------------|
 *    '-- close, or whatever else comes --------------------------------------'
 *
 * Until a call's function is known what was taken of it is kept, to be text if it is none. */
#include "server/api/tool_parse.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "server/api/tool_parse_state.h"
#include "server/json.h"

/* --- small things --- */

bool tool_parse_is_blank(char c)
{
    return c == ' ' || c == '\n' || c == '\t' || c == '\r';
}

bool tool_parse_is_name(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
           c == '_' || c == '-' || c == '.';
}

void tool_parse_raw(tool_parser *p, char c)
{
    if (!p->open) text_add(&p->raw, &c, 1);
}

const char *tool_parse_word(tool_parser *p)
{
    text_add(&p->word, "", 0);
    return p->word.at ? p->word.at : "";
}

int tool_parse_match(const tool_parser *p, const char *const *texts, int n)
{
    int result = TOOL_NONE;

    for (int i = 0; i < n; i++) {
        if (!texts[i] || strncmp(texts[i], p->held, p->n_held) != 0) continue;
        if (!texts[i][p->n_held]) return i;
        result = TOOL_MORE;
    }
    return result;
}

/* What is held is looked at once more, one byte after the other. */
static void look_again(tool_parser *p)
{
    char again[TOOL_HELD];
    const size_t n = p->n_held;

    memcpy(again, p->held, n);
    p->n_held = 0;
    for (size_t i = 0; i < n; i++)
        while (!p->state(p, again[i])) {}
}

/* --- text that must come --- */

static bool wanted(tool_parser *p, char c)
{
    if (!p->n_held && tool_parse_is_blank(c) && *p->want != c) {
        tool_parse_raw(p, c);
        return true;
    }
    if (c != p->want[p->n_held]) {
        p->n_held = 0;
        return tool_parse_none(p);
    }
    tool_parse_raw(p, c);
    if (p->want[++p->n_held]) return true;
    p->n_held = 0;
    p->state = p->then;
    return true;
}

void tool_parse_want(tool_parser *p, const char *text, tool_state *then)
{
    p->want = text;
    p->then = then;
    p->state = *text ? wanted : then;
}

/* --- a call's beginning and its end --- */

static void expect_call(tool_parser *p)
{
    const tool_shape shape = p->setup.format->shape;

    p->open = false;
    tool_parse_clear(&p->word);
    p->state = shape == TOOL_JSON || shape == TOOL_LEAD_JSON ? tool_parse_object
                                                             : tool_parse_name;
}

static bool at_call(tool_parser *p, char c)
{
    (void)c;
    expect_call(p);
    return false;
}

static bool at_begin(tool_parser *p, char c)
{
    (void)c;
    tool_parse_want(p, p->setup.format->begin, at_call);
    return false;
}

static void back_to_text(tool_parser *p)
{
    p->open = false;
    p->trims = true;
    p->fresh = true;
    tool_parse_clear(&p->raw);
    tool_parse_clear(&p->early);
    p->state = tool_parse_text;
}

/* Behind a call: another one, the end of them, or anything, which is text. */
static bool more(tool_parser *p, char c)
{
    const tool_format *f = p->setup.format;
    const bool again = *f->close && *f->begin && !*f->between;
    const char *const texts[] = {*f->close ? f->close : NULL, *f->between ? f->between : NULL,
                                 again ? f->begin : NULL};
    int found;

    if (!*f->close && !*f->between) {
        back_to_text(p);
        return false;
    }
    if (!p->n_held && tool_parse_is_blank(c)) return true;
    p->held[p->n_held++] = c;
    found = tool_parse_match(p, texts, 3);
    if (found == TOOL_MORE) return true;
    if (found != TOOL_NONE) p->n_held = 0;
    if (found == TOOL_NONE || found == 0) back_to_text(p);
    if (found == TOOL_NONE) look_again(p);
    if (found == 1) tool_parse_want(p, f->begin, at_call);
    if (found == 2) expect_call(p);
    return true;
}

bool tool_parse_called(tool_parser *p)
{
    const tool_format *f = p->setup.format;

    p->open = false;
    if (p->led && f->shape == TOOL_JSON)
        back_to_text(p);
    else
        tool_parse_want(p, f->end, more);
    p->led = false;
    return true;
}

bool tool_parse_ended(tool_parser *p)
{
    p->open = false;
    p->state = more;
    if (!*p->setup.format->end) back_to_text(p);
    return true;
}

/* What was told of a call stays told; what was not is text. */
bool tool_parse_none(tool_parser *p)
{
    const bool told = p->open;
    text_builder raw = p->raw;

    p->raw = (text_builder){0};
    back_to_text(p);
    if (!told && raw.n) {
        p->trims = false;
        tool_parse_tell(p, PIECE_TEXT, p->blanks.at, p->blanks.n);
        tool_parse_clear(&p->blanks);
        tool_parse_tell(p, PIECE_TEXT, raw.at, raw.n);
    }
    text_free(&raw);
    return false;
}

/* --- text and thoughts --- */

/* Blanks wait: at the end of thoughts and before a call they are nobody's. */
static void say(tool_parser *p, piece_kind kind, char c)
{
    if (tool_parse_is_blank(c)) {
        if (!p->trims) text_add(&p->blanks, &c, 1);
        return;
    }
    p->trims = false;
    tool_parse_tell(p, kind, p->blanks.at, p->blanks.n);
    tool_parse_clear(&p->blanks);
    tool_parse_tell(p, kind, &c, 1);
}

static void begin_thoughts(tool_parser *p);

static void begin_call(tool_parser *p, int mark)
{
    const tool_format *f = p->setup.format;
    char name[TOOL_HELD];

    tool_parse_clear(&p->raw);
    text_add(&p->raw, p->held, p->n_held);
    p->n_held = 0;
    p->led = p->marks[mark].function >= 0;
    if (!p->led) {
        tool_parse_want(p, f->open, at_begin);
        return;
    }
    snprintf(name, sizeof name, "%s",
             json_get(cJSON_GetArrayItem(p->setup.functions, p->marks[mark].function), "name")
                 ->valuestring);
    tool_parse_call(p, name);
    p->any = false;
    p->state = f->shape == TOOL_LEAD_PYTHON ? tool_parse_python : tool_parse_member;
}

/* A text that leads, and thoughts, count only where nothing was said before them. */
static bool counts(const tool_parser *p, const tool_mark *m)
{
    return m->function == TOOL_MARK_CALL || p->fresh;
}

static int match_marks(const tool_parser *p)
{
    int result = TOOL_NONE;

    for (size_t i = 0; i < p->n_marks; i++) {
        const char *text = p->marks[i].text;

        if (*text != p->held[0] || strncmp(text, p->held, p->n_held) != 0) continue;
        if (!counts(p, &p->marks[i])) continue;
        if (!text[p->n_held]) return (int)i;
        result = TOOL_MORE;
    }
    return result;
}

/* Say the first byte of what is held; the rest may still be a mark. */
static void let_go(tool_parser *p, piece_kind kind)
{
    const char c = p->held[0];

    say(p, kind, c);
    p->fresh = p->fresh && tool_parse_is_blank(c);
    memmove(p->held, p->held + 1, --p->n_held);
}

bool tool_parse_text(tool_parser *p, char c)
{
    int found = TOOL_NONE;

    p->held[p->n_held++] = c;
    while (p->n_held && (found = match_marks(p)) == TOOL_NONE) let_go(p, PIECE_TEXT);
    if (!p->n_held || found == TOOL_MORE) return true;
    p->fresh = false;
    if (p->marks[found].function == TOOL_MARK_THOUGHTS)
        begin_thoughts(p);
    else
        begin_call(p, found);
    return true;
}

static void tell_twice(tool_parser *p, char c)
{
    if (p->setup.twice) tool_parse_tell(p, PIECE_TEXT, &c, 1);
}

static bool in_thoughts(tool_parser *p, char c)
{
    const char *const texts[] = {p->setup.thoughts.close};
    int found = TOOL_NONE;

    tell_twice(p, c);
    p->held[p->n_held++] = c;
    while (p->n_held && (found = tool_parse_match(p, texts, 1)) == TOOL_NONE)
        let_go(p, PIECE_REASONING);
    if (!p->n_held || found == TOOL_MORE) return true;
    p->n_held = 0;
    tool_parse_clear(&p->blanks);
    p->trims = !p->setup.twice;
    p->fresh = true; /* for texts that lead; thoughts are over */
    p->setup.thoughts.open = NULL;
    for (size_t i = 0; i < p->n_marks; i++)
        if (p->marks[i].function == TOOL_MARK_THOUGHTS) p->marks[i] = p->marks[--p->n_marks];
    p->state = tool_parse_text;
    return true;
}

static void begin_thoughts(tool_parser *p)
{
    for (size_t i = 0; i < p->n_held; i++) tell_twice(p, p->held[i]);
    p->n_held = 0;
    tool_parse_clear(&p->blanks);
    p->trims = true;
    p->state = in_thoughts;
}

/* --- making one --- */

static void add_mark(tool_parser *p, const char *text, int function)
{
    if (strlen(text) < TOOL_HELD) p->marks[p->n_marks++] = (tool_mark){text, function};
}

/* The texts that an answer may begin with in place of a mark. */
static bool add_leads(tool_parser *p)
{
    const cJSON *f;
    int number = 0;

    cJSON_ArrayForEach (f, p->setup.functions) {
        const cJSON *name = json_get(f, "name");

        for (int k = 0; cJSON_IsString(name) && k < TOOL_LEADS; k++) {
            char text[TOOL_LEAD_BYTES];

            if (!tool_format_lead(p->setup.format, k, name->valuestring, text)) break;
            p->leads[p->n_leads] = strdup(text);
            if (!p->leads[p->n_leads]) return false;
            add_mark(p, p->leads[p->n_leads++], number);
        }
        number++;
    }
    return true;
}

static bool add_marks(tool_parser *p)
{
    const tool_format *f = p->setup.format;
    const size_t n = 2 + TOOL_LEADS * (size_t)cJSON_GetArraySize(p->setup.functions);

    p->marks = calloc(n, sizeof *p->marks);
    p->leads = calloc(n, sizeof *p->leads);
    if (!p->marks || !p->leads) return false;
    if (p->setup.thoughts.open) add_mark(p, p->setup.thoughts.open, TOOL_MARK_THOUGHTS);
    if (f && *f->mark) add_mark(p, f->mark, TOOL_MARK_CALL);
    return !f || !tool_format_leads(f) || add_leads(p);
}

err tool_parse_new(tool_parser **out, const tool_parse_setup *s)
{
    tool_parser *p = calloc(1, sizeof *p);

    if (!p) return ERR_NOMEM;
    p->setup = *s;
    p->fresh = true;
    p->state = tool_parse_text;
    if (s->format && s->format->shape == TOOL_HARMONY) p->state = tool_harmony_head;
    if (!add_marks(p)) {
        tool_parse_free(p);
        return ERR_NOMEM;
    }
    if (s->opened && s->thoughts.open && p->state == tool_parse_text) begin_thoughts(p);
    *out = p;
    return ERR_OK;
}

void tool_parse_free(tool_parser *p)
{
    if (!p) return;
    for (size_t i = 0; i < p->n_leads; i++) free(p->leads[i]);
    free(p->leads);
    free(p->marks);
    free(p->entries);
    free(p->pieces);
    text_free(&p->bytes);
    text_free(&p->blanks);
    text_free(&p->raw);
    text_free(&p->word);
    text_free(&p->early);
    free(p);
}

void tool_parse_feed(tool_parser *p, const char *text, size_t n)
{
    for (size_t i = 0; i < n; i++)
        while (!p->state(p, text[i])) {}
}

/* Blanks at the end of a text are its own, unless they followed a call. */
void tool_parse_end(tool_parser *p)
{
    const piece_kind kind = p->state == in_thoughts ? PIECE_REASONING : PIECE_TEXT;

    if (p->setup.format && p->setup.format->shape == TOOL_HARMONY) {
        tool_harmony_end(p);
        return;
    }
    if (p->state != tool_parse_text && p->state != in_thoughts) return;
    while (p->n_held) let_go(p, kind);
    if (kind == PIECE_TEXT && !p->calls) tool_parse_tell(p, kind, p->blanks.at, p->blanks.n);
    tool_parse_clear(&p->blanks);
}

bool tool_parse_thinks(const tool_parser *p)
{
    return p->state == in_thoughts || tool_harmony_thinks(p);
}

size_t tool_parse_calls(const tool_parser *p)
{
    return (size_t)p->calls;
}
