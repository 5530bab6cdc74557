/* tok_spm.c - SentencePiece's BPE: characters are merged by score, others become bytes.
 *
 * Newer files have the merges themselves instead of scores: a token is as good as the first
 * merge that makes it.
 *
 * Model files write a space as U+2581; here it is a space again, in tokens and in text, so
 * that no token is longer than its text. The two cannot be told apart in ids: U+2581 in a
 * text comes back as a space. (Kudo and Richardson 2018.) */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "engine/tokenizer/tok_kind.h"
#include "engine/tokenizer/tok_merge.h"
#include "engine/tokenizer/tok_words.h"
#include "engine/utf8.h"

static const char key_scores[] = "tokenizer.ggml.scores";
static const char key_merges[] = "tokenizer.ggml.merges";
static const char key_pads[] = "tokenizer.ggml.add_space_prefix";
static const char space_mark[] = "\xe2\x96\x81"; /* U+2581 */

enum { MARK_BYTES = sizeof space_mark - 1 };

/* What text can become by merging; tokens of type BYTE only write what no other does. */
static const unsigned word_types = 1u << TOK_NORMAL | 1u << TOK_USER | 1u << TOK_UNUSED;

#define NO_RANK UINT32_MAX

typedef struct spm {
    tok_words words;
    uint32_t *rank; /* [V] smaller for a higher score; NO_RANK: no merge makes it */
    int32_t byte_id[256];
    bool pads;
    bool cuts; /* no word has a space behind another character: merges stay within words */
} spm;

/* --- reading --- */

size_t tok_unmark(const char *text, size_t n, char *out)
{
    size_t written = 0;

    for (size_t i = 0; i < n; i++) {
        const bool mark = n - i >= MARK_BYTES && memcmp(text + i, space_mark, MARK_BYTES) == 0;

        out[written++] = mark ? ' ' : text[i];
        if (mark) i += MARK_BYTES - 1;
    }
    return written;
}

size_t tok_mark(const char *text, size_t n, char *out)
{
    size_t written = 0;

    for (size_t i = 0; i < n; i++) {
        if (text[i] == ' ') {
            memcpy(out + written, space_mark, MARK_BYTES);
            written += MARK_BYTES;
        } else {
            out[written++] = text[i];
        }
    }
    return written;
}

static bool spell(gguf_text raw, char *out, size_t *n)
{
    *n = tok_unmark(raw.at, raw.n, out);
    return true;
}

/* Floats as integers of the opposite order. */
static uint32_t rank_of(float score)
{
    const float number = score + 0.0f; /* one zero */
    uint32_t bits;

    memcpy(&bits, &number, sizeof bits); /* of minus infinity 0xff800000: not NO_RANK */
    return bits >> 31 ? bits : ~bits & 0x7fffffffu;
}

/* A NaN would have no place in the order. */
static err read_scores(spm *s, const gguf *g, size_t V)
{
    gguf_array list;

    TRY(gguf_get_array(g, key_scores, &list));
    if (list.type != GGUF_TYPE_FLOAT32) return ERR_KEYTYPE;
    if (list.n != V) return ERR_TOOMANY;
    s->rank = malloc(V * sizeof *s->rank);
    if (!s->rank) return ERR_NOMEM;
    for (size_t i = 0; i < V; i++) {
        float score;

        memcpy(&score, (const char *)list.data + i * sizeof score, sizeof score);
        if (isnan(score)) return ERR_RANGE;
        s->rank[i] = rank_of(score);
    }
    return ERR_OK;
}

/* What a merge makes, without the space between its parts. */
static err rank_merge(spm *s, gguf_text text, uint32_t rank, char *whole)
{
    const char *space = text.n > 1 ? memchr(text.at + 1, ' ', text.n - 1) : NULL;
    size_t left, n;
    int32_t id;

    if (!space) return ERR_STRING;
    left = (size_t)(space - text.at);
    n = tok_unmark(text.at, left, whole);
    n += tok_unmark(space + 1, text.n - left - 1, whole + n);
    id = tok_words_find(&s->words, whole, n);
    if (id != NO_ID && s->rank[id] == NO_RANK) s->rank[id] = rank;
    return ERR_OK;
}

/* Of several merges that make one token the first counts, which is what is found first; a
 * merge that makes none is passed over. */
static err read_merges(spm *s, const gguf *g, size_t V)
{
    gguf_array list;
    const void *at;
    char *whole;
    err e = ERR_OK;

    TRY(gguf_get_array(g, key_merges, &list));
    if (list.type != GGUF_TYPE_TEXT) return ERR_KEYTYPE;
    if (list.n >= NO_RANK) return ERR_TOOMANY;
    s->rank = malloc(V * sizeof *s->rank);
    whole = malloc((size_t)((const char *)list.end - (const char *)list.data) + 1);
    if (!s->rank || !whole) e = ERR_NOMEM;
    if (s->rank) memset(s->rank, 0xff, V * sizeof *s->rank); /* NO_RANK */
    at = list.data;
    for (uint64_t i = 0; i < list.n && e == ERR_OK; i++)
        e = rank_merge(s, gguf_next_text(&at), (uint32_t)i, whole);
    free(whole);
    return e;
}

/* Where text may be cut without a change: before a space that follows something else. */
static bool is_cut(const char *text, size_t i)
{
    return text[i] == ' ' && text[i - 1] != ' ';
}

/* Cutting at spaces makes a long text many short ones, whose heaps stay small; it is allowed
 * where no token spans a cut. */
static bool has_no_cut(const tok_words *w)
{
    for (size_t slot = 0; slot <= w->mask; slot++) {
        const int32_t id = w->ids[slot];
        const gguf_text piece = id == NO_ID ? (gguf_text){"", 0} : w->v->piece[id];

        for (size_t i = 1; i < piece.n; i++)
            if (is_cut(piece.at, i)) return false;
    }
    return true;
}

