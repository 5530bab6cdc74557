/* convert.c - from the tensors of a Hugging Face folder to those of a model file.
 *
 *   list    rows of hf_tensors.def, layer by layer -> parts: source, name, shape, type
 *   check   shapes and dtypes; a tensor that is in no row is an error, not left out
 *   write   keys and descriptions; then part after part, 8 MiB of rows at a time:
 *           source row -> float -> +1 for a gain of gemma's -> quantized
 *
 * All that can be refused is refused before the file is made, but for values that are no
 * numbers, which show when they are read; the writer removes its file then. Sources are mapped
 * and rows are read once, so memory is a batch and not a matrix. */
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

#include "engine/kern/kern.h"
#include "engine/model/matrix.h"
#include "engine/model/quantize.h"
#include "server/progress.h"
#include "server/threads.h"

enum { GAIN = 1, ROPE_Q = 2, ROPE_K = 4, MAYBE = 8, IF_THERE = 16 }; /* what is done */
/* A batch is large enough that the disk writes in one go and the team starts seldom, and small
 * beside a matrix; a task is a few rows, since they cost alike. */
enum { BATCH_BYTES = 8 << 20, TASK_ROWS = 16 };

typedef enum size_name {
#define HF_SIZE(name, elements) name,
#include "server/convert/hf_sizes.def"
#undef HF_SIZE
    SIZES
} size_name;

typedef struct tensor_row {
    const char *name, *out;
    size_name rows, cols;
    unsigned archs, done;
} tensor_row;

static const tensor_row table[] = {
#define HF_TENSOR(name, out, rows, cols, archs, done) {name, out, rows, cols, archs, done},
#include "server/convert/hf_tensors.def"
#undef HF_TENSOR
};
enum { ROWS = sizeof table / sizeof table[0] };

/* One tensor of the file that is made. */
typedef struct part {
    const safetensor *source; /* NULL: the config's */
    char name[64];
    gguf_tensor from; /* the source, as the engine reads rows */
    gguf_tensor to;   /* without data */
    size_t rows;      /* 1: a vector */
    size_t heads;     /* whose rows change their order; 0: none */
    bool gain;        /* gemma's: plus 1 */
} part;

typedef struct conversion {
    const convert_wish *wish;
    convert_made *made;
    fault *why;
    hf_folder folder;
    hf_config config;
    size_t size[SIZES];
    part *list; /* in the order of the file */
    size_t n;
    gguf_writer *writer;
    team *team;
    int signals; /* a descriptor, or -1 */
    progress bar;
} conversion;

static bool no_memory(conversion *c)
{
    return fault_refuse(c->why, ERR_JSON, NULL, "out of memory");
}

/* --- what there is to do --- */

/* "model.layers.%.x" with the number in place of %. */
static void fill_name(char *out, size_t n, const char *pattern, size_t layer)
{
    const char *mark = strchr(pattern, '%');

    if (mark)
        snprintf(out, n, "%.*s%zu%s", (int)(mark - pattern), pattern, layer, mark + 1);
    else
        snprintf(out, n, "%s", pattern);
}

static void list_sizes(conversion *c)
{
    const hf_config *h = &c->config;
    const size_t size[SIZES] = {
#define HF_SIZE(name, elements) elements,
#include "server/convert/hf_sizes.def"
#undef HF_SIZE
    };

    memcpy(c->size, size, sizeof size);
}

/* Float types are called the same in both formats. Others are weights of a quantization that
 * only their own library can read. */
static bool read_dtype(conversion *c, part *p)
{
    static const gguf_type types[] = {GGUF_F32, GGUF_F16, GGUF_BF16};

    for (size_t i = 0; i < sizeof types / sizeof types[0]; i++) {
        p->from.type = types[i];
        if (strcmp(gguf_type_name(types[i], NULL, NULL), p->source->dtype) == 0) return true;
    }
    return fault_refuse(c->why, ERR_JSON, NULL,
                        "tensor %s: %s is not supported (F32, F16, BF16 are)", p->source->name,
                        p->source->dtype);
}

static bool check_shape(conversion *c, const safetensor *t, size_t rows, size_t cols)
{
    const int n = cols == 1 ? 1 : 2;
    char is[128] = "", wanted[64];

    if (t->n_dims == n && t->dim[0] == rows && (n == 1 || t->dim[1] == cols)) return true;
    for (int i = 0; i < t->n_dims && i < 4; i++)
        snprintf(is + strlen(is), sizeof is - strlen(is), "%s%llu", i ? ", " : "",
                 (unsigned long long)t->dim[i]);
    if (n == 1)
        snprintf(wanted, sizeof wanted, "%zu", rows);
    else
        snprintf(wanted, sizeof wanted, "%zu, %zu", rows, cols);
    return fault_refuse(c->why, ERR_JSON, NULL, "tensor %s: its shape is [%s], not [%s]",
                        t->name, is, wanted);
}

