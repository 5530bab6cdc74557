/* inputs.c - records the inputs of all layers at once, for the text is read once.
 *
 *    forward --x of some tokens, a layer--> halves --pwrite--> file [L,N,D]
 *    a layer's pass <--floats-- halves <--pread-- */
#include "xcache/calibrate/inputs.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "xcache/sink_table.h"

enum { CHUNK = 8192 /* halves at once, on the stack */ };

/* A file of n bytes that is gone when it is closed, however the process ends. < 0: errno says
 * why. All of it is taken now: a disk that is full should say so before minutes of reading. */
static int open_file(size_t n)
{
    const char *folder = getenv("TMPDIR");
    char path[4096];
    int file, failure;

    /* not /tmp, which is often memory */
    snprintf(path, sizeof path, "%s/xquantd-XXXXXX", folder && *folder ? folder : "/var/tmp");
    file = mkostemp(path, O_CLOEXEC);
    if (file < 0) return file;
    unlink(path);
    do failure = posix_fallocate(file, 0, (off_t)n);
    while (failure == EINTR);
    if (!failure) return file;
    close(file);
    errno = failure;
    return -1;
}

static ssize_t transfer(int file, char *bytes, size_t n, off_t at, bool out)
{
    return out ? pwrite(file, bytes, n, at) : pread(file, bytes, n, at);
}

/* All n bytes to the file, or from it. */
static bool transfer_all(int file, void *bytes, size_t n, off_t at, bool out)
{
    for (size_t done = 0; done < n;) {
        const ssize_t more = transfer(file, (char *)bytes + done, n - done, at + (off_t)done,
                                      out);

        if (more < 0 && errno == EINTR) continue;
        if (more <= 0) return false;
        done += (size_t)more;
    }
    return true;
}

/* x [T,D] of a layer, the first of them the token `at` of the text. */
static void keep(void *arg, int layer, size_t at, const float *x, size_t T)
{
    inputs *to = arg;
    uint16_t half[CHUNK];
    off_t place = (off_t)((((size_t)layer * to->N + at) * to->D) * sizeof *half);

    for (size_t done = 0, n; done < T * to->D; done += n) {
        n = T * to->D - done < CHUNK ? T * to->D - done : CHUNK;
        to->kern->float_to_half(x + done, n, half);
        if (!transfer_all(to->file, half, n * sizeof *half, place, true)) to->failed = true;
        place += (off_t)(n * sizeof *half);
    }
}

err inputs_open(inputs *out, const reader_model *r, const reader_text *text, const stage *p)
{
    *out = (inputs){.kern = r->kern,
                    .L = r->m->L,
                    .D = r->m->D,
                    .rows = text->rows,
                    .row_tokens = text->row_tokens,
                    .N = text->rows * text->row_tokens};
    out->file = open_file(out->L * out->N * out->D * sizeof(uint16_t));
    if (out->file < 0) return ERR_SCRATCH;
    TRY(reader_listen(r, text, p, keep, out));
    return inputs_check(out);
}

void inputs_close(inputs *x)
{
    /* one that was never opened is all zeros, and 0 is not its file */
    if (x->N && x->file >= 0) close(x->file);
    x->file = -1;
}

void inputs_read(inputs *x, size_t layer, size_t at, size_t n, float *out)
{
    uint16_t half[CHUNK];
    off_t place = (off_t)((layer * x->N + at) * x->D * sizeof *half);

    for (size_t done = 0, part; done < n * x->D; done += part) {
        part = n * x->D - done < CHUNK ? n * x->D - done : CHUNK;
        if (!transfer_all(x->file, half, part * sizeof *half, place, false)) {
            memset(half, 0, sizeof half);
            x->failed = true;
        }
        x->kern->half_to_float(half, part, out + done);
        place += (off_t)(part * sizeof *half);
    }
}

void inputs_read_rows(inputs *x, size_t layer, size_t first, size_t rows, float *out)
{
    const size_t sinks = SINK_TOKENS * x->D, row = x->row_tokens * x->D;

    for (size_t i = first; i < first + rows; i++) {
        float *to = out + i * row;

        inputs_read(x, layer, i * x->row_tokens, x->row_tokens, to);
        memcpy(to, to + sinks, sinks * sizeof *to);
    }
}

err inputs_check(const inputs *x)
{
    return x->failed ? ERR_SCRATCH : ERR_OK;
}
