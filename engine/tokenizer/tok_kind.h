/* tok_kind.h - what a kind of vocabulary does. Internal to the tokenizer.
 *
 * tokenizer.c keeps what all kinds share: the pieces, their types, the special tokens and
 * the keys of the model file. A kind, a row of tokenizers.def, spells tokens out as bytes
 * and turns text without special tokens into ids. */
#ifndef ENGINE_TOKENIZER_TOK_KIND_H
#define ENGINE_TOKENIZER_TOK_KIND_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "engine/err.h"
#include "engine/gguf/gguf.h"
#include "engine/tokenizer/token_ids.h"

/* The file's token types, by their number. */
typedef enum tok_type {
    TOK_UNDEFINED, /* here also: a text that the kind cannot spell, so never found in text */
    TOK_NORMAL,
    TOK_UNKNOWN,
    TOK_CONTROL,
    TOK_USER,
    TOK_UNUSED,
    TOK_BYTE,
    TOK_TYPES,
    TOK_FOUND = TOK_TYPES /* not in files: user-defined, and no merge makes it */
} tok_type;

/* Text that begins with a space gets no other in front: Metaspace's rule, not SentencePiece's.
 */
#define TOK_SINGLE_KEY "xquantd.tokenizer.space_prefix_single"

typedef struct tok_vocab {
    size_t n;               /* V */
    const gguf_text *piece; /* [V] the bytes each id stands for */
    const uint8_t *type;    /* [V] tok_type */
} tok_vocab;

typedef struct tok_kind {
    /* Spell a token of the file out: at most `raw.n` bytes to `out`. false: it cannot be. */
    bool (*spell)(gguf_text raw, char *out, size_t *n);
    bool marks; /* U+2581 is a space, also in user-defined tokens */

    /* Read what the kind needs besides; v outlives *state. Errors: as tokenizer_new. */
    err (*open)(void **state, const gguf *g, const tok_vocab *v, fault *why);
    void (*close)(void *state);

    /* Does a prompt start with BOS where the file does not say? */
    bool (*adds_bos)(const void *state);

    /* Is a space put before text that begins, or that follows a special token? */
    bool (*pads)(const void *state);

    /* The most ids that n bytes become, of which special tokens may be some. NULL: n. */
    size_t (*most)(const void *state, size_t n);

    /* The step of tok_normal.def that text goes through where the file is silent. NULL: none.
     */
    const char *(*normal)(const void *state);

    /* Append the ids of a text of n >= 1 bytes, with a space before it where the kind pads,
     * unless it goes on `inside` another. Thread-safe. Errors: as tokenizer_append. */
    err (*encode)(const void *state, gguf_text text, bool inside, token_ids *to);
} tok_kind;

/* Name the key that e is about, if it is about one: running out of memory is about none. */
static inline err tok_blame(fault *why, err e, const char *key)
{
    return e == ERR_OK || e == ERR_NOMEM ? e : err_blame(why, e, key);
}

/* U+2581, which files write for a space, is one again in the n bytes at text; out has room for
 * n. Returns the bytes written. */
size_t tok_unmark(const char *text, size_t n, char *out);

/* Each space becomes U+2581; out has room for 3 n. */
size_t tok_mark(const char *text, size_t n, char *out);

#define TOKENIZER(name, kind) extern const tok_kind kind;
#include "engine/tokenizer/tokenizers.def"
#undef TOKENIZER

#endif
