/* load_encoder.c - BERT's ends and norms, and what stands behind pooling.
 *
 *   x = norm(token_embd[id] + token_types[0] + position_embd[t])      BERT; others some of it
 *   vector = dense_3 (dense_2 pooled)                                 EmbeddingGemma
 *
 * All of it is read where a file has it; what BERT cannot do without is asked for. Tables of
 * positions are read by rows, like the embedding: packed they would be multiplied by nobody. */
#include "engine/model/load_encoder.h"

#include <string.h>

static const char positions_name[] = "position_embd.weight",
                  types_name[] = "token_types.weight";

bool load_encoder_reads_rows(const gguf_tensor *t)
{
    const char *const names[] = {positions_name, types_name};

    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
        if (t->name.n == strlen(names[i]) && memcmp(t->name.at, names[i], t->name.n) == 0)
            return true;
    return false;
}

/* Norms of sums are what the family has in place of norms of what goes in. */
static bool has_sums(const model *m)
{
    return m->arch->has & ARCH_ENCODER && m->arch->has & ARCH_BARE;
}

/* Where no layer's positions rotate there must be a table of them, for every position that the
 * model was trained for. */
static err find_positions(loader *o)
{
    model *m = o->m;
    const gguf_tensor *t = loader_look(o, positions_name);

    if (!t && m->arch->has & ARCH_NOPE && m->arch->period == 1)
        return err_blame(o->why, ERR_MISSING, positions_name);
    if (!t) return ERR_OK;
    TRY(loader_find(o, positions_name, (const size_t[3]){m->D, t->dim[1], 0}, &t));
    if (t->dim[1] < m->ctx_train) return err_blame(o->why, ERR_SHAPE, positions_name);
    m->positions = *t;
    return ERR_OK;
}

/* A text by itself is of the first kind. */
static err read_types(loader *o)
{
    const gguf_tensor *t = loader_look(o, types_name);

    if (!t) return ERR_OK;
    TRY(loader_find(o, types_name, (const size_t[3]){o->m->D, t->dim[1], 0}, &t));
    o->m->token_type = loader_take(o->m, o->m->D);
    return matrix_read_row(t, 0, o->m->token_type);
}

/* Each reads what the one before made; the last makes the vector. */
static err open_dense(loader *o)
{
    static const char *const names[] = {"dense_2.weight", "dense_3.weight"};
    model *m = o->m;
    size_t width = m->D;

    for (size_t i = 0; i < 2; i++) {
        const gguf_tensor *t = loader_look(o, names[i]);

        if (!t) continue;
        TRY(loader_find(o, names[i], (const size_t[3]){width, t->dim[1], 0}, &t));
        TRY(loader_pack(o, &m->dense[i], t, names[i]));
        width = t->dim[1];
    }
    return ERR_OK;
}

err load_encoder(loader *o)
{
    model *m = o->m;

    TRY(find_positions(o));
    TRY(read_types(o));
    TRY(has_sums(m) ? loader_vector(o, "token_embd_norm.weight", m->D, 1, &m->embed_norm.gain)
                    : ERR_OK);
    TRY(loader_maybe(o, "token_embd_norm.bias", m->embed_norm.gain ? m->D : 0, 1,
                     &m->embed_norm.bias));
    return open_dense(o);
}

err load_encoder_layer(loader *o)
{
    model_layer *layer = &o->m->layers[o->layer];
    const size_t D = o->m->D;

    if (!has_sums(o->m)) return ERR_OK;
    TRY(loader_vector(o, loader_part(o, "attn_output_norm.weight"), D, 1,
                      &layer->attn_sum.gain));
    TRY(loader_maybe(o, loader_part(o, "attn_output_norm.bias"), D, 1, &layer->attn_sum.bias));
    TRY(loader_vector(o, loader_part(o, "layer_output_norm.weight"), D, 1,
                      &layer->ffn_sum.gain));
    return loader_maybe(o, loader_part(o, "layer_output_norm.bias"), D, 1,
                        &layer->ffn_sum.bias);
}