/* The wished type, or the next whose blocks the rows fill. The output matrix beside Q4_K is
 * finer, for it costs the most quality a byte; where the embedding is the output, that is it.
 */
static gguf_type choose_type(const conversion *c, const part *p)
{
    const char *output = c->config.tied ? "token_embd.weight" : "output.weight";
    gguf_type type = c->wish->type;

    if (type == GGUF_Q4_K && (!quantize_fits(type, p->from.dim[0]) || !strcmp(p->name, output)))
        type = GGUF_Q8_0;
    return quantize_fits(type, p->from.dim[0]) ? type : GGUF_F16;
}

/* GGUF has the columns first. Vectors stay F32: they are small, and norms are sensitive. */
static void set_shape(part *p, size_t rows, size_t cols)
{
    const bool vector = cols == 1;

    p->rows = vector ? 1 : rows;
    p->from.n_dims = vector ? 1 : 2;
    p->from.dim[0] = vector ? rows : cols;
    p->from.dim[1] = p->rows;
    p->from.dim[2] = p->from.dim[3] = 1;
    p->to = p->from;
    p->to.type = GGUF_F32;
    p->to.name = (gguf_text){p->name, strlen(p->name)};
}

static bool add_part(conversion *c, const tensor_row *row, const safetensor *t, size_t layer)
{
    const size_t rows = c->size[row->rows], cols = c->size[row->cols];
    part *p = &c->list[c->n++];

    if (!check_shape(c, t, rows, cols)) return false;
    p->source = t;
    fill_name(p->name, sizeof p->name, row->out, layer);
    set_shape(p, rows, cols);
    p->from.data = t->data;
    p->from.bytes = t->bytes;
    p->gain = (row->done & GAIN) && (c->config.bit & HF_GAINS_LESS_1);
    if (c->config.bit & HF_PAIRED && row->done & (ROPE_Q | ROPE_K))
        p->heads = row->done & ROPE_Q ? c->config.H : c->config.G;
    if (cols > 1) {
        p->to.type = choose_type(c, p);
        c->made->matrices++;
        c->made->other += !quantize_fits(c->wish->type, cols);
    }
    return read_dtype(c, p);
}

/* What the config gives as numbers. */
static void add_factors(conversion *c, const char *name, const float *values)
{
    part *p = &c->list[c->n++];

    snprintf(p->name, sizeof p->name, "%s", name);
    set_shape(p, c->config.rope.pairs, 1);
    p->from.type = GGUF_F32;
    p->from.data = values;
    p->from.bytes = c->config.rope.pairs * sizeof *values;
}

/* The source of a row; that it is missing is said with the class, for which it would be a must.
 */
static bool find_part(conversion *c, const tensor_row *row, size_t layer)
{
    const safetensor *t;
    char name[128];

    fill_name(name, sizeof name, row->name, layer);
    t = hf_folder_find(&c->folder, name);
    if (row->done & MAYBE) { /* the output: the embedding's twin where they are tied */
        if (c->config.tied) return true;
        if (!t)
            return fault_refuse(c->why, ERR_JSON, NULL,
                                "tensor %s is missing, and tie_word_embeddings is not set",
                                name);
    }
    if (!t && row->done & IF_THERE) return true;
    if (!t)
        return fault_refuse(c->why, ERR_JSON, NULL, "tensor %s is missing (%s)", name,
                            c->config.class_name);
    return add_part(c, row, t, layer);
}

/* The rows of the table that begin with those of a layer are taken layer by layer. */
static bool find_parts(conversion *c)
{
    const hf_rope *r = &c->config.rope;

    c->list = calloc(ROWS * c->config.L + 4, sizeof *c->list);
    if (!c->list) return no_memory(c);
    for (size_t layer = 0; layer <= c->config.L; layer++)
        for (const tensor_row *row = table; row < table + ROWS; row++) {
            const bool first = row->rows == V && !(row->done & MAYBE);
            const bool layered = strchr(row->name, '%') != NULL;
            const bool now = layered ? layer < c->config.L
                             : first ? layer == 0
                                     : layer == c->config.L;

            if (now && (row->archs & c->config.bit) && !find_part(c, row, layer)) return false;
        }
    if (r->has_freqs) add_factors(c, "rope_freqs.weight", r->freqs);
    if (r->has_longs) add_factors(c, "rope_factors_long.weight", r->longs);
    if (r->has_longs) add_factors(c, "rope_factors_short.weight", r->shorts);
    return true;
}

