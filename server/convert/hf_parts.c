/* hf_parts.c - from the rows of hf_tensors.def to the tensors of one model.
 *
 *   row     name, sizes by letters, which architectures, what is done
 *   part    layer after layer: where it is read, and its shape in the file
 *
 * A folder is held against the table in both directions: what a row needs must be there, and
 * what is there must be in a row. A model with an adapter, a bias or an expert that no row
 * knows would convert and answer nonsense. */
#include "server/convert/hf_parts.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "server/convert/hf_bends.h"
#include "server/convert/hf_source.h"

enum { /* what is done */
       GAIN = 1,
       ROPE_Q = 2,
       ROPE_K = 4,
       MAYBE = 8,
       IF_THERE = 16,
       FIRST = 32,
       SECOND = 64,
       EVEN = 128,
       ODD = 256,
       TURNED = 512,
       LINE = 1024,
       FLOAT = 2048,
       DENSE = 4096,
       SPARSE = 8192,
       PAIR = FIRST | SECOND | EVEN | ODD
};

typedef enum size_name {
#define HF_SIZE(name, elements) name,
#include "server/convert/hf_sizes.def"
#undef HF_SIZE
    SIZES
} size_name;

typedef struct tensor_row {
    const char *name, *out;
    size_name planes, rows, cols;
    unsigned archs, done;
} tensor_row;

static const tensor_row table[] = {
#define HF_TENSOR(name, out, rows, cols, archs, done) \
    {name, out, SIZES, rows, cols, archs, done},
#define HF_PLANES(name, out, planes, rows, cols, archs, done) \
    {name, out, planes, rows, cols, archs, done},
#include "server/convert/hf_tensors.def"
#undef HF_TENSOR
#undef HF_PLANES
};
enum { ROWS = sizeof table / sizeof table[0] };

typedef struct listing {
    hf_parts *out;
    const hf_folder *f;
    const hf_config *c;
    hf_quant quant;
    fault *why;
    size_t size[SIZES];
} listing;

static bool no_memory(fault *why)
{
    return fault_refuse(why, ERR_JSON, NULL, "out of memory");
}

/* "model.layers.%.x" with the layer in place of %, a plane in place of #. */
static void fill_name(char *out, size_t n, const char *pattern, size_t layer, size_t plane)
{
    size_t used = 0;

    for (const char *at = pattern; *at && used + 24 < n; at++)
        if (*at == '%' || *at == '#')
            used += (size_t)snprintf(out + used, n - used, "%zu", *at == '%' ? layer : plane);
        else
            out[used++] = *at;
    out[used] = '\0';
}

static void list_sizes(listing *l)
{
    const hf_config *h = l->c;
    const size_t size[SIZES] = {
#define HF_SIZE(name, elements) elements,
#include "server/convert/hf_sizes.def"
#undef HF_SIZE
    };

    memcpy(l->size, size, sizeof size);
}

/* --- one part --- */

/* Rows and columns in the file; of what is written as planes, how many of them. */
static void set_shape(hf_part *p, const tensor_row *row, const size_t *size)
{
    const bool planes = row && row->planes != SIZES;
    hf_rows *s = &p->from;

    s->planes = planes ? size[row->planes] : 1;
    p->to.type = GGUF_F32;
    p->to.name = (gguf_text){p->name, strlen(p->name)};
    p->to.dim[0] = s->cols;
    p->to.dim[1] = planes && s->rows == 1 ? s->planes : s->rows;
    p->to.dim[2] = planes && s->rows > 1 ? s->planes : 1;
    p->to.dim[3] = 1;
    p->to.n_dims = planes && s->rows > 1 ? 3 : planes || s->rows > 1 ? 2 : 1;
}

