/* mix.c - types of matrices by their names and places.
 *
 *             output   attn_v, ffn_down                            others
 *   PLAIN     Q6_K     as the others                               the type
 *   SMALL     Q6_K     Q4_K: Q5_K in the first four / eighth       the type
 *   MEDIUM    Q6_K     Q6_K in the first and the last eighth of    the type
 *                      layers, and every third between
 *
 * Source: llama_tensor_get_type of llama.cpp 0.4. */
#include "server/convert/mix.h"

#include <string.h>

#include "engine/model/quantize.h"

enum { ONE, PLAIN, SMALL, MEDIUM };

static const mix_row mixes[] = {
#define MIX(word, type, number, way) {word, GGUF_##type, number, way},
#include "server/convert/mixes.def"
#undef MIX
};
enum { MIXES = sizeof mixes / sizeof mixes[0] };

const mix_row *mix_find(const char *word)
{
    for (size_t i = 0; i < MIXES; i++)
        if (strcmp(mixes[i].word, word) == 0) return &mixes[i];
    return NULL;
}

const mix_row *mix_of(gguf_type type)
{
    for (size_t i = 0; i < MIXES; i++)
        if (mixes[i].type == type && mixes[i].way != SMALL) return &mixes[i];
    return NULL;
}

static bool has(const mix_matrix *of, const char *part)
{
    return strstr(of->name, part) != NULL;
}

/* The ends of a model are sensitive, and a third of what is between gives most of the rest. */
static bool is_sensitive(const mix_matrix *of)
{
    const size_t eighth = of->layers / 8;

    return of->layer < eighth || of->layer >= 7 * of->layers / 8 ||
           (of->layer - eighth) % 3 == 2;
}

static gguf_type choose_value(const mix_row *m, const mix_matrix *of)
{
    gguf_type type = m->type;

    if (m->way == MEDIUM && is_sensitive(of)) type = GGUF_Q6_K;
    if (m->way == SMALL && type == GGUF_Q4_K && of->layer < 4) type = GGUF_Q5_K;
    if (of->shares && type == GGUF_Q4_K) type = GGUF_Q5_K;
    return of->experts == 8 ? GGUF_Q8_0 : type;
}

static gguf_type choose_down(const mix_row *m, const mix_matrix *of)
{
    if (m->way == MEDIUM && is_sensitive(of)) return GGUF_Q6_K;
    if (m->way == SMALL && m->type == GGUF_Q4_K && of->layer < of->layers / 8) return GGUF_Q5_K;
    return m->type;
}

static gguf_type choose_wished(const mix_row *m, const mix_matrix *of)
{
    const bool four = m->type == GGUF_Q4_K, eight = of->experts == 8;

    if (m->way == ONE) return m->type;
    if (of->output) return GGUF_Q6_K;
    if (has(of, "attn_v.weight") || has(of, "attn_qkv.weight")) return choose_value(m, of);
    if (has(of, "attn_k.weight") && eight) return GGUF_Q8_0;
    if (has(of, "attn_output.weight") && eight && four) return GGUF_Q5_K;
    return has(of, "ffn_down") ? choose_down(m, of) : m->type;
}

gguf_type mix_choose(const mix_row *m, const mix_matrix *of)
{
    const gguf_type type = choose_wished(m, of);

    if (quantize_fits(type, of->cols)) return type;
    return quantize_fits(GGUF_Q8_0, of->cols) ? GGUF_Q8_0 : GGUF_F16;
}
