/* document.c - reads a text file and makes ids of it. A pipe is a file, too, so nothing is read
 * by its size. */
#include "server/document.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "server/text.h"

/* All of a stream; *n its bytes. NULL: cannot be read, has no end in sight (a device, a pipe
 * that is never closed), or out of memory. */
static char *read_all(FILE *f, size_t *n)
{
    text_builder all = {0};
    char part[65536];

    /* ends at the end or at a fault, which are told apart below */
    for (size_t got; !all.failed && all.n <= DOCUMENT_MOST_BYTES &&
                     (got = fread(part, 1, sizeof part, f)) > 0;)
        text_add(&all, part, got);
    text_add(&all, "", 0);
    if (!ferror(f) && all.n > DOCUMENT_MOST_BYTES) errno = EFBIG;
    if (ferror(f) || all.n > DOCUMENT_MOST_BYTES) {
        text_free(&all);
        return NULL;
    }
    return text_take(&all, n);
}

char *document_read(const char *path, size_t *n)
{
    FILE *f = strcmp(path, "-") == 0 ? stdin : fopen(path, "rb");
    char *text = f ? read_all(f, n) : NULL;
    const int why = errno;

    if (f && f != stdin) fclose(f);
    errno = why;
    return text;
}

err document_encode(const tokenizer *t, const char *text, size_t n, tokenizer_specials how,
                    int32_t **out, size_t *n_ids)
{
    const int32_t bos = tokenizer_bos(t);
    int32_t *ids = malloc((tokenizer_most_ids(t, n) + 1) * sizeof *ids);
    size_t count = 0;
    err e;

    if (!ids) return ERR_NOMEM;
    e = tokenizer_encode(t, text, n, how, ids + 1, &count);
    if (e != ERR_OK) {
        free(ids);
        return e;
    }
    /* one BOS, also where the text spells one; its place was left free in front */
    if (tokenizer_adds_bos(t) && !(count && ids[1] == bos)) {
        ids[0] = bos;
        count++;
    } else {
        memmove(ids, ids + 1, count * sizeof *ids);
    }
    *out = ids;
    *n_ids = count;
    return ERR_OK;
}

/* --- rows --- */

size_t document_row_text(const tokenizer *t, size_t row_tokens)
{
    return row_tokens - tokenizer_adds_bos(t);
}

size_t document_count_rows(const tokenizer *t, size_t n_ids, size_t row_tokens)
{
    const size_t text = n_ids ? n_ids - tokenizer_adds_bos(t) : 0;

    return text / document_row_text(t, row_tokens);
}

/* The BOS that document_encode put in front is copied like any other, so rows of a model that
 * wants one read the same text whether they are cut here or alone. */
err document_cut(const tokenizer *t, const int32_t *ids, const document_shape *shape,
                 int32_t **out)
{
    const size_t bos = tokenizer_adds_bos(t), text = document_row_text(t, shape->row_tokens);
    const size_t apart = shape->apart ? shape->apart : text;
    int32_t *rows = malloc(shape->rows * shape->row_tokens * sizeof *rows), *row = rows;

    if (!rows) return ERR_NOMEM;
    for (size_t i = 0; i < shape->rows; i++, row += shape->row_tokens) {
        if (bos) row[0] = ids[0];
        memcpy(row + bos, ids + bos + i * apart, text * sizeof *row);
    }
    *out = rows;
    return ERR_OK;
}