/* As the folder must have it: a plane, or with `all` every one in a tensor. */
static hf_shape shape_of(const hf_part *p, const tensor_row *row, bool all)
{
    const hf_rows *s = &p->from;
    const uint64_t pair = row->done & PAIR ? 2 : 1;
    hf_shape shape = {.turned = row->done & TURNED};

    if (all) shape.dim[shape.n++] = s->planes;
    if (row->rows == ONE || row->cols == ONE) {
        if (row->done & LINE) shape.dim[shape.n++] = 1;
        shape.dim[shape.n++] = s->cols * pair;
        return shape;
    }
    shape.dim[shape.n++] = row->done & TURNED ? s->cols : s->all;
    shape.dim[shape.n++] = row->done & TURNED ? s->all : s->cols;
    return shape;
}

/* Which rows of the source's are the part's. */
static void place_rows(hf_part *p, const tensor_row *row, const listing *l)
{
    hf_rows *s = &p->from;

    s->rows = row->cols == ONE ? 1 : l->size[row->rows];
    s->cols = row->cols == ONE ? l->size[row->rows] : l->size[row->cols];
    s->all = s->rows * (row->done & PAIR ? 2 : 1);
    s->first = row->done & SECOND ? s->rows : row->done & ODD ? 1 : 0;
    s->step = row->done & (EVEN | ODD) ? 2 : 1;
    s->turned = row->done & TURNED;
    s->gain = (row->done & GAIN) && (l->c->bit & HF_GAINS_LESS_1);
    if (l->c->bit & HF_PAIRED && row->done & (ROPE_Q | ROPE_K))
        s->heads = row->done & ROPE_Q ? l->c->H : l->c->G;
}

/* That it is missing is said with the class, for which it would be a must. */
static bool refuse_missing(const listing *l, const tensor_row *row, const char *name)
{
    if (row->done & MAYBE)
        return fault_refuse(l->why, ERR_JSON, NULL,
                            "tensor %s is missing, and tie_word_embeddings is not set", name);
    return fault_refuse(l->why, ERR_JSON, NULL, "tensor %s is missing (%s)", name,
                        l->c->class_name);
}

/* All sources of a part. *found false: it is not there, and need not be. */
static bool find_sources(listing *l, hf_part *p, const tensor_row *row, size_t layer,
                         bool *found)
{
    const bool each = strchr(row->name, '#') != NULL;
    const hf_shape shape = shape_of(p, row, row->planes != SIZES && !each);
    hf_rows *s = &p->from;
    char name[256];

    s->sources = each ? s->planes : 1;
    s->source = calloc(s->sources, sizeof *s->source);
    if (!s->source) return no_memory(l->why);
    for (size_t i = 0; i < s->sources; i++) {
        fill_name(name, sizeof name, row->name, layer, i);
        if (!hf_source_find(&s->source[i], l->f, &l->quant, name, &shape, found, l->why))
            return false;
        if (*found) continue;
        /* some of several and not the others: the first that lacks is named */
        return (row->done & IF_THERE && i == 0) || refuse_missing(l, row, name);
    }
    if (s->source->type == HF_MXFP4) s->turned = false;
    return true;
}

static void drop_last(hf_parts *out)
{
    free(out->list[--out->n].from.source);
    out->list[out->n] = (hf_part){0};
}

static bool add_part(listing *l, const tensor_row *row, size_t layer)
{
    hf_part *p = &l->out->list[l->out->n++];
    bool found = false;

    p->layer = strchr(row->name, '%') ? (long)layer : -1;
    fill_name(p->name, sizeof p->name, row->out, layer, 0);
    place_rows(p, row, l);
    set_shape(p, row, l->size);
    if (!find_sources(l, p, row, layer, &found)) return false;
    if (!found) drop_last(l->out);
    p->matrix = found && row->rows != ONE && row->cols != ONE && !(row->done & FLOAT);
    return true;
}

/* What the config gives as numbers. */
static void add_factors(listing *l, const char *name, const float *values)
{
    hf_part *p = &l->out->list[l->out->n++];

    snprintf(p->name, sizeof p->name, "%s", name);
    p->layer = -1;
    p->from = (hf_rows){.numbers = values, .rows = 1, .cols = l->c->rope.pairs, .step = 1};
    set_shape(p, NULL, l->size);
}

/* --- all of them --- */

