/* tool_parse_state.h - a parser, for the files that know one shape of call each.
 *
 * A state is a function that looks at one byte: true, it was taken; false, the state that is
 * set now is to look at it. What a shape needs to remember between two bytes is in here, too.
 */
#ifndef SERVER_API_TOOL_PARSE_STATE_H
#define SERVER_API_TOOL_PARSE_STATE_H

#include <stdbool.h>
#include <stdint.h>

#include "server/api/tool_parse.h"
#include "server/random.h"
#include "server/text.h"

typedef bool tool_state(tool_parser *p, char c);

/* A piece while its place in `bytes` may move. */
typedef struct tool_entry {
    piece_kind kind;
    int call;
    size_t from, n, id; /* of bytes; a call's name is [from, from + n), NUL-terminated */
} tool_entry;

typedef struct tool_mark {
    const char *text;
    int function; /* of a text that leads; or one of these: */
} tool_mark;
enum { TOOL_MARK_CALL = -1, TOOL_MARK_THOUGHTS = -2 };

enum { TOOL_HELD = 192 };

/* One value of JSON that goes by. */
typedef struct tool_scan {
    int depth;
    bool begun, quoted, escaped;
} tool_scan;

struct tool_parser {
    tool_parse_setup setup;
    tool_state *state;
    /* what is told */
    text_builder bytes;
    tool_entry *entries; /* [n_entries] of room */
    piece *pieces;       /* [room] */
    size_t n_entries, room;
    bool failed;
    /* text and thoughts */
    char held[TOOL_HELD]; /* [n_held] what may be a mark */
    size_t n_held;
    text_builder blanks; /* that are told if more follows */
    bool fresh;          /* nothing was said yet: what leads may come */
    bool trims;          /* blanks are dropped until there is more */
    tool_mark *marks;    /* [n_marks] */
    char **leads;        /* [n_leads] texts of marks that are its own */
    size_t n_marks, n_leads;
    /* a call */
    text_builder raw;    /* what was taken of it while it may not be one */
    bool open;           /* it was told */
    bool led;            /* no mark was before it */
    int calls;           /* that were told */
    const cJSON *schema; /* of its arguments, or NULL */
    const char *want;    /* text that must come */
    tool_state *then;    /* behind it */
    text_builder word;   /* a name, a key or a value */
    text_builder early;  /* arguments that came before the name */
    tool_scan scan;
    bool (*scanned)(tool_parser *p); /* behind a value */
    bool told_value, any;            /* of the value that goes by; a pair was told */
    const cJSON *property;           /* the schema of the value, or NULL */
    tool_value kind;
    char quote; /* python's, or 0 */
};

/* Tell a piece's bytes. Of the open call: arguments, and those as the inside of a string. */
void tool_parse_tell(tool_parser *p, piece_kind kind, const char *bytes, size_t n);
void tool_parse_arguments(tool_parser *p, const char *bytes, size_t n);
void tool_parse_quoted(tool_parser *p, char c);

/* The call of this function begins. */
void tool_parse_call(tool_parser *p, const char *name);

/* Its end; more calls, or text. It was none: what was taken is text. All set the state. */
bool tool_parse_called(tool_parser *p);
bool tool_parse_ended(tool_parser *p); /* the mark of its end was there */
bool tool_parse_none(tool_parser *p);

/* Blanks and then this text must come; then the state. */
void tool_parse_want(tool_parser *p, const char *text, tool_state *then);

/* Add c to what is held: the number of the text that it is now, MORE if it may become one,
 * NONE. Of NULL texts there are none. */
enum { TOOL_NONE = -1, TOOL_MORE = -2 };
int tool_parse_match(const tool_parser *p, const char *const *texts, int n);

/* Is it a blank? A letter of a function's name? Take c into the raw text of a call. */
bool tool_parse_is_blank(char c);
bool tool_parse_is_name(char c);
void tool_parse_raw(tool_parser *p, char c);

/* The word as a string, which stays until it is changed; "" where memory is short. */
const char *tool_parse_word(tool_parser *p);
void tool_parse_clear(text_builder *t);

/* --- states --- */

tool_state tool_parse_text;

/* tool_parse_json.c: at an object; at a name; behind a name and its quote; a value that goes by
 * (true behind it: it is over, and c is not of it) */
tool_state tool_parse_object, tool_parse_name, tool_parse_member;

/* tool_parse_xml.c: behind a name and its mark; tool_parse_python.c: behind the bracket */
tool_state tool_parse_xml, tool_parse_python;

/* tool_harmony.c: at the beginning of an answer; its end */
tool_state tool_harmony_head;
void tool_harmony_end(tool_parser *p);
bool tool_harmony_thinks(const tool_parser *p);

#endif
