/* gguf_split.c - NAME-00001-of-00003.gguf, and the keys split.no, split.count,
 * split.tensors.count.
 *
 * Names and keys are both checked: a file that was renamed would otherwise give its tensors
 * twice, or in the place of another. */
#include "engine/gguf/gguf_split.h"

#include <stdio.h>
#include <string.h>

enum { MAX_FILES = 99999 }; /* five digits in a file's name */

/* "-00002-of-00003.gguf" for file 1 of 3. Returns its length. */
static int write_ending(char *text, size_t n, uint64_t no, uint64_t count)
{
    return snprintf(text, n, "-%05llu-of-%05llu.gguf", (unsigned long long)no + 1,
                    (unsigned long long)count);
}

err gguf_split_path(const char *path, const gguf_split *first, size_t no, char *out)
{
    char ending[64];
    const size_t length = strlen(path);
    const size_t n = (size_t)write_ending(ending, sizeof ending, 0, first->count);

    if (length < n || length >= GGUF_SPLIT_PATH || strcmp(path + length - n, ending) != 0)
        return ERR_SPLITNAME;
    memcpy(out, path, length - n);
    write_ending(out + length - n, GGUF_SPLIT_PATH - (length - n), no, first->count);
    return ERR_OK;
}

static err read_u64(const gguf_file *f, const char *key, uint64_t *out)
{
    const gguf_array *v;

    TRY(gguf_file_value(f, key, false, &v));
    return gguf_value_u64(v, out);
}

static err read_number(const gguf_file *f, const char *key, uint64_t *out, fault *why)
{
    const err e = read_u64(f, key, out);

    return e == ERR_OK ? e : err_blame(why, e, key);
}

err gguf_split_read(const gguf_file *f, gguf_split *s, fault *why)
{
    const err e = read_u64(f, "split.count", &s->count);

    if (e == ERR_MISSING) s->count = 1;
    if (e != ERR_OK && e != ERR_MISSING) return err_blame(why, e, "split.count");
    if (s->count > MAX_FILES) return err_blame(why, ERR_RANGE, "split.count");
    if (s->count <= 1) return ERR_OK;
    TRY(read_number(f, "split.no", &s->no, why));
    return read_number(f, "split.tensors.count", &s->tensors, why);
}

err gguf_split_check(const gguf_file *f, const gguf_split *first, size_t no, fault *why)
{
    gguf_split s = {0};

    TRY(gguf_split_read(f, &s, why));
    if (s.count != first->count) return err_blame(why, ERR_SPLIT, "split.count");
    if (s.no != no) return err_blame(why, ERR_SPLIT, "split.no");
    if (s.tensors != first->tensors) return err_blame(why, ERR_SPLIT, "split.tensors.count");
    return ERR_OK;
}