static bool is_wanted(const listing *l, const tensor_row *row, size_t layer)
{
    const bool first = row->rows == V && !(row->done & MAYBE) && row->cols != ONE;
    const bool layered = strchr(row->name, '%') != NULL;
    const bool now = layered ? layer < l->c->L : first ? layer == 0 : layer == l->c->L;
    const bool sparse = hf_experts_in(&l->c->experts, layer);

    if (!now || !(row->archs & l->c->bit)) return false;
    if (row->done & MAYBE && l->c->tied) return false; /* the embedding's twin */
    return !(row->done & (sparse ? DENSE : SPARSE));
}

/* The rows of the table that begin with those of a layer are taken layer by layer. */
static bool list_parts(listing *l)
{
    const hf_rope *r = &l->c->rope;

    l->out->list = calloc(ROWS * (l->c->L + 1) + 4, sizeof *l->out->list);
    if (!l->out->list) return no_memory(l->why);
    for (size_t layer = 0; layer <= l->c->L; layer++)
        for (const tensor_row *row = table; row < table + ROWS; row++)
            if (is_wanted(l, row, layer) && !add_part(l, row, layer)) return false;
    if (r->has_freqs) add_factors(l, "rope_freqs.weight", r->freqs);
    if (r->has_longs) add_factors(l, "rope_factors_long.weight", r->longs);
    if (r->has_longs) add_factors(l, "rope_factors_short.weight", r->shorts);
    return true;
}

/* --- what else is there --- */

static bool begins_with(const char *name, const char *with)
{
    return strncmp(name, with, strlen(with)) == 0;
}

/* Buffers that older files carry, and the output where the embedding is used. */
static bool is_needless(const listing *l, const char *name)
{
    static const char inverse[] = "rotary_emb.inv_freq", head[] = "lm_head.weight";
    const size_t n = strlen(name), m = sizeof inverse - 1, k = sizeof head - 1;

    return (n > m && strcmp(name + n - m, inverse) == 0) ||
           (l->c->tied && n >= k && strcmp(name + n - k, head) == 0);
}

static bool is_tower(const listing *l, const char *name)
{
    static const char *const towers[] = {
        "vision_tower.", "vision_model.",         "visual.", "audio_tower.", "embed_vision.",
        "embed_audio.",  "multi_modal_projector."};

    if (!l->f->wrapped) return false;
    if (begins_with(name, "model.")) name += strlen("model.");
    for (size_t i = 0; i < sizeof towers / sizeof towers[0]; i++)
        if (begins_with(name, towers[i])) return true;
    return false;
}

/* Of a layer behind the last that predicts further tokens. */
static bool is_guessing(const listing *l, const char *name)
{
    const char *after = begins_with(name, l->f->prefix) ? name + strlen(l->f->prefix) : "";
    size_t layer;

    return sscanf(after, "layers.%zu.", &layer) == 1 && layer >= l->c->L &&
           layer < l->c->L + l->c->experts.guessing;
}

static bool check_unused(listing *l)
{
    for (size_t s = 0; s < l->f->shards; s++)
        for (size_t t = 0; t < safetensors_count(l->f->shard[s]); t++) {
            const char *name = safetensors_at(l->f->shard[s], t)->name;

            if (l->f->taken[s][t] || is_needless(l, name)) continue;
            if (is_tower(l, name))
                l->out->towers++;
            else if (is_guessing(l, name))
                l->out->guessing++;
            else
                return fault_refuse(l->why, ERR_JSON, NULL, "tensor %s is not one of %s", name,
                                    l->c->class_name);
        }
    return true;
}

/* --- the whole --- */

bool hf_parts_open(hf_parts *out, const hf_folder *f, const hf_config *c, fault *why)
{
    listing l = {.out = out, .f = f, .c = c, .why = why};

    *out = (hf_parts){0};
    if (!hf_quant_read(&l.quant, f->config, why)) return hf_folder_blame(why, "config.json");
    list_sizes(&l);
    return hf_bends_check(f, c, why) && list_parts(&l) && check_unused(&l);
}

void hf_parts_close(hf_parts *p)
{
    for (size_t i = 0; i < p->n; i++) free(p->list[i].from.source);
    free(p->list);
    *p = (hf_parts){0};
}
