/* layer.c - what a layer adds to h, each half from the rows it reads to what is deferred.
 *
 * Rows behind attention never meet again, so whoever has made queries, keys and values ends a
 * layer in the same way, whatever the rows belong to. */
#include "engine/model/layer.h"

#include "engine/model/attention.h"
#include "engine/model/ffn.h"
#include "engine/model/product.h"
#include "engine/model/step.h"

typedef struct forward forward;

/* Beside a network x must outlive it, so that its result has a place of its own. */
void layer_attend(forward *f, size_t l)
{
    const model_layer *layer = &f->m->layers[l];
    float *made = layer->parallel ? f->beside : f->x;
    const product o = {&layer->o, made};
    const bool coded = attention_run(f, (int)l, product_wants_codes(&o, 1));

    product_run(f, (product_source){f->heads, f->rows, coded}, &o, 1);
    product_defer(f, (step_residual){made, layer->o_bias, layer->attn_post, &layer->attn_sum});
}

void layer_network(forward *f, size_t l)
{
    const model_layer *layer = &f->m->layers[l];
    product list[2];
    const int n = ffn_inputs(f, l, list);

    ffn_run(f, l,
            layer->parallel ? (product_source){f->x, f->rows, false}
                            : product_add_norm(f, &layer->ffn_norm, list, n));
}
