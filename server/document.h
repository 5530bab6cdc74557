/* document.h - a text file as token ids. */
#ifndef SERVER_DOCUMENT_H
#define SERVER_DOCUMENT_H

#include <stddef.h>
#include <stdint.h>

#include "engine/err.h"
#include "engine/tokenizer/tokenizer.h"

/* More than any context holds, and than the calibration texts there are. */
enum { DOCUMENT_MOST_BYTES = 256 << 20 };

/* All bytes of a file, - for standard input; *n how many. The caller frees. NULL: it cannot
 * be read, errno says why (EFBIG: more than DOCUMENT_MOST_BYTES), or out of memory. */
char *document_read(const char *path, size_t *n);

/* The n bytes at text as ids, BOS first where the model wants one and the text does not
 * begin with it. The caller frees *ids. ERR_NOMEM. */
err document_encode(const tokenizer *t, const char *text, size_t n, tokenizer_specials how,
                    int32_t **ids, size_t *n_ids);

#endif
