/* tok_charsmap.h - SentencePiece's compiled rules of what becomes what. Internal to the
 * tokenizer.
 *
 * A file carries them as bytes: a trie over UTF-8 and the texts that stand for what it knows.
 * They are another's, so all of it is walked once when it is opened; after that no step can
 * lead out of them. */
#ifndef ENGINE_TOKENIZER_TOK_CHARSMAP_H
#define ENGINE_TOKENIZER_TOK_CHARSMAP_H

#include <stddef.h>
#include <stdint.h>

#include "engine/err.h"
#include "engine/gguf/gguf.h"

typedef struct tok_charsmap {
    uint32_t *units; /* [n] of the trie */
    size_t n;
    const char *texts; /* [text_bytes] each ends with a NUL; the file's */
    size_t text_bytes;
    size_t growth; /* bytes that a byte becomes at most, at least 1 */
} tok_charsmap;

/* Read the n bytes at data, which outlive m; of none, nothing becomes anything. The caller
 * closes, also after an error. Errors: NOMEM, STRING (they are not such rules). */
err tok_charsmap_open(tok_charsmap *m, const void *data, size_t n);
void tok_charsmap_close(tok_charsmap *m);

/* The longest beginning of the n bytes that a rule is for: its bytes, and what becomes of them.
 * 0: there is none. */
size_t tok_charsmap_match(const tok_charsmap *m, const char *text, size_t n, gguf_text *out);

#endif
