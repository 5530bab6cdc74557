/* tok_bpe.c - byte-level BPE: text is cut by patterns, and bytes are merged by rank.
 *
 * Tokens are kept as bytes; the alphabet of printable characters that model files write
 * them in (Radford et al. 2019, GPT-2) is undone when the vocabulary is read. */
#include <stdlib.h>
#include <string.h>

#include "engine/tokenizer/tok_kind.h"
#include "engine/tokenizer/tok_merge.h"
#include "engine/tokenizer/tok_split.h"
#include "engine/tokenizer/tok_unicode.h"
#include "engine/tokenizer/tok_words.h"
#include "engine/utf8.h"

static const char key_pre[] = "tokenizer.ggml.pre";
static const char key_merges[] = "tokenizer.ggml.merges";

/* What text that a user wrote can become by merging. */
static const unsigned word_types = 1u << TOK_NORMAL | 1u << TOK_USER | 1u << TOK_UNUSED |
                                   1u << TOK_BYTE;

typedef struct merge {
    int32_t left, right; /* left is NO_ID in an empty place */
    int32_t rank, id;
} merge;

typedef struct bpe {
    tok_split *split;
    tok_words words;
    merge *merges; /* [merges_mask + 1] hash table, by pair */
    size_t merges_mask;
    int32_t byte_id[256]; /* NO_ID: nothing writes it, and text goes on without it */
    bool lacks_bytes;
} bpe;

/* --- the alphabet --- */

/* The byte that character number `c` of the alphabet stands for, or -1. Printable Latin-1
 * stands for itself; the 68 other bytes, in order, are 256, 257 ... */
static int alphabet_byte(unsigned c)
{
    if ((c >= 0x21 && c <= 0x7e) || (c >= 0xa1 && c <= 0xff && c != 0xad)) return (int)c;
    if (c < 0x100 || c >= 0x100 + 68) return -1;
    c -= 0x100;
    if (c <= 0x20) return (int)c;
    if (c <= 0x20 + 34) return (int)(c - 0x21 + 0x7f);
    return 0xad;
}

/* Every character of the alphabet is below U+0800, so of two bytes at most; a token with any
 * other is one that no text can become. */
static bool spell(gguf_text raw, char *out, size_t *n)
{
    size_t written = 0;

    for (size_t i = 0; i < raw.n; i++) {
        const unsigned char lead = (unsigned char)raw.at[i];
        unsigned c = lead;
        int byte;

        if (lead >= 0x80) {
            size_t length;

            if (utf8_step(raw.at + i, raw.n - i, &length) != UTF8_WHOLE || length != 2)
                return false;
            c = (lead & 0x1fu) << 6 | ((unsigned char)raw.at[i + 1] & 0x3fu);
            i++;
        }
        byte = alphabet_byte(c);
        if (byte < 0) return false;
        out[written++] = (char)byte;
    }
    *n = written;
    return true;
}

/* --- reading --- */

/* The place of a pair, or the empty one where it would be. */
static merge *merge_place(const bpe *b, int32_t left, int32_t right)
{
    size_t i = tok_scramble((uint64_t)(uint32_t)left << 32 | (uint32_t)right) & b->merges_mask;

    while (b->merges[i].left != NO_ID &&
           (b->merges[i].left != left || b->merges[i].right != right))
        i = (i + 1) & b->merges_mask;
    return &b->merges[i];
}

/* "left right", both in the alphabet. A merge whose parts, or what they make, are no words is
 * passed over, as llama.cpp does: files of vocabularies that were cut down have such. `bytes`
 * has room for what `text` spells. */