/* Buffers that older files carry, and the output where the embedding is used. */
static bool is_needless(const conversion *c, const char *name)
{
    static const char inverse[] = "rotary_emb.inv_freq";
    const size_t n = strlen(name), m = sizeof inverse - 1;

    return (n > m && strcmp(name + n - m, inverse) == 0) ||
           (c->config.tied && strcmp(name, "lm_head.weight") == 0);
}

/* A model with an adapter, a bias or an expert that no row knows would convert and answer
 * nonsense. */
static bool check_unused(conversion *c)
{
    for (size_t s = 0; s < c->folder.shards; s++)
        for (size_t t = 0; t < safetensors_count(c->folder.shard[s]); t++) {
            const safetensor *it = safetensors_at(c->folder.shard[s], t);
            size_t i = 0;

            while (i < c->n && c->list[i].source != it) i++;
            if (i == c->n && !is_needless(c, it->name))
                return fault_refuse(c->why, ERR_JSON, NULL, "tensor %s is not one of %s",
                                    it->name, c->config.class_name);
        }
    return true;
}

/* --- data --- */

typedef enum trouble { FINE, NOT_FINITE, NOT_HALF } trouble;

/* Some rows of a part, shared out to the team. */
typedef struct batch {
    const part *p;
    size_t first, rows, row_bytes;
    uint8_t *out;   /* [rows] of row_bytes */
    float *scratch; /* [slots, columns] */
    atomic_int trouble;
} batch;

/* Which row of the source becomes row r. A head's halves rotate against each other there;
 * here neighbours do. */
static size_t source_row(const part *p, size_t r)
{
    const size_t width = p->heads ? p->rows / p->heads : 1, i = r % width;

    return p->heads ? r - i + i % 2 * (width / 2) + i / 2 : r;
}

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

static void convert_rows(void *arg, int task, int slot)
{
    batch *b = arg;
    const part *p = b->p;
    const size_t n = p->to.dim[0], end = ((size_t)task + 1) * TASK_ROWS;
    float *x = b->scratch + (size_t)slot * n;

    for (size_t r = (size_t)task * TASK_ROWS; r < end && r < b->rows; r++) {
        trouble t;

        (void)matrix_read_row(&p->from, source_row(p, b->first + r), x); /* read_dtype knows */
        for (size_t i = 0; p->gain && i < n; i++) x[i] += 1;
        t = check_row(x, n, p->to.type);
        if (t == FINE)
            quantize_row(p->to.type, x, n, b->out + r * b->row_bytes);
        else
            atomic_store(&b->trouble, (int)t);
    }
}

/* Signals are blocked and read here, between batches, so that a half file is removed by the
 * same path as after any other fault. */
static bool was_interrupted(const conversion *c)
{
    struct signalfd_siginfo info;

    return c->signals >= 0 && read(c->signals, &info, sizeof info) > 0;
}

static bool run_batch(conversion *c, batch *b)
{
    const char *name = b->p->source ? b->p->source->name : b->p->name;

    c->team->run(c->team, convert_rows, b, (int)((b->rows + TASK_ROWS - 1) / TASK_ROWS));
    if (b->trouble == NOT_FINITE)
        return fault_refuse(c->why, ERR_JSON, NULL,
                            "tensor %s: it has values that are no numbers", name);
    if (b->trouble == NOT_HALF)
        return fault_refuse(c->why, ERR_JSON, NULL,
                            "tensor %s: it has values that F16 does not reach; use --type BF16",
                            name);
    if (was_interrupted(c)) return fault_refuse(c->why, ERR_JSON, NULL, "interrupted");
    if (gguf_writer_put(c->writer, b->out, b->rows * b->row_bytes) != ERR_OK)
        return fault_refuse(c->why, ERR_JSON, NULL, "%s: %s", c->made->path, strerror(errno));
    return true;
}

