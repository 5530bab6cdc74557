/* tok_special.h - the tokens that are found whole in text, before a kind sees it. Internal to
 * the tokenizer.
 *
 * Sorted by what they look like in text, those with a common beginning are neighbours: a
 * search narrows one range, byte by byte, and needs no tree. */
#ifndef ENGINE_TOKENIZER_TOK_SPECIAL_H
#define ENGINE_TOKENIZER_TOK_SPECIAL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "engine/err.h"
#include "engine/tokenizer/tok_kind.h"

typedef struct tok_special {
    gguf_text text; /* what it is found as */
    int32_t id;
} tok_special;

typedef struct tok_specials {
    const tok_vocab *v;
    tok_special *list; /* [n] by text, then by id */
    size_t n;
    bool first[256]; /* does one begin with this byte? */
} tok_specials;

/* Is a token of this type found whole? */
bool tok_special_is(uint8_t type);

/* Take in the tokens of v, which are found as `text` [V] has them; both outlive s. Errors:
 * NOMEM. */
err tok_special_read(tok_specials *s, const tok_vocab *v, const gguf_text *text);
void tok_special_close(tok_specials *s);

/* Are some found in plain text, too? By the types as they are now. */
bool tok_special_in_text(const tok_specials *s);

/* The longest that the n bytes begin with, or NULL; control tokens only if they may be. */
const tok_special *tok_special_match(const tok_specials *s, const char *text, size_t n,
                                     bool controls);

/* The one of exactly these bytes, or NULL. */
const tok_special *tok_special_find(const tok_specials *s, const char *text, size_t n);

#endif
