/* convert.c - from a Hugging Face folder to a model file.
 *
 *   parts   hf_parts: what the file will hold, and where each of it is read; then a type each
 *   write   keys and descriptions; then part after part, 8 MiB of rows at a time:
 *           source row -> float -> quantized
 *
 * All that can be refused is refused before the file is made, but for values that are no
 * numbers, which show when they are read; the writer removes its file then. Sources are mapped,
 * rows are read once, and the pages of a tensor go when it is written: so memory is a tensor of
 * the folder at most, whatever the folder's size. */
#include "server/convert/convert.h"

#include <errno.h>
#include <math.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include <xxhash.h>

#include "engine/kern/kern.h"
#include "engine/model/matrix.h"
#include "engine/model/quantize.h"
#include "server/convert/hf_bends.h"
#include "server/convert/hf_keys.h"
#include "server/convert/hf_parts.h"
#include "server/convert/hf_sampling.h"
#include "server/document.h"
#include "server/progress.h"
#include "server/threads.h"
#include "xcache/calibrate/importance.h"

/* A batch is large enough that the disk writes in one go and the team starts seldom, and small
 * beside a matrix; a task is a few rows, since they cost alike. */
enum { BATCH_BYTES = 8 << 20, TASK_ROWS = 16 };

typedef struct conversion {
    const convert_wish *wish;
    const mix_row *mix;
    convert_made *made;
    fault *why;
    hf_folder folder;
    hf_config config;
    hf_parts parts;
    gguf_writer *writer;
    team *team;
    int signals; /* a descriptor, or -1 */
    size_t done; /* parts that are whole in the file */
    progress bar;
} conversion;

static bool no_memory(conversion *c)
{
    return fault_refuse(c->why, ERR_JSON, NULL, "out of memory");
}

/* --- types --- */

/* MXFP4 stays what it is where it would be quantized again. */
static gguf_type choose_type(const conversion *c, const hf_part *p)
{
    const hf_config *h = &c->config;
    const mix_matrix of = {.name = p->name,
                           .cols = p->to.dim[0],
                           .layer = p->layer < 0 ? 0 : (size_t)p->layer,
                           .layers = h->L,
                           .experts = h->experts.X,
                           .output = p->output,
                           .shares = h->L == 80 && h->G < h->H &&
                                     h->bit & (HF_LLAMA | HF_QWEN2)};
    const bool kept = c->mix->type != GGUF_F32 && c->mix->type != GGUF_F16 &&
                      c->mix->type != GGUF_BF16 && hf_rows_is_mxfp4(&p->from);

    return kept ? GGUF_MXFP4 : mix_choose(c->mix, &of);
}

static void choose_types(conversion *c)
{
    for (size_t i = 0; i < c->parts.n; i++) {
        hf_part *p = &c->parts.list[i];

        p->output = strcmp(p->name, c->config.tied ? "token_embd.weight" : "output.weight") ==
                    0;
        if (!p->matrix) continue;
        p->to.type = choose_type(c, p);
        c->made->matrices++;
        c->made->other += p->to.type != GGUF_MXFP4 &&
                          !quantize_fits(c->mix->type, p->to.dim[0]);
    }
}

/* --- data --- */

typedef enum trouble { FINE, NOT_FINITE, NOT_HALF } trouble;

/* Some rows of a part, shared out to the team. */
typedef struct batch {
    const hf_part *p;
    const importance *weights; /* or NULL */
    size_t first, rows, row_bytes;
    uint8_t *out;   /* [rows] of row_bytes */
    float *scratch; /* [slots, columns] */
    atomic_int trouble;
} batch;

/* A half reaches 65504; bfloat weights may lie beyond, and would become infinite in silence. */
static trouble check_row(const float *x, size_t n, gguf_type type)
{
    float most = 0;

    for (size_t i = 0; i < n; i++) {
        if (!isfinite(x[i])) return NOT_FINITE;
        most = fmaxf(most, fabsf(x[i]));
    }
    return type == GGUF_F16 && most > KERN_HALF_MAX ? NOT_HALF : FINE;
}

/* An embedding is only multiplied where it is the output. */
static const float *weights_of(const batch *b, size_t row)
{
    const hf_part *p = b->p;

    if (!b->weights || (p->layer < 0 && !p->output)) return NULL;
    return importance_find(b->weights, p->name, row / p->from.rows);
}

static void convert_rows(void *arg, int task, int slot)
{
    batch *b = arg;
    const hf_part *p = b->p;
    const size_t n = p->to.dim[0], end = ((size_t)task + 1) * TASK_ROWS;
    float *x = b->scratch + (size_t)slot * n;

    for (size_t r = (size_t)task * TASK_ROWS; r < end && r < b->rows; r++) {
        trouble t;

        hf_rows_read(&p->from, b->first + r, x);
        t = check_row(x, n, p->to.type);
        if (t != FINE)
            atomic_store(&b->trouble, (int)t);
        else if (p->to.type == GGUF_MXFP4)
            hf_rows_copy(&p->from, b->first + r, b->out + r * b->row_bytes);
        else
            quantize_weighed(p->to.type, x, weights_of(b, b->first + r), n,
                             b->out + r * b->row_bytes);
    }
}

