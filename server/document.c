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
