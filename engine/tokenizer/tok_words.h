/* tok_words.h - the words of a vocabulary: bytes -> id. Internal to the tokenizer.
 *
 * A hash table of ids with open addressing: a word is looked up in the piece itself, so
 * that no byte is kept twice. */
#ifndef ENGINE_TOKENIZER_TOK_WORDS_H
#define ENGINE_TOKENIZER_TOK_WORDS_H

#include <stddef.h>
#include <stdint.h>

#include "engine/err.h"
#include "engine/tokenizer/tok_kind.h"
#include "engine/tokenizer/tok_reach.h"

enum { NO_ID = -1 };

typedef struct tok_words {
    const tok_vocab *v;
    int32_t *ids; /* [mask + 1], NO_ID where empty */
    size_t mask;
    size_t longest; /* bytes of the longest word */
    tok_reach reach;
} tok_words;

/* Take in what text can become: tokens of the types whose bit, 1 << tok_type, is in
 * `types`. v outlives w. Of tokens with the same bytes the first counts. Errors: NOMEM. */
err tok_words_read(tok_words *w, const tok_vocab *v, unsigned types);
void tok_words_close(tok_words *w);

/* The id of n bytes, or NO_ID. */
int32_t tok_words_find(const tok_words *w, const char *bytes, size_t n);

/* Every word that the n bytes begin with, shorter ones first, to `found`: its id, and its
 * bytes. Cost: as many steps as the longest of them has bytes, and few more. */
void tok_words_prefixes(const tok_words *w, const char *text, size_t n,
                        void (*found)(void *arg, int32_t id, size_t bytes), void *arg);

/* ERR_TOOLONG if the text cannot become so few tokens as there is room for. Costs nothing
 * where it has fewer bytes. */
err tok_words_fit(const tok_words *w, gguf_text text, const token_ids *to);

/* What writes each byte that no word covers: the token of type BYTE, else the word of that
 * byte. Bytes that no ordinary text has may be absent: NO_ID. Errors: MISSING, which
 * `why` names. */
err tok_words_bytes(const tok_words *w, int32_t byte_id[256], fault *why);

/* For tables of the same kind: a power of two with room for n at a load of one half, and
 * a hash. */
size_t tok_table_size(size_t n);
size_t tok_scramble(uint64_t x);

#endif
