/* inputs.h - the exact layer inputs of a text, as halves, in a file without a name.
 *
 * They are gigabytes, and read layer by layer from front to back: so they lie on disk, in
 * $TMPDIR or /var/tmp, and in memory only as far as the page cache likes to keep them. */
#ifndef XCACHE_CALIBRATE_INPUTS_H
#define XCACHE_CALIBRATE_INPUTS_H

#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>

#include "engine/err.h"
#include "xcache/calibrate/reader.h"

typedef struct inputs {
    const kern *kern;
    size_t L, D, rows, row_tokens, N; /* N = rows * row_tokens */
    int file;                         /* halves [L,N,D]; < 0: none */
    atomic_bool failed;               /* a read gave nothing: what was read are zeros */
} inputs;

/* Read the text. ERR_NOMEM, ERR_SCRATCH. The caller closes, also after a failure. */
err inputs_open(inputs *out, const reader_model *r, const reader_text *text, const stage *p);
void inputs_close(inputs *x);

/* Tokens at .. at+n-1 of a layer as floats [n,D]. Any thread. */
void inputs_read(inputs *x, size_t layer, size_t at, size_t n, float *out);

/* Rows first .. first+rows-1 of a layer, at their places in out [N,D]; the first SINK_TOKENS of
 * each row become those behind them: no codec stores them, and they are too unlike others to
 * be learned from. */
void inputs_read_rows(inputs *x, size_t layer, size_t first, size_t rows, float *out);

/* ERR_SCRATCH if any transfer failed so far. */
err inputs_check(const inputs *x);

#endif