/* Files without the key are older than it, and were made to be padded. */
static err read_pads(spm *s, const gguf *g)
{
    const err e = gguf_get_bool(g, key_pads, &s->pads);

    if (e == ERR_MISSING) s->pads = true;
    return e == ERR_MISSING ? ERR_OK : e;
}

static void spm_close(void *state)
{
    spm *s = state;

    if (!s) return;
    tok_words_close(&s->words);
    free(s->rank);
    free(s);
}

/* What is the same whether scores or merges order the pairs. */
static err read_common(spm *s, const gguf *g, const tok_vocab *v, fault *why)
{
    TRY(tok_words_read(&s->words, v, word_types));
    TRY(tok_words_bytes(&s->words, s->byte_id, why));
    for (int i = 0; i < 256; i++)
        if (s->byte_id[i] == NO_ID) s->byte_id[i] = s->byte_id['?'];
    s->cuts = has_no_cut(&s->words);
    return tok_blame(why, read_pads(s, g), key_pads);
}

static err open_by(void **state, const gguf *g, const tok_vocab *v, bool by_merges, fault *why)
{
    spm *s = calloc(1, sizeof *s);
    err e;

    if (!s) return ERR_NOMEM;
    e = read_common(s, g, v, why);
    if (e == ERR_OK && by_merges) e = tok_blame(why, read_merges(s, g, v->n), key_merges);
    if (e == ERR_OK && !by_merges) e = tok_blame(why, read_scores(s, g, v->n), key_scores);
    if (e != ERR_OK) {
        spm_close(s);
        return e;
    }
    *state = s;
    return ERR_OK;
}

static err spm_open(void **state, const gguf *g, const tok_vocab *v, fault *why)
{
    return open_by(state, g, v, false, why);
}

static err spm_bpe_open(void **state, const gguf *g, const tok_vocab *v, fault *why)
{
    return open_by(state, g, v, true, why);
}

static bool spm_adds_bos(const void *state)
{
    (void)state;
    return true;
}

static bool spm_pads(const void *state)
{
    return ((const spm *)state)->pads;
}

/* --- encoding --- */

static bool pair(const tok_merge *m, uint32_t left, uint32_t *rank, int32_t *id)
{
    const spm *s = m->state;
    const uint32_t end = tok_merge_end_of(m, m->symbols[left].right);

    *id = tok_words_find(&s->words, m->text + left, end - left);
    if (*id == NO_ID) return false;
    *rank = s->rank[*id];
    return *rank != NO_RANK;
}

/* Merge the n bytes of one piece of text; what is no token in the end is written in bytes. */
static err encode_piece(tok_merge *m, const char *text, size_t n, token_ids *to)
{
    const spm *s = m->state;
    size_t length;

    TRY(token_ids_go_on(to));
    TRY(tok_words_fit(&s->words, (gguf_text){text, n}, to));
    TRY(tok_merge_begin(m, text, n));
    for (size_t at = 0; at < n; at += length) {
        if (utf8_step(text + at, n - at, &length) != UTF8_WHOLE) length = 1;
        tok_merge_put(m, at, tok_words_find(&s->words, text + at, length));
    }
    TRY(tok_merge_all(m));
    for (uint32_t at = 0; at != TOK_MERGE_END; at = m->symbols[at].right) {
        const int32_t id = m->symbols[at].id;
        const uint32_t end = id == NO_ID ? tok_merge_end_of(m, at) : at;

        if (id != NO_ID) TRY(token_ids_put(to, id));
        for (uint32_t i = at; i < end; i++)
            TRY(token_ids_put(to, s->byte_id[(unsigned char)text[i]]));
    }
    return ERR_OK;
}

/* Pieces end before a space, since words begin with theirs. */
static err encode_all(tok_merge *m, gguf_text text, token_ids *to)
{
    const spm *s = m->state;

    TRY(tok_words_fit(&s->words, text, to));
    for (size_t at = 0, end; at < text.n; at = end) {
        end = at + 1;
        while (end < text.n && !(s->cuts && is_cut(text.at, end))) end++;
        TRY(encode_piece(m, text.at + at, end - at, to));
    }
    return ERR_OK;
}

/* The space in front is part of the text that is merged: "Hi" and " Hi" must be the same
 * tokens. */
static err spm_encode(const void *state, gguf_text text, bool inside, token_ids *to)
{
    const spm *s = state;
    const bool pads = s->pads && !inside;
    tok_merge m = {.pair = pair, .state = s, .cancel = to->cancel};
    char *plain = malloc(text.n + 1);
    err e;

    if (!plain) return ERR_NOMEM;
    plain[0] = ' ';
    e = encode_all(&m, (gguf_text){plain, pads + tok_unmark(text.at, text.n, plain + pads)},
                   to);
    tok_merge_free(&m);
    free(plain);
    return e;
}

static size_t spm_most(const void *state, size_t n)
{
    return spm_pads(state) ? 2 * n : n; /* a space for each text between special tokens */
}

const tok_kind tok_spm = {
    .spell = spell,
    .marks = true,
    .open = spm_open,
    .close = spm_close,
    .adds_bos = spm_adds_bos,
    .pads = spm_pads,
    .most = spm_most,
    .encode = spm_encode,
};

const tok_kind tok_spm_bpe = {
    .spell = spell,
    .marks = true,
    .open = spm_bpe_open,
    .close = spm_close,
    .adds_bos = spm_adds_bos,
    .pads = spm_pads,
    .most = spm_most,
    .encode = spm_encode,
};
