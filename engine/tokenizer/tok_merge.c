/* tok_merge.c - pairs of neighbours are merged, the best first.
 *
 * The plain way looks for the best pair again after every merge, n^2 steps, which a message of
 * a megabyte without a space would turn into minutes. Here every pair is proposed when it comes
 * to be, to a heap; a proposal whose pair has changed meanwhile is dropped when its turn comes.
 */
#include "engine/tokenizer/tok_merge.h"

#include <stdlib.h>

enum { CANCEL_TURNS = 8192 }; /* a millisecond or so */

/* Memory is kept from piece to piece: most are words of a few bytes. */
err tok_merge_begin(tok_merge *m, const char *text, size_t n)
{
    const size_t room = n < 256 ? 256 : 2 * n;

    if (n > m->room) {
        if (n >= TOK_MERGE_GONE) return ERR_NOMEM;
        tok_merge_free(m);
        m->symbols = malloc(room * sizeof *m->symbols);
        m->heap = malloc(2 * room * sizeof *m->heap);
        m->room = m->symbols && m->heap ? room : 0;
        if (!m->room) return ERR_NOMEM;
    }
    m->text = text;
    m->n = (uint32_t)n;
    m->last = TOK_MERGE_END;
    m->n_heap = 0;
    return ERR_OK;
}

void tok_merge_free(tok_merge *m)
{
    free(m->symbols);
    free(m->heap);
    m->symbols = NULL;
    m->heap = NULL;
    m->room = 0;
}

void tok_merge_put(tok_merge *m, size_t at, int32_t id)
{
    m->symbols[at] = (tok_symbol){id, m->last, TOK_MERGE_END};
    if (m->last != TOK_MERGE_END) m->symbols[m->last].right = (uint32_t)at;
    m->last = (uint32_t)at;
}

/* Rank above position in one number: one comparison says which is better and, of equals,
 * which stands further left. */
static void heap_push(tok_merge *m, uint64_t item)
{
    size_t i = m->n_heap++;

    for (; i && m->heap[(i - 1) / 2] > item; i = (i - 1) / 2) m->heap[i] = m->heap[(i - 1) / 2];
    m->heap[i] = item;
}

static uint64_t heap_pop(tok_merge *m)
{
    const uint64_t top = m->heap[0], last = m->heap[--m->n_heap];
    size_t i = 0, child;

    while ((child = 2 * i + 1) < m->n_heap) {
        if (child + 1 < m->n_heap && m->heap[child + 1] < m->heap[child]) child++;
        if (m->heap[child] >= last) break;
        m->heap[i] = m->heap[child];
        i = child;
    }
    m->heap[i] = last;
    return top;
}

static bool pair_at(const tok_merge *m, uint32_t left, uint32_t *rank, int32_t *id)
{
    const uint32_t right = m->symbols[left].right;

    return right != TOK_MERGE_END && right != TOK_MERGE_GONE && m->pair(m, left, rank, id);
}

static void propose(tok_merge *m, uint32_t left)
{
    uint32_t rank;
    int32_t id;

    if (left != TOK_MERGE_END && pair_at(m, left, &rank, &id))
        heap_push(m, (uint64_t)rank << 32 | left);
}

/* Make one symbol of `left` and its neighbour. */
static void apply(tok_merge *m, uint32_t left, int32_t id)
{
    tok_symbol *s = &m->symbols[left], *gone = &m->symbols[s->right];

    s->id = id;
    s->right = gone->right;
    gone->right = TOK_MERGE_GONE;
    if (s->right != TOK_MERGE_END) m->symbols[s->right].left = left;
    propose(m, s->left);
    propose(m, left);
}

/* Every merge takes one proposal, makes at most two, and leaves one symbol less, so that 2n
 * places are enough for the heap. */
err tok_merge_all(tok_merge *m)
{
    for (uint32_t i = 0; i != TOK_MERGE_END; i = m->symbols[i].right) propose(m, i);
    for (size_t turn = 1; m->n_heap; turn++) {
        const uint64_t item = heap_pop(m);
        const uint32_t left = (uint32_t)item;
        uint32_t rank;
        int32_t id;

        if (turn % CANCEL_TURNS == 0 && m->cancel && atomic_load(m->cancel))
            return ERR_CANCELED;
        /* Another rank means that the pair has changed since it was proposed. The same one
         * may be another pair's, which then is the best there is, too. */
        if (pair_at(m, left, &rank, &id) && rank == item >> 32) apply(m, left, id);
    }
    return ERR_OK;
}