static err read_merge(bpe *b, gguf_text text, int32_t rank, char *bytes)
{
    const char *space = text.n > 1 ? memchr(text.at + 1, ' ', text.n - 1) : NULL;
    const gguf_text left = {text.at, space ? (size_t)(space - text.at) : 0};
    const gguf_text right = {text.at + left.n + 1, space ? text.n - left.n - 1 : 0};
    size_t n_left, n_right;
    merge m = {.rank = rank}, *place;

    if (!space || right.n == 0) return ERR_STRING;
    if (!spell(left, bytes, &n_left) || !spell(right, bytes + n_left, &n_right))
        return ERR_STRING;
    m.left = tok_words_find(&b->words, bytes, n_left);
    m.right = tok_words_find(&b->words, bytes + n_left, n_right);
    m.id = tok_words_find(&b->words, bytes, n_left + n_right);
    if (m.left == NO_ID || m.right == NO_ID || m.id == NO_ID) return ERR_OK;
    place = merge_place(b, m.left, m.right);
    if (place->left == NO_ID) *place = m; /* of doubles, the first */
    return ERR_OK;
}

static err read_each_merge(bpe *b, const gguf_array *list)
{
    /* a longer text makes no word: the alphabet has two bytes a byte at most */
    const size_t limit = 2 * b->words.longest + 1;
    char *bytes = malloc(limit);
    const void *at = list->data;
    err e = bytes ? ERR_OK : ERR_NOMEM;

    for (uint64_t i = 0; i < list->n && e == ERR_OK; i++) {
        const gguf_text text = gguf_next_text(&at);

        if (text.n <= limit) e = read_merge(b, text, (int32_t)i, bytes);
    }
    free(bytes);
    return e;
}

/* A table by pair: merging asks for the rank of two ids, and never for the text of the rule. */
static err read_merges(bpe *b, const gguf *g)
{
    gguf_array list;
    size_t size;

    TRY(gguf_get_array(g, key_merges, &list));
    if (list.type != GGUF_TYPE_TEXT) return ERR_KEYTYPE;
    if (list.n > INT32_MAX) return ERR_TOOMANY;
    size = tok_table_size((size_t)list.n);
    b->merges = malloc(size * sizeof *b->merges);
    if (!b->merges) return ERR_NOMEM;
    memset(b->merges, 0xff, size * sizeof *b->merges); /* left = NO_ID */
    b->merges_mask = size - 1;
    return read_each_merge(b, &list);
}

static err read_pretokenizer(bpe *b, const gguf *g)
{
    gguf_text name;

    TRY(gguf_get_text(g, key_pre, &name));
    return tok_split_open(&b->split, name);
}

static void bpe_close(void *state)
{
    bpe *b = state;

    if (!b) return;
    tok_split_close(b->split);
    tok_words_close(&b->words);
    free(b->merges);
    free(b);
}

static err bpe_open(void **state, const gguf *g, const tok_vocab *v, fault *why)
{
    bpe *b = calloc(1, sizeof *b);
    err e;

    if (!b) return ERR_NOMEM;
    e = tok_blame(why, read_pretokenizer(b, g), key_pre);
    if (e == ERR_OK) e = tok_words_read(&b->words, v, word_types);
    if (e == ERR_OK) e = tok_words_bytes(&b->words, b->byte_id, why);
    if (e == ERR_OK) e = tok_blame(why, read_merges(b, g), key_merges);
    for (int i = 0; i < 256; i++) b->lacks_bytes |= b->byte_id[i] == NO_ID;
    if (e != ERR_OK) {
        bpe_close(b);
        return e;
    }
    *state = b;
    return ERR_OK;
}

static bool bpe_adds_bos(const void *state)
{
    return tok_split_adds_bos(((const bpe *)state)->split);
}

static const char *bpe_normal(const void *state)
{
    return tok_split_normal(((const bpe *)state)->split);
}

static bool bpe_pads(const void *state)
{
    (void)state;
    return false;
}

/* --- encoding --- */

/* One call's memory and result. */
typedef struct encoder {
    const bpe *b;
    tok_merge m;
    tok_text written; /* a piece without the bytes that nothing writes */
    token_ids *to;
} encoder;