/* Signals are blocked and read here, between batches, so that a half file is removed by the
 * same path as after any other fault. */
static bool was_interrupted(const conversion *c)
{
    struct signalfd_siginfo info;

    return c->signals >= 0 && read(c->signals, &info, sizeof info) > 0;
}

/* Both are the folder's fault, which going on would not mend. */
static bool refuse_values(conversion *c, const batch *b)
{
    const char *name = hf_rows_name(&b->p->from, b->p->name);

    gguf_writer_spoil(c->writer);
    if (b->trouble == NOT_FINITE)
        return fault_refuse(c->why, ERR_JSON, NULL,
                            "tensor %s: it has values that are no numbers", name);
    return fault_refuse(c->why, ERR_JSON, NULL,
                        "tensor %s: it has values that F16 does not reach; use --type BF16",
                        name);
}

/* A clause for a sentence about what ends the work: what is whole stays (gguf_write.h). */
static const char *kept_part(const conversion *c)
{
    return c->done > 0 || c->made->resumed > 0
               ? "; what is done stays in its .part file, and the same command goes on "
                 "from there"
               : "";
}

static bool run_batch(conversion *c, batch *b)
{
    c->team->run(c->team, convert_rows, b, (int)((b->rows + TASK_ROWS - 1) / TASK_ROWS));
    if (b->trouble != FINE) return refuse_values(c, b);
    if (was_interrupted(c))
        return fault_refuse(c->why, ERR_JSON, NULL, "interrupted%s", kept_part(c));
    if (gguf_writer_put(c->writer, b->out, b->rows * b->row_bytes) == ERR_OK) return true;
    return fault_refuse(c->why, ERR_JSON, NULL, "%s: %s%s", c->made->path, strerror(errno),
                        kept_part(c));
}

static bool write_part(conversion *c, const hf_part *p, uint64_t *done)
{
    const size_t rows = p->from.rows * p->from.planes;
    size_t elements = 1, bytes = 0, step;
    batch b = {.p = p, .weights = c->wish->weights};
    bool written = true;

    (void)gguf_type_name(p->to.type, &elements, &bytes);
    b.row_bytes = p->to.dim[0] / elements * bytes;
    step = b.row_bytes < BATCH_BYTES ? BATCH_BYTES / b.row_bytes : 1;
    if (step > rows) step = rows;
    b.out = malloc(step * b.row_bytes);
    b.scratch = malloc((size_t)c->team->slots * p->to.dim[0] * sizeof *b.scratch);
    if (!b.out || !b.scratch) written = no_memory(c);
    for (; written && b.first < rows; b.first += b.rows) {
        b.rows = rows - b.first < step ? rows - b.first : step;
        written = run_batch(c, &b);
        *done += b.rows * b.row_bytes;
        progress_show(&c->bar, (double)*done / (double)c->made->bytes);
    }
    for (size_t i = 0; p->from.source && i < p->from.sources; i++)
        hf_folder_drop(&c->folder, p->from.source[i].t);
    free(b.out);
    free(b.scratch);
    return written;
}

/* --- the file --- */

static void write_general(conversion *c)
{
    const gguf_type type = c->mix->type;

    gguf_write_text(c->writer, "general.name", c->folder.name, strlen(c->folder.name));
    gguf_write_u32(c->writer, "general.file_type", c->mix->number);
    if (type != GGUF_F32 && type != GGUF_F16 && type != GGUF_BF16)
        gguf_write_u32(c->writer, "general.quantization_version", 2);
}

static bool refuse_system(conversion *c, err e)
{
    if (e == ERR_OK) return true;
    if (e == ERR_NOMEM) return no_memory(c);
    if (errno == EBUSY)
        return fault_refuse(c->why, ERR_JSON, NULL, "%s.part: another conversion writes it",
                            c->made->path);
    return fault_refuse(c->why, ERR_JSON, NULL, "%s: %s%s", c->made->path, strerror(errno),
                        kept_part(c));
}

/* What the bytes of the file follow from, its head aside: the weights as they lie on the disk,
 * and this program. A machine that starts anew may have lost what was not synced yet, so
 * another start is another source. */
