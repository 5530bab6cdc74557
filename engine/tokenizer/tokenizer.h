/* tokenizer.h - text to token ids and back.
 *
 * A vocabulary is read once from a model file; its kind (byte-level BPE or SentencePiece's)
 * is a row of tokenizers.def. Control tokens come out of text only where the caller allows it:
 * text that a user wrote is encoded plainly, so "<|im_end|>" in it is just characters. All
 * calls are thread-safe: a tokenizer is never written after tokenizer_new. */
#ifndef ENGINE_TOKENIZER_TOKENIZER_H
#define ENGINE_TOKENIZER_TOKENIZER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "engine/err.h"
#include "engine/gguf/gguf.h"
#include "engine/tokenizer/gaps.h"
#include "engine/tokenizer/token_ids.h"

typedef struct tokenizer tokenizer;

enum { TOKENIZER_NONE = -1 }; /* an id that means "there is no such token" */

typedef enum tokenizer_specials {
    TOKENIZER_PLAIN,    /* text only: what a user wrote */
    TOKENIZER_SPECIALS, /* special tokens written out in the text are recognised */
    TOKENIZER_INSIDE    /* text only, which goes on where other text stops */
} tokenizer_specials;

/* Read the vocabulary of g, which must outlive *out. The caller frees. `why` names the
 * key at fault. Errors: NOMEM, TOKENIZER (kind or pre-tokenizer not in the table),
 * MISSING, KEYTYPE, RANGE, STRING, TOOMANY. */
err tokenizer_new(tokenizer **out, const gguf *g, fault *why);
void tokenizer_free(tokenizer *t);

/* Encode the n bytes at text, valid UTF-8 or not (bytes that are not become byte
 * tokens). No BOS is added. Some vocabularies want a space before text, unless it is
 * INSIDE other: they get it here, and their ids spell it.
 *
 *   ids [tokenizer_most_ids]  out  one id a byte at most, and one a space; the caller's
 *
 * Errors: NOMEM. Cost: O(n log n). */
err tokenizer_encode(const tokenizer *t, const char *text, size_t n, tokenizer_specials how,
                     int32_t *ids, size_t *count);

/* The same, behind the to->n ids that are there, to->most in all. Errors: NOMEM; TOOLONG as
 * soon as it is clear that there are more, mostly before any pair of a long word is merged;
 * CANCELED. to->n means nothing after one. */
err tokenizer_append(const tokenizer *t, const char *text, size_t n, tokenizer_specials how,
                     token_ids *to);

/* The same of text that two have written: `own` [n] is 1 where the template did, and there
 * alone special tokens that are written out are recognised. One that begins in such bytes must
 * end in them. */
err tokenizer_append_marked(const tokenizer *t, const char *text, size_t n,
                            const unsigned char *own, token_ids *to);

/* The most ids that n bytes become: n, or 2 n where spaces are added. */
size_t tokenizer_most_ids(const tokenizer *t, size_t n);

/* The longest control token that the text begins with, or TOKENIZER_NONE. */
int32_t tokenizer_match(const tokenizer *t, const char *text, size_t n);

/* How many bytes of the text that follows it a control token takes away: white space, for
 * some vocabularies. */
size_t tokenizer_swallows(const tokenizer *t, int32_t id, const char *text, size_t n);

/* The bytes of one id, not NUL-terminated, owned by t: none for a control token unless
 * `specials`. Valid UTF-8 only as a sequence; see detok. */
gguf_text tokenizer_piece(const tokenizer *t, int32_t id, bool specials);

size_t tokenizer_size(const tokenizer *t);    /* V: ids are 0 .. V-1 */
size_t tokenizer_longest(const tokenizer *t); /* bytes of the longest piece */
int32_t tokenizer_bos(const tokenizer *t);    /* or TOKENIZER_NONE */
int32_t tokenizer_eos(const tokenizer *t);    /* the file's, or TOKENIZER_NONE */
bool tokenizer_adds_bos(const tokenizer *t);  /* a prompt should start with BOS */
bool tokenizer_adds_eos(const tokenizer *t);  /* a whole text should end with EOS */
bool tokenizer_pads(const tokenizer *t);      /* text gets a space, unless it is INSIDE other */
bool tokenizer_is_end(const tokenizer *t, int32_t id);           /* EOS, end of turn or file */
int32_t tokenizer_fill(const tokenizer *t, tokenizer_gap part);  /* or TOKENIZER_NONE */
bool tokenizer_is_special(const tokenizer *t, int32_t id);       /* control or user-defined */
int32_t tokenizer_find(const tokenizer *t, const char *special); /* "<|im_start|>" -> id */

#endif