static bool write_part(conversion *c, const part *p, uint64_t *done)
{
    size_t elements = 1, bytes = 0, step;
    batch b = {.p = p};
    bool written = true;

    (void)gguf_type_name(p->to.type, &elements, &bytes);
    b.row_bytes = p->to.dim[0] / elements * bytes;
    step = b.row_bytes < BATCH_BYTES ? BATCH_BYTES / b.row_bytes : 1;
    if (step > p->rows) step = p->rows;
    b.out = malloc(step * b.row_bytes);
    b.scratch = malloc((size_t)c->team->slots * p->to.dim[0] * sizeof *b.scratch);
    if (!b.out || !b.scratch) written = no_memory(c);
    for (; written && b.first < p->rows; b.first += b.rows) {
        b.rows = p->rows - b.first < step ? p->rows - b.first : step;
        written = run_batch(c, &b);
        *done += b.rows * b.row_bytes;
        progress_show(&c->bar, (double)*done / (double)c->made->bytes);
    }
    free(b.out);
    free(b.scratch);
    return written;
}

/* --- the file --- */

static void write_general(conversion *c)
{
    static const struct {
        gguf_type type;
        uint32_t number; /* general.file_type: what most matrices are */
    } kinds[] = {{GGUF_F16, 1}, {GGUF_Q8_0, 7}, {GGUF_Q4_K, 14}, {GGUF_BF16, 32}};

    gguf_write_text(c->writer, "general.name", c->folder.name, strlen(c->folder.name));
    for (size_t i = 0; i < sizeof kinds / sizeof kinds[0]; i++)
        if (kinds[i].type == c->wish->type)
            gguf_write_u32(c->writer, "general.file_type", kinds[i].number);
    if (c->wish->type == GGUF_Q8_0 || c->wish->type == GGUF_Q4_K)
        gguf_write_u32(c->writer, "general.quantization_version", 2);
}

static bool refuse_system(conversion *c, err e)
{
    if (e == ERR_OK) return true;
    return e == ERR_NOMEM
               ? no_memory(c)
               : fault_refuse(c->why, ERR_JSON, NULL, "%s: %s", c->made->path, strerror(errno));
}

static bool write_file(conversion *c)
{
    uint64_t done = 0;

    if (!refuse_system(c, gguf_writer_new(&c->writer))) return false;
    hf_config_write(&c->config, &c->folder, c->writer);
    write_general(c);
    if (!hf_tokens_write(&c->folder, c->config.V, c->writer, &c->made->tokens, c->why))
        return false;
    for (size_t i = 0; i < c->n; i++) gguf_write_tensor(c->writer, &c->list[i].to);
    c->made->tensors = c->n;
    c->made->bytes = gguf_writer_bytes(c->writer);
    if (!refuse_system(c, gguf_writer_open(c->writer, c->made->path))) return false;
    for (size_t i = 0; i < c->n; i++)
        if (!write_part(c, &c->list[i], &done)) return false;
    return refuse_system(c, gguf_writer_finish(c->writer));
}

static void name_file(conversion *c)
{
    char *path = c->made->path;
    const size_t n = sizeof c->made->path;

    if (c->wish->out)
        snprintf(path, n, "%s", c->wish->out);
    else
        snprintf(path, n, "%.3800s/%.400s-%s.gguf", c->wish->folder, c->folder.name,
                 gguf_type_name(c->wish->type, NULL, NULL));
}

static bool convert(conversion *c)
{
    if (!hf_folder_open(&c->folder, c->wish->folder, c->why) ||
        !hf_config_read(&c->config, &c->folder, c->why))
        return false;
    c->made->window = c->config.window;
    name_file(c);
    list_sizes(c);
    if (!find_parts(c) || !check_unused(c)) return false;
    if (threads_open(&c->team, c->wish->threads) != ERR_OK) return no_memory(c);
    return write_file(c);
}

bool convert_run(const convert_wish *w, convert_made *made, fault *why)
{
    /* threads inherit the mask, so no thread of the team is interrupted either */
    conversion c = {.wish = w, .made = made, .why = why};
    sigset_t ends, before;
    bool converted;

    *made = (convert_made){0};
    sigemptyset(&ends);
    sigaddset(&ends, SIGINT);
    sigaddset(&ends, SIGTERM);
    pthread_sigmask(SIG_BLOCK, &ends, &before);
    c.signals = signalfd(-1, &ends, SFD_NONBLOCK | SFD_CLOEXEC);
    converted = convert(&c);
    progress_clear(&c.bar);
    gguf_writer_free(c.writer);
    threads_close(c.team);
    free(c.list);
    hf_folder_close(&c.folder);
    if (c.signals >= 0) close(c.signals);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    return converted;
}
