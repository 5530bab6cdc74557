/* tok_charsmap.c - a double array trie, read as Darts-clone packs it (Yata 2008).
 *
 *   4 bytes: how long the trie is | units of 4 bytes | texts, a NUL behind each
 *
 *   unit: bits 0-7 the byte that leads here, 8: a text ends here, 9: the offset counts by 256,
 *         10-30 offset to its children, 31: no node but a value
 *
 * The child of the node at i for byte c is at i ^ offset ^ c, if the unit there has c for its
 * byte; a node's value is at i ^ offset. */
#include "engine/tokenizer/tok_charsmap.h"

#include <stdlib.h>
#include <string.h>

enum { DEPTH_MOST = 64 /* bytes of the longest rule; SentencePiece's own have 18 */ };

static size_t children_of(uint32_t unit)
{
    return (size_t)(unit >> 10) << ((unit >> 9 & 1) * 8);
}

static bool is_child(uint32_t unit, unsigned char c)
{
    return (unit & (1u << 31 | 0xff)) == c;
}

/* A walk through all of it. What ends alike is shared, so a node may be reached by several
 * ways; it is looked at once for each length of them. */
typedef struct walk {
    tok_charsmap *m;
    uint64_t *seen; /* [n] a bit for each depth */
} walk;

/* What the value at `at` stands for: a text within the texts, that ends in them. */
static err check_value(walk *w, size_t at, size_t depth)
{
    tok_charsmap *m = w->m;
    size_t from, bytes;

    if (at >= m->n) return ERR_STRING;
    from = m->units[at] & 0x7fffffffu;
    if (from >= m->text_bytes) return ERR_STRING;
    bytes = strnlen(m->texts + from, m->text_bytes - from);
    if (bytes == m->text_bytes - from) return ERR_STRING;
    bytes = (bytes + depth - 1) / depth;
    if (bytes > m->growth) m->growth = bytes;
    return ERR_OK;
}

/* `base`: the node's place and the offset to its children. */
static err check_node(walk *w, size_t base, size_t depth)
{
    if (depth == DEPTH_MOST) return ERR_STRING; /* longer than any, or in a circle */
    for (unsigned c = 1; c < 256; c++) {
        const size_t at = base ^ c;
        uint32_t unit;

        if (at >= w->m->n || !is_child(w->m->units[at], (unsigned char)c)) continue;
        if (w->seen[at] >> depth & 1) continue;
        w->seen[at] |= (uint64_t)1 << depth;
        unit = w->m->units[at];
        if (unit >> 8 & 1) TRY(check_value(w, at ^ children_of(unit), depth + 1));
        TRY(check_node(w, at ^ children_of(unit), depth + 1));
    }
    return ERR_OK;
}

static err check(tok_charsmap *m)
{
    walk w = {m, calloc(m->n, sizeof(uint64_t))};
    err e;

    if (!w.seen) return ERR_NOMEM;
    e = check_node(&w, children_of(m->units[0]), 0);
    free(w.seen);
    return e;
}

/* Units are copied, for they lie at any address in the file. */
err tok_charsmap_open(tok_charsmap *m, const void *data, size_t n)
{
    uint32_t bytes;

    *m = (tok_charsmap){.growth = 1};
    if (n == 0) return ERR_OK;
    if (n < sizeof bytes) return ERR_STRING;
    memcpy(&bytes, data, sizeof bytes);
    if (bytes == 0 || bytes % sizeof *m->units || bytes > n - sizeof bytes) return ERR_STRING;
    m->units = malloc(bytes);
    if (!m->units) return ERR_NOMEM;
    memcpy(m->units, (const char *)data + sizeof bytes, bytes);
    m->n = bytes / sizeof *m->units;
    m->texts = (const char *)data + sizeof bytes + bytes;
    m->text_bytes = n - sizeof bytes - bytes;
    return check(m);
}

void tok_charsmap_close(tok_charsmap *m)
{
    free(m->units);
    *m = (tok_charsmap){0};
}

size_t tok_charsmap_match(const tok_charsmap *m, const char *text, size_t n, gguf_text *out)
{
    size_t longest = 0, at = m->n ? children_of(m->units[0]) : 0;

    for (size_t i = 0; i < n && i < DEPTH_MOST; i++) {
        const unsigned char c = (unsigned char)text[i];
        uint32_t unit;

        at ^= c;
        if (c == 0 || at >= m->n || !is_child(m->units[at], c)) break;
        unit = m->units[at];
        at ^= children_of(unit);
        if (!(unit >> 8 & 1)) continue;
        longest = i + 1;
        out->at = m->texts + (m->units[at] & 0x7fffffffu);
    }
    if (longest) out->n = strlen(out->at);
    return longest;
}