static bool pair(const tok_merge *m, uint32_t left, uint32_t *rank, int32_t *id)
{
    const tok_symbol *s = &m->symbols[left];
    const merge *found = merge_place(m->state, s->id, m->symbols[s->right].id);

    if (found->left == NO_ID) return false;
    *rank = (uint32_t)found->rank;
    *id = found->id;
    return true;
}

static err merge_piece(encoder *x, gguf_text text)
{
    TRY(tok_words_fit(&x->b->words, text, x->to));
    TRY(tok_merge_begin(&x->m, text.at, text.n));
    for (size_t i = 0; i < text.n; i++)
        tok_merge_put(&x->m, i, x->b->byte_id[(unsigned char)text.at[i]]);
    TRY(tok_merge_all(&x->m));
    for (uint32_t i = 0; i != TOK_MERGE_END; i = x->m.symbols[i].right)
        TRY(token_ids_put(x->to, x->m.symbols[i].id));
    return ERR_OK;
}

static bool is_written(const bpe *b, gguf_text text)
{
    for (size_t i = 0; b->lacks_bytes && i < text.n; i++)
        if (b->byte_id[(unsigned char)text.at[i]] == NO_ID) return false;
    return true;
}

/* What a vocabulary that lacks bytes makes of a piece: they are left out, and what stands
 * beside them may merge, as the reference does. */
static err encode_written(encoder *x, gguf_text text)
{
    x->written.n = 0;
    for (size_t i = 0; i < text.n; i++)
        if (x->b->byte_id[(unsigned char)text.at[i]] != NO_ID)
            tok_text_add(&x->written, text.at + i, 1);
    if (x->written.failed) return ERR_NOMEM;
    return x->written.n ? merge_piece(x, (gguf_text){x->written.at, x->written.n}) : ERR_OK;
}

/* A word that is a token as a whole needs no merges, but only where the family's own
 * tokenizer skips them too: merging may give another result. */
static err encode_piece(void *arg, gguf_text text)
{
    encoder *x = arg;
    int32_t id = NO_ID;

    TRY(token_ids_go_on(x->to));
    if (tok_split_keeps_words(x->b->split)) id = tok_words_find(&x->b->words, text.at, text.n);
    if (id != NO_ID) return token_ids_put(x->to, id);
    return is_written(x->b, text) ? merge_piece(x, text) : encode_written(x, text);
}

static err put_byte(encoder *x, char byte)
{
    const int32_t id = x->b->byte_id[(unsigned char)byte];

    return id == NO_ID ? ERR_OK : token_ids_put(x->to, id);
}

/* Stretches of valid text through the patterns, bytes between them as they are. */
static err encode_all(encoder *x, gguf_text text)
{
    for (size_t at = 0; at < text.n;) {
        const size_t valid = utf8_prefix(text.at + at, text.n - at);
        const gguf_text stretch = {text.at + at, valid};

        if (valid) TRY(tok_split_text(x->b->split, stretch, encode_piece, x));
        at += valid;
        if (at < text.n) TRY(put_byte(x, text.at[at++]));
    }
    return ERR_OK;
}

/* The text as a whole first: the patterns need not see what is too long anyhow. */
static err bpe_encode(const void *state, gguf_text text, bool inside, token_ids *to)
{
    const bpe *b = state;
    encoder x = {.b = b, .m = {.pair = pair, .state = b, .cancel = to->cancel}, .to = to};
    err e = is_written(b, text) ? tok_words_fit(&b->words, text, to) : ERR_OK;

    (void)inside;
    if (e == ERR_OK) e = encode_all(&x, text);
    tok_text_free(&x.written);
    tok_merge_free(&x.m);
    return e;
}

const tok_kind tok_bpe = {
    .spell = spell,
    .open = bpe_open,
    .close = bpe_close,
    .adds_bos = bpe_adds_bos,
    .pads = bpe_pads,
    .normal = bpe_normal,
    .encode = bpe_encode,
};
