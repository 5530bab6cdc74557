/* document.h - a text file as token ids, in one piece or cut into rows. */
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

/* Rows that a context of its own reads each, cut from ids as document_encode made them:
 *
 *   ids    BOS t0 t1 t2 t3 t4 ...      rows  BOS t0 t1 | BOS t2 t3 | ...
 *
 * A model that wants BOS is off without it from the first token on, so each row begins with
 * it, or with text where the model wants none. */
typedef struct document_shape {
    size_t rows, row_tokens; /* BOS counted; row_tokens >= 2 */
    size_t apart;            /* text tokens from the begin of a row to the next one's;
                                0: they follow each other */
} document_shape;

/* Text tokens of a row. */
size_t document_row_text(const tokenizer *t, size_t row_tokens);

/* Rows of `row_tokens` that n_ids ids hold, one behind the other. */
size_t document_count_rows(const tokenizer *t, size_t n_ids, size_t row_tokens);

/* Cut the rows [rows,row_tokens], which ids are long enough for. The caller frees *out.
 * ERR_NOMEM. */
err document_cut(const tokenizer *t, const int32_t *ids, const document_shape *shape,
                 int32_t **out);

#endif
