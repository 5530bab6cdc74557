/* tok_special.c - finds tokens whole in text: sorted texts, one range narrowed byte by byte. */
#include "engine/tokenizer/tok_special.h"

#include <stdlib.h>
#include <string.h>

bool tok_special_is(uint8_t type)
{
    return type == TOK_UNKNOWN || type == TOK_CONTROL || type == TOK_USER || type == TOK_FOUND;
}

/* In text that a user wrote. */
static bool is_plain(uint8_t type)
{
    return type == TOK_USER || type == TOK_FOUND;
}

/* By id last, so that of two tokens with the same bytes the lower comes first, as the search
 * expects. */
static int by_text(const void *a, const void *b)
{
    const tok_special *p = a, *q = b;
    const size_t n = p->text.n < q->text.n ? p->text.n : q->text.n;
    const int order = memcmp(p->text.at, q->text.at, n);

    if (order) return order;
    if (p->text.n != q->text.n) return p->text.n < q->text.n ? -1 : 1;
    return (p->id > q->id) - (p->id < q->id);
}

err tok_special_read(tok_specials *s, const tok_vocab *v, const gguf_text *text)
{
    size_t n = 0;

    for (size_t i = 0; i < v->n; i++) n += tok_special_is(v->type[i]);
    s->v = v;
    s->list = malloc((n ? n : 1) * sizeof *s->list);
    if (!s->list) return ERR_NOMEM;
    for (size_t i = 0; i < v->n; i++) {
        if (!tok_special_is(v->type[i]) || text[i].n == 0) continue;
        s->list[s->n++] = (tok_special){text[i], (int32_t)i};
        s->first[(unsigned char)text[i].at[0]] = true;
    }
    qsort(s->list, s->n, sizeof *s->list, by_text);
    return ERR_OK;
}

void tok_special_close(tok_specials *s)
{
    free(s->list);
}

bool tok_special_in_text(const tok_specials *s)
{
    for (size_t i = 0; i < s->n; i++)
        if (is_plain(s->v->type[s->list[i].id])) return true;
    return false;
}

/* The first of list[from .. to) whose byte at `depth` is not below c; all of them are longer
 * than depth and equal before it. */
static size_t lower_bound(const tok_specials *s, size_t from, size_t to, size_t depth,
                          unsigned c)
{
    while (from < to) {
        const size_t middle = from + (to - from) / 2;

        if ((unsigned char)s->list[middle].text.at[depth] < c)
            from = middle + 1;
        else
            to = middle;
    }
    return from;
}

/* A byte that begins none is passed over at once. Cost of the rest: the longest, at most. */
const tok_special *tok_special_match(const tok_specials *s, const char *text, size_t n,
                                     bool controls)
{
    const tok_special *best = NULL;
    size_t from = 0, to = n && s->first[(unsigned char)text[0]] ? s->n : 0;

    for (size_t depth = 0; from < to; depth++) {
        const tok_special *shortest = &s->list[from];

        if (shortest->text.n == depth) { /* shorter ones come first */
            if (controls || is_plain(s->v->type[shortest->id])) best = shortest;
            while (from < to && s->list[from].text.n == depth) from++;
        }
        if (depth == n) break;
        from = lower_bound(s, from, to, depth, (unsigned char)text[depth]);
        to = lower_bound(s, from, to, depth, (unsigned char)text[depth] + 1u);
    }
    return best;
}

const tok_special *tok_special_find(const tok_specials *s, const char *text, size_t n)
{
    const tok_special *found = tok_special_match(s, text, n, true);

    return found && found->text.n == n ? found : NULL;
}
