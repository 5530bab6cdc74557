/* tok_reach.h - the fewest words that a text can be. Internal to the tokenizer.
 *
 * A merge of pairs says how many tokens a text has when it is through, which takes a second for
 * a few MB without a space. This says first, in milliseconds, that they are more than there is
 * room for: no token that begins at a byte is longer than the longest word that begins with
 * what stands there. */
#ifndef ENGINE_TOKENIZER_TOK_REACH_H
#define ENGINE_TOKENIZER_TOK_REACH_H

#include <stddef.h>
#include <stdint.h>

#include "engine/err.h"
#include "engine/tokenizer/tok_kind.h"

enum { TOK_REACH_LEVELS = 3 };

typedef struct tok_reach {
    uint16_t *longest; /* [TOK_REACH_LEVELS][mask + 1] bytes of the words behind a hash */
    size_t mask;
    size_t most; /* bytes of the longest word */
} tok_reach;

/* Take in the tokens of these types, as tok_words_read does; `size`, a power of two, is the
 * places of each table. Errors: NOMEM. */
err tok_reach_read(tok_reach *r, const tok_vocab *v, unsigned types, size_t size);
void tok_reach_close(tok_reach *r);

/* The bytes of a token that the n bytes at text begin with, at most. */
size_t tok_reach_far(const tok_reach *r, const char *text, size_t n);

/* At least so many tokens the n bytes at text become, whatever the order of merges; counting
 * ends at `enough`. A byte that no word has is one token. Cost: O(n), a few ns a byte. */
size_t tok_reach_least(const tok_reach *r, const char *text, size_t n, size_t enough);

#endif
