/* resume.c - two rows of ids side by side, byte by byte.
 *
 *   computed  | The| qu|ick| fox|<end>|          ids of the last turn
 *   new text  | The| quick| foxes| ...           the same text, tokenized anew
 *                          ^ here bytes differ: `keep` ends at the last boundary of an old
 * token before it where the new row can be cut, and the rest of the new row's text is tokenized
 * from there
 */
#include "server/api/resume.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

/* A place in a row of ids: before byte `at` of token i. */
typedef struct place {
    size_t i, at;
} place;

typedef struct row {
    const tokenizer *tokens;
    const int32_t *ids; /* [n] */
    size_t n;
    place now;
} row;

static bool at_end(const row *r)
{
    return r->now.i == r->n;
}

/* Is the next token a control token, which agrees with itself only? */
static bool at_control(const row *r)
{
    return tokenizer_is_special(r->tokens, r->ids[r->now.i]);
}

static gguf_text rest(const row *r)
{
    gguf_text piece = tokenizer_piece(r->tokens, r->ids[r->now.i], true);

    piece.at += r->now.at;
    piece.n -= r->now.at;
    return piece;
}

/* Past the token's end the place is the next one's beginning: one form for each place. */
static void skip(row *r, size_t bytes)
{
    r->now.at += bytes;
    if (rest(r).n) return;
    r->now = (place){r->now.i + 1, 0};
}

/* Take what both have next and agree on. False: they differ, or one has ended. */
static bool step(row *a, row *b)
{
    gguf_text x, y;
    size_t n;

    if (at_end(a) || at_end(b)) return false;
    if (at_control(a) || at_control(b)) {
        if (a->now.at || b->now.at || a->ids[a->now.i] != b->ids[b->now.i]) return false;
        a->now.i++;
        b->now.i++;
        return true;
    }
    x = rest(a);
    y = rest(b);
    n = x.n < y.n ? x.n : y.n;
    if (memcmp(x.at, y.at, n) != 0) return false;
    skip(a, n);
    skip(b, n);
    return true;
}

/* Can text be cut here: at a token's boundary, or before the first byte of a character? */
static bool can_cut(const row *r)
{
    return !r->now.at || ((unsigned char)rest(r).at[0] & 0xc0) != 0x80;
}

/* How many of the old ids may stay, and where the new ones go on. Each byte is compared once.
 */
static size_t agree(row *old, row *fresh, place *from)
{
    size_t keep = 0;

    *from = fresh->now;
    do {
        if (old->now.at || !can_cut(fresh)) continue;
        keep = old->now.i;
        *from = fresh->now;
    } while (step(old, fresh));
    return keep;
}

/* The text from a place inside a token up to the next control token; *next: that one. */
static char *text_from(const row *r, place from, size_t *bytes, size_t *next)
{
    row at = *r;
    size_t n = 0;
    char *text;

    at.now = from;
    while (!at_end(&at) && !at_control(&at)) {
        n += rest(&at).n;
        at.now = (place){at.now.i + 1, 0};
    }
    *next = at.now.i;
    *bytes = n;
    text = malloc(n + 1);
    if (!text) return NULL;
    n = 0;
    for (at.now = from; at.now.i < *next; at.now = (place){at.now.i + 1, 0}) {
        const gguf_text piece = rest(&at);

        memcpy(text + n, piece.at, piece.n);
        n += piece.n;
    }
    return text;
}

/* keep old ids, then what follows `from`. Only the text up to the next control token is
 * tokenized again: beyond it the new ids are what they would be anyway. */
static err join(const row *old, size_t keep, const row *fresh, place from, int32_t **ids,
                size_t *n)
{
    size_t bytes = 0, next = from.i, encoded = 0;
    char *text = NULL;
    int32_t *joined;
    err e = ERR_OK;

    if (from.at) {
        text = text_from(fresh, from, &bytes, &next);
        if (!text) return ERR_NOMEM;
    }
    joined = malloc((keep + tokenizer_most_ids(old->tokens, bytes) + fresh->n - next + 1) *
                    sizeof *joined);
    if (!joined) e = ERR_NOMEM;
    if (e == ERR_OK && text)
        e = tokenizer_encode(old->tokens, text, bytes, TOKENIZER_INSIDE, joined + keep,
                             &encoded);
    free(text);
    if (e != ERR_OK) {
        free(joined);
        return e;
    }
    memcpy(joined, old->ids, keep * sizeof *joined);
    memcpy(joined + keep + encoded, fresh->ids + next, (fresh->n - next) * sizeof *joined);
    free(*ids);
    *ids = joined;
    *n = keep + encoded + fresh->n - next;
    return ERR_OK;
}

/* Mostly the ids agree from the first to the last, so those are compared as ids first. */
err resume_ids(const tokenizer *t, const int32_t *old, size_t n_old, int32_t **ids, size_t *n)
{
    row before = {t, old, n_old, {0, 0}}, fresh = {t, *ids, *n, {0, 0}};
    size_t same = 0, keep;
    place from;

    while (same < n_old && same < *n && old[same] == (*ids)[same]) same++;
    before.now.i = fresh.now.i = same;
    keep = agree(&before, &fresh, &from);
    return keep == same ? ERR_OK : join(&before, keep, &fresh, from, ids, n);
}
