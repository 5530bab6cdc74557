/* detok.c - the streaming detokenizer: bytes in, whole characters out. Byte by byte, since a
 * token is a few bytes and four held ones are the whole state. */
#include "engine/tokenizer/detok.h"

#include <string.h>

#include "engine/utf8.h"

static size_t put_replacement(char *out)
{
    memcpy(out, "\xef\xbf\xbd", 3);
    return 3;
}

/* Write what the held bytes allow; half a character stays held. */
static size_t flush(detok *d, char *out)
{
    size_t written = 0, length;

    while (d->n) {
        switch (utf8_step((const char *)d->held, d->n, &length)) {
        case UTF8_HALF:
            return written;
        case UTF8_WHOLE:
            memcpy(out + written, d->held, length);
            written += length;
            break;
        case UTF8_BAD:
            written += put_replacement(out + written);
        }
        d->n -= (unsigned)length;
        memmove(d->held, d->held + length, d->n);
    }
    return written;
}

/* DETOK_GROWTH holds since each byte is written at most once, as itself or as U+FFFD. */
size_t detok_push(detok *d, const char *bytes, size_t n, char *out)
{
    size_t written = 0;

    for (size_t i = 0; i < n; i++) {
        d->held[d->n++] = (unsigned char)bytes[i];
        written += flush(d, out + written);
    }
    return written;
}

/* At most 3 bytes are held, and all of them begin one character: one U+FFFD, as a browser
 * would show. */
size_t detok_end(detok *d, char *out)
{
    if (d->n == 0) return 0;
    d->n = 0;
    return put_replacement(out);
}
