/* detok.h - the streaming detokenizer: bytes in, whole UTF-8 characters out.
 *
 * A token may end in the middle of a character, and a client must never be sent half of one. So
 * at most 3 bytes are held back until the character is whole, or until a byte shows that it
 * never will be: then what was held becomes U+FFFD. */
#ifndef ENGINE_TOKENIZER_DETOK_H
#define ENGINE_TOKENIZER_DETOK_H

#include <stddef.h>

/* Zeroed, it holds nothing. */
typedef struct detok {
    unsigned char held[4];
    unsigned n;
} detok;

enum { DETOK_GROWTH = 3 }; /* a byte that is not UTF-8 becomes the 3 bytes of U+FFFD */

/* Add n bytes. Writes the characters that are now complete.
 *   out [DETOK_GROWTH * (n + 4)]  out  valid UTF-8, not NUL-terminated
 * Returns the bytes written. */
size_t detok_push(detok *d, const char *bytes, size_t n, char *out);

/* The end: what is still held is half a character and becomes one U+FFFD. */
size_t detok_end(detok *d, char *out);

#endif
