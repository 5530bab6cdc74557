/* load_ffn.c - the networks of a layer.
 *
 *   dense    ffn_gate, ffn_up, ffn_down; gate and up may be one tensor, gate rows first;
 * without a gate what is bent is `up`, and stands where the gate does experts  planes of
 * tensors [X,rows,cols], each a network of its own, because a step multiplies by few of them;
 * ffn_gate_inp chooses shared   one more expert for every token, which its own gate may weigh
 *
 * Which of the first two a layer has, keys say: there are models whose first layers are dense,
 * or every second one. */
#include "engine/model/load_ffn.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* Names of the three matrices of a network. */
typedef struct ffn_names {
    const char *gate, *up, *down;
} ffn_names;

enum { F32_LIST = 6 }; /* the file's value type */

static const char shared_gate[] = "ffn_gate_inp_shexp.weight";
static const char shared_up[] = "ffn_up_shexp.weight";

/* --- a dense network, or the shared expert --- */

/* A number of the layer: the key has one for all, or a list. */
static err read_bent(const loader *o, const char *key, float *out)
{
    gguf_array list;
    double v = 0;
    const err number = gguf_get_f64(o->g, key, &v);

    *out = (float)v;
    if (number != ERR_KEYTYPE)
        return number == ERR_OK ? number : err_blame(o->why, number, key);
    if (gguf_get_array(o->g, key, &list) != ERR_OK || list.type != F32_LIST)
        return err_blame(o->why, ERR_KEYTYPE, key);
    if (o->layer >= list.n) return err_blame(o->why, ERR_RANGE, key);
    memcpy(out, (const char *)list.data + o->layer * sizeof(float), sizeof(float));
    return ERR_OK;
}

static float softplus(float x)
{
    return x > 20 ? x : log1pf(expf(x));
}

/* xIELU's numbers. The file has the two that were trained as they were trained. */
static err read_bend(const loader *o, kern_xielu *out)
{
    TRY(read_bent(o, "xielu.alpha_p", &out->rise));
    TRY(read_bent(o, "xielu.alpha_n", &out->fall));
    TRY(read_bent(o, "xielu.beta", &out->line));
    TRY(read_bent(o, "xielu.eps", &out->edge));
    out->rise = softplus(out->rise);
    out->fall = out->line + softplus(out->fall);
    return ERR_OK;
}

/* A gate and what it is multiplied with, one behind the other in a tensor of twice as many
 * rows. */
static bool is_fused(loader *o, const char *up, size_t F)
{
    const gguf_tensor *t = loader_look_part(o, up);

    return t && t->dim[1] == 2 * F;
}

static err open_network(loader *o, model_ffn *ffn, const ffn_names *n, size_t F)
{
    const size_t D = o->m->D;
    const bool gated = !(o->m->arch->has & ARCH_UNGATED);
    const loader_weight pair[] = {{n->gate, &ffn->gate, F, D}, {n->up, &ffn->up, F, D}};
    const loader_weight bent = {n->up, &ffn->gate, F, D}, down = {n->down, &ffn->down, D, F};

    if (!gated)
        TRY(loader_weights(o, &bent, 1));
    else if (is_fused(o, n->up, F) && !loader_look_part(o, n->gate))
        TRY(loader_fused(o, n->up, pair, 2));
    else
        TRY(loader_weights(o, pair, 2));
    if (o->m->arch->has & ARCH_XIELU) TRY(read_bend(o, &ffn->bend));
    return loader_weights(o, &down, 1);
}

static err open_dense(loader *o)
{
    static const ffn_names names = {"ffn_gate.weight", "ffn_up.weight", "ffn_down.weight"};
    model *m = o->m;
    model_ffn *ffn = &m->layers[o->layer].ffn;
    const bool gated = !(m->arch->has & ARCH_UNGATED);
    float **up = gated ? &ffn->up_bias : &ffn->gate_bias;

    TRY(open_network(o, ffn, &names, m->F));
    if (gated) TRY(loader_maybe(o, loader_part(o, "ffn_gate.bias"), m->F, 1, &ffn->gate_bias));
    TRY(loader_maybe(o, loader_part(o, "ffn_up.bias"), m->F, 1, up));
    return loader_maybe(o, loader_part(o, "ffn_down.bias"), m->D, 1, &ffn->down_bias);
}

/* --- experts --- */

/* One kind of the experts' matrices: planes of a tensor, `all` rows each, of which a matrix is
 * some. */
typedef struct planes {
    const char *part;
    size_t at; /* of the matrix in model_ffn */
    size_t all, first, rows, cols;
} planes;