static void name_source(const conversion *c, uint8_t out[16])
{
    XXH3_state_t *state = XXH3_createState();
    XXH128_canonical_t sum = {{0}};
    size_t n = 0;
    char *boot = document_read("/proc/sys/kernel/random/boot_id", &n);

    if (state && XXH3_128bits_reset(state) == XXH_OK) {
        XXH3_128bits_update(state, XQUANTD_VERSION " " XQUANTD_REVISION,
                            sizeof XQUANTD_VERSION + sizeof XQUANTD_REVISION);
        for (size_t i = 0; i < c->folder.shards; i++) {
            const safetensors_stamp stamp = safetensors_stamp_of(c->folder.shard[i]);

            XXH3_128bits_update(state, &stamp, sizeof stamp);
        }
        XXH3_128bits_update(state, &c->wish->weights_id, sizeof c->wish->weights_id);
        if (boot) XXH3_128bits_update(state, boot, n);
        XXH128_canonicalFromHash(&sum, XXH3_128bits_digest(state));
    }
    memcpy(out, sum.digest, 16);
    XXH3_freeState(state);
    free(boot);
}

static uint64_t part_bytes(const hf_part *p)
{
    size_t elements = 1, bytes = 0;

    (void)gguf_type_name(p->to.type, &elements, &bytes);
    return p->to.dim[0] / elements * bytes * p->to.dim[1] * p->to.dim[2];
}

/* What is there from before is passed over. */
static bool write_parts(conversion *c)
{
    uint64_t done = 0;

    for (size_t i = 0; i < c->parts.n; i++) {
        const hf_part *p = &c->parts.list[i];

        if (i >= c->made->resumed && !write_part(c, p, &done)) return false;
        if (i < c->made->resumed) done += part_bytes(p);
        c->done = i + 1;
    }
    return true;
}

static bool write_file(conversion *c)
{
    uint8_t source[16];

    if (!refuse_system(c, gguf_writer_new(&c->writer))) return false;
    hf_keys_write(&c->config, &c->folder, c->writer);
    hf_bends_write(&c->folder, &c->config, c->writer);
    write_general(c);
    hf_sampling_write(&c->folder, c->writer);
    if (!hf_tokens_write(&c->folder, c->config.V, c->writer, &c->made->tokens, c->why))
        return false;
    for (size_t i = 0; i < c->parts.n; i++) gguf_write_tensor(c->writer, &c->parts.list[i].to);
    c->made->tensors = c->parts.n;
    c->made->bytes = gguf_writer_bytes(c->writer);
    name_source(c, source);
    if (!refuse_system(
            c, gguf_writer_resume(c->writer, c->made->path, source, &c->made->resumed)) ||
        !write_parts(c))
        return false;
    return refuse_system(c, gguf_writer_finish(c->writer));
}

static void name_file(const convert_wish *w, const mix_row *m, const char *folder, char *path,
                      size_t n)
{
    if (w->out)
        snprintf(path, n, "%s", w->out);
    else
        snprintf(path, n, "%.3800s/%.400s-%s.gguf", w->folder, folder, m->word);
}

bool convert_name(const convert_wish *w, char *path, size_t n, fault *why)
{
    hf_folder f;
    const bool open = w->out || hf_folder_open(&f, w->folder, why);

    if (open) name_file(w, w->mix ? w->mix : mix_of(w->type), w->out ? "" : f.name, path, n);
    if (!w->out) hf_folder_close(&f);
    return open;
}

static bool convert(conversion *c)
{
    if (!hf_folder_open(&c->folder, c->wish->folder, c->why) ||
        !hf_config_read(&c->config, &c->folder, c->why) ||
        !hf_keys_check(&c->config, &c->folder, c->why) ||
        !hf_sampling_check(&c->folder, c->why))
        return false;
    c->made->window = c->config.window;
    name_file(c->wish, c->mix, c->folder.name, c->made->path, sizeof c->made->path);
    if (!hf_parts_open(&c->parts, &c->folder, &c->config, c->why)) return false;
    c->made->towers = c->parts.towers;
    c->made->guessing = c->parts.guessing;
    choose_types(c);
    if (threads_open(&c->team, c->wish->threads) != ERR_OK) return no_memory(c);
    return write_file(c);
}

bool convert_run(const convert_wish *w, convert_made *made, fault *why)
{
    /* threads inherit the mask, so no thread of the team is interrupted either */
    conversion c = {.wish = w, .mix = w->mix, .made = made, .why = why};
    sigset_t ends, before;
    bool converted;

    *made = (convert_made){0};
    if (!c.mix) c.mix = mix_of(w->type);
    sigemptyset(&ends);
    sigaddset(&ends, SIGINT);
    sigaddset(&ends, SIGTERM);
    pthread_sigmask(SIG_BLOCK, &ends, &before);
    c.signals = signalfd(-1, &ends, SFD_NONBLOCK | SFD_CLOEXEC);
    converted = convert(&c);
    progress_clear(&c.bar);
    gguf_writer_free(c.writer);
    threads_close(c.team);
    hf_parts_close(&c.parts);
    hf_folder_close(&c.folder);
    if (c.signals >= 0) close(c.signals);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    return converted;
}
