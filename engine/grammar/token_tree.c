/* token_tree.c - sorts tokens by their bytes and lays the tree out in that order. */
#include "engine/grammar/token_tree.h"

#include <stdlib.h>
#include <string.h>

/* A token to be sorted; equal bytes by id, so that the tree is the same every time. */
typedef struct entry {
    gguf_text piece;
    int32_t id;
} entry;

static int compare_entries(const void *a, const void *b)
{
    const entry *x = a, *y = b;
    const size_t n = x->piece.n < y->piece.n ? x->piece.n : y->piece.n;
    const int order = n ? memcmp(x->piece.at, y->piece.at, n) : 0;

    if (order) return order;
    if (x->piece.n != y->piece.n) return x->piece.n < y->piece.n ? -1 : 1;
    return (x->id > y->id) - (x->id < y->id);
}

static size_t shared_bytes(gguf_text a, gguf_text b)
{
    size_t n = 0;

    while (n < a.n && n < b.n && a.at[n] == b.at[n]) n++;
    return n;
}

/* Nodes behind those of the token before, with which it shares `shared` bytes; `open` [longest]
 * are the nodes on the way to the newest. */
static void add_token(token_tree *v, const entry *e, size_t shared, size_t before,
                      uint32_t *open)
{
    for (size_t d = shared; d < before; d++) v->nodes[open[d]].skip = (uint32_t)v->n_nodes;
    for (size_t d = shared; d < e->piece.n; d++) {
        open[d] = (uint32_t)v->n_nodes;
        v->nodes[v->n_nodes++] = (token_tree_node){
            .token = -1, .depth = (uint16_t)(d + 1), .byte = (uint8_t)e->piece.at[d]};
    }
    if (shared < e->piece.n) {
        v->nodes[v->n_nodes - 1].token = e->id;
        return;
    }
    v->nodes[v->n_nodes] = (token_tree_node){.token = e->id,
                                             .depth = (uint16_t)shared,
                                             .byte = (uint8_t)e->piece.at[shared - 1],
                                             .skip = (uint32_t)v->n_nodes + 1,
                                             .again = true};
    v->n_nodes++;
}

static size_t count_nodes(const entry *sorted, size_t n)
{
    size_t nodes = 0;

    for (size_t i = 0; i < n; i++) {
        const size_t shared = i ? shared_bytes(sorted[i - 1].piece, sorted[i].piece) : 0;

        nodes += shared < sorted[i].piece.n ? sorted[i].piece.n - shared : 1;
    }
    return nodes;
}

static err build(token_tree *v, const entry *sorted, size_t n)
{
    uint32_t *open = malloc((v->longest + 1) * sizeof *open);

    v->nodes = malloc((count_nodes(sorted, n) + 1) * sizeof *v->nodes);
    if (!open || !v->nodes) {
        free(open);
        return ERR_NOMEM;
    }
    for (size_t i = 0; i < n; i++)
        add_token(v, &sorted[i], i ? shared_bytes(sorted[i - 1].piece, sorted[i].piece) : 0,
                  i ? sorted[i - 1].piece.n : 0, open);
    for (size_t d = 0; n && d < sorted[n - 1].piece.n; d++)
        v->nodes[open[d]].skip = (uint32_t)v->n_nodes;
    free(open);
    return ERR_OK;
}

/* Is it in the tree? One that gives no text would be allowed for ever; one that is longer than
 * a depth can count is none that a model would miss. */
static bool is_text(const token_tree *v, size_t id)
{
    return v->use[id] == TOKEN_TREE_TEXT && v->pieces[id].n && v->pieces[id].n <= UINT16_MAX;
}

static err make_tree(token_tree *v)
{
    entry *sorted = malloc((v->V + 1) * sizeof *sorted);
    size_t n = 0;
    err e;

    if (!sorted) return ERR_NOMEM;
    for (size_t id = 0; id < v->V; id++) {
        if (v->use[id] == TOKEN_TREE_END) v->ends[id / 64] |= UINT64_C(1) << id % 64;
        if (v->use[id] == TOKEN_TREE_CONTROL) v->controls[v->n_controls++] = (int32_t)id;
        if (!is_text(v, id)) continue;
        sorted[n++] = (entry){v->pieces[id], (int32_t)id};
        if (v->pieces[id].n > v->longest) v->longest = v->pieces[id].n;
        if (v->pieces[id].n == 1) v->single[(uint8_t)v->pieces[id].at[0]] = true;
    }
    qsort(sorted, n, sizeof *sorted, compare_entries);
    e = build(v, sorted, n);
    free(sorted);
    return e;
}

err token_tree_new(token_tree **out, const gguf_text *pieces, const uint8_t *use, size_t V)
{
    token_tree *v = calloc(1, sizeof *v);
    err e = ERR_NOMEM;

    if (!v) return e;
    v->V = V;
    v->words = (V + 63) / 64;
    v->pieces = malloc((V + 1) * sizeof *v->pieces);
    v->use = malloc(V + 1);
    v->ends = calloc(v->words + 1, sizeof *v->ends);
    v->controls = malloc((V + 1) * sizeof *v->controls);
    if (v->pieces && v->use && v->ends && v->controls) {
        memcpy(v->pieces, pieces, V * sizeof *pieces);
        memcpy(v->use, use, V);
        e = make_tree(v);
    }
    if (e == ERR_OK)
        *out = v;
    else
        token_tree_free(v);
    return e;
}

static token_tree_use use_of(const tokenizer *t, int32_t id)
{
    if (tokenizer_is_end(t, id)) return TOKEN_TREE_END;
    return tokenizer_piece(t, id, false).n ? TOKEN_TREE_TEXT : TOKEN_TREE_CONTROL;
}

err token_tree_open(token_tree **out, const tokenizer *t)
{
    const size_t V = tokenizer_size(t);
    gguf_text *pieces = malloc((V + 1) * sizeof *pieces);
    uint8_t *use = malloc(V + 1);
    err e = ERR_NOMEM;

    for (size_t id = 0; pieces && use && id < V; id++) {
        pieces[id] = tokenizer_piece(t, (int32_t)id, true);
        use[id] = (uint8_t)use_of(t, (int32_t)id);
    }
    if (pieces && use) e = token_tree_new(out, pieces, use, V);
    if (e == ERR_OK) (*out)->pads = tokenizer_pads(t);
    free(pieces);
    free(use);
    return e;
}

void token_tree_free(token_tree *v)
{
    if (!v) return;
    free(v->nodes);
    free(v->pieces);
    free(v->use);
    free(v->ends);
    free(v->controls);
    free(v);
}

/* Everything but the nodes. */
static size_t bytes_beside(size_t V)
{
    return sizeof(token_tree) + V * (sizeof(gguf_text) + 1 + sizeof(int32_t)) + V / 8;
}

size_t token_tree_bytes(const token_tree *v)
{
    return bytes_beside(v->V) + v->n_nodes * sizeof *v->nodes;
}

/* No two tokens share a byte, at worst. */
size_t token_tree_measure(const tokenizer *t)
{
    const size_t V = tokenizer_size(t);
    size_t bytes = 0;

    for (size_t id = 0; id < V; id++) bytes += tokenizer_piece(t, (int32_t)id, false).n;
    return bytes_beside(V) + (bytes + V) * sizeof(token_tree_node);
}