static err open_planes(loader *o, const planes *p)
{
    model *m = o->m;
    const char *name = loader_part(o, p->part);
    const gguf_tensor *t = NULL;

    TRY(loader_find(o, name, (const size_t[3]){p->cols, p->all, m->X}, &t));
    for (size_t i = 0; i < m->X; i++) {
        const gguf_tensor one = loader_rows(t, i * p->all + p->first, p->rows);
        char *to = (char *)&m->layers[o->layer].experts[i];

        TRY(loader_pack(o, (matrix *)(void *)(to + p->at), &one, name));
    }
    return ERR_OK;
}

/* Biases [X,n], a row an expert. */
static err open_biases(loader *o, const char *part, size_t at, size_t n)
{
    model *m = o->m;
    float *all = NULL;

    TRY(loader_maybe(o, loader_part(o, part), n, m->X, &all));
    for (size_t i = 0; all && i < m->X; i++) {
        char *to = (char *)&m->layers[o->layer].experts[i];

        *(float **)(void *)(to + at) = all + i * n;
    }
    return ERR_OK;
}

static err open_each(loader *o)
{
    static const char both[] = "ffn_gate_up_exps.weight";
    const size_t F = o->m->expert_F, D = o->m->D, gate = offsetof(model_ffn, gate),
                 up = offsetof(model_ffn, up);

    if (loader_look_part(o, both)) {
        TRY(open_planes(o, &(planes){both, gate, 2 * F, 0, F, D}));
        TRY(open_planes(o, &(planes){both, up, 2 * F, F, F, D}));
    } else {
        TRY(open_planes(o, &(planes){"ffn_gate_exps.weight", gate, F, 0, F, D}));
        TRY(open_planes(o, &(planes){"ffn_up_exps.weight", up, F, 0, F, D}));
    }
    TRY(open_planes(o,
                    &(planes){"ffn_down_exps.weight", offsetof(model_ffn, down), D, 0, D, F}));
    TRY(open_biases(o, "ffn_gate_exps.bias", offsetof(model_ffn, gate_bias), F));
    TRY(open_biases(o, "ffn_up_exps.bias", offsetof(model_ffn, up_bias), F));
    return open_biases(o, "ffn_down_exps.bias", offsetof(model_ffn, down_bias), D);
}

/* How wide it is follows from its tensor: keys of it differ between families. */
static err open_shared(loader *o)
{
    static const ffn_names names = {"ffn_gate_shexp.weight", shared_up,
                                    "ffn_down_shexp.weight"};
    model_layer *layer = &o->m->layers[o->layer];
    const gguf_tensor *up = loader_look_part(o, shared_up), *t = NULL;
    gguf_tensor row;

    if (!up) return ERR_OK;
    TRY(open_network(o, &layer->shared, &names, up->dim[1]));
    if (!loader_look_part(o, shared_gate)) return ERR_OK;
    TRY(loader_find(o, o->name, (const size_t[3]){o->m->D, 0, 0}, &t));
    row = loader_rows(t, 0, 1);
    return loader_pack(o, &layer->shared_gate, &row, o->name);
}

static err open_experts(loader *o)
{
    model *m = o->m;
    model_layer *layer = &m->layers[o->layer];
    const loader_weight router = {"ffn_gate_inp.weight", &layer->router, m->X, m->D};

    layer->experts = calloc(m->X, sizeof *layer->experts);
    if (!layer->experts) return ERR_NOMEM;
    TRY(loader_weights(o, &router, 1));
    TRY(loader_maybe(o, loader_part(o, "ffn_gate_inp.bias"), m->X, 1, &layer->router_bias));
    TRY(loader_maybe(o, loader_part(o, "exp_probs_b.bias"), m->X, 1, &layer->choice_bias));
    TRY(open_each(o));
    return open_shared(o);
}

err load_ffn(loader *o)
{
    const model *m = o->m;
    const bool dense = !m->X || o->layer < m->dense_layers || (o->layer + 1) % m->expert_step;

    return dense ? open_dense(o) : open_experts(o);
}

size_t load_ffn_widest(const loader *o)
{
    const model *m = o->m;
    size_t widest = m->F > m->expert_F ? m->F : m->expert_F;
    loader in = *o;

    for (in.layer = 0; m->X && in.layer < m->L; in.layer++) {
        const gguf_tensor *t = loader_look_part(&in, shared_up);

        if (t && t->dim[1] > widest) widest = t->dim[1];
    }
    return widest;
}

bool load_ffn_is_gate(const gguf_tensor *t)
{
    const size_t n = sizeof shared_gate - 1;

    return t->name.n > n && memcmp(t->name.at + t->name.n - n, shared_gate, n) == 0;
}
