/* tok_bpe.c - byte-level BPE: text is cut by a pattern, and bytes are merged by rank.
 *
 * Tokens are kept as bytes; the alphabet of printable characters that model files write
 * them in (Radford et al. 2019, GPT-2) is undone when the vocabulary is read. A piece of
 * n bytes costs O(n log n) however its merges fall: a linked list of symbols, and a heap
 * of the pairs that can be merged. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>

#include "engine/tok_kind.h"
#include "engine/utf8.h"

static const char key_pre[] = "tokenizer.ggml.pre";
static const char key_tokens[] = "tokenizer.ggml.tokens";
static const char key_merges[] = "tokenizer.ggml.merges";

typedef struct pretokenizer {
    const char *name;
    bool whole_first; /* a piece that is a token is not taken apart */
    bool adds_bos;
    const char *pattern;
} pretokenizer;

static const pretokenizer pretokenizers[] = {
#define PRETOKENIZER(name, whole_first, adds_bos, pattern) \
    {name, whole_first, adds_bos, pattern},
#include "engine/pretokenizers.def"
#undef PRETOKENIZER
};

typedef struct merge {
    int32_t left, right; /* left is NO_ID in an empty place */
    int32_t rank, id;
} merge;

enum { NO_ID = -1 };

typedef struct bpe {
    const tok_vocab *v;
    const pretokenizer *pre;
    pcre2_code *pattern;
    size_t longest; /* bytes of the longest word */
    int32_t *words; /* [words_mask + 1] hash table of ids, by bytes */
    size_t words_mask;
    merge *merges; /* [merges_mask + 1] hash table, by pair */
    size_t merges_mask;
    int32_t byte_id[256];
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

/* --- the two hash tables --- */

static size_t scramble(uint64_t x)
{
    x ^= x >> 33;
    x *= 0xff51afd7ed558ccdu;
    x ^= x >> 33;
    x *= 0xc4ceb9fe1a85ec53u;
    return (size_t)(x ^ x >> 33);
}

static size_t hash_bytes(const char *bytes, size_t n)
{
    uint64_t h = 0xcbf29ce484222325u; /* FNV-1a */

    for (size_t i = 0; i < n; i++) h = (h ^ (unsigned char)bytes[i]) * 0x100000001b3u;
    return scramble(h);
}

/* A power of two with room for n at a load of one half. */
static size_t table_size(size_t n)
{
    size_t size = 16;

    while (size < 2 * n) size *= 2;
    return size;
}

/* The place of a word, or the empty one where it would be. */
static int32_t *word_place(const bpe *b, const char *bytes, size_t n)
{
    size_t i = hash_bytes(bytes, n) & b->words_mask;

    for (; b->words[i] != NO_ID; i = (i + 1) & b->words_mask) {
        const gguf_text *piece = &b->v->piece[b->words[i]];

        if (piece->n == n && memcmp(piece->at, bytes, n) == 0) break;
    }
    return &b->words[i];
}

static int32_t find_word(const bpe *b, const char *bytes, size_t n)
{
    return n <= b->longest ? *word_place(b, bytes, n) : NO_ID;
}

/* The place of a pair, or the empty one where it would be. */
static merge *merge_place(const bpe *b, int32_t left, int32_t right)
{
    size_t i = scramble((uint64_t)(uint32_t)left << 32 | (uint32_t)right) & b->merges_mask;

    while (b->merges[i].left != NO_ID &&
           (b->merges[i].left != left || b->merges[i].right != right))
        i = (i + 1) & b->merges_mask;
    return &b->merges[i];
}

/* --- reading --- */

/* Can text that a user wrote become this token by merging? */
static bool is_word(uint8_t type)
{
    return type == TOK_NORMAL || type == TOK_USER || type == TOK_UNUSED || type == TOK_BYTE;
}

static err read_words(bpe *b)
{
    const tok_vocab *v = b->v;
    const size_t size = table_size(v->n);

    b->words = malloc(size * sizeof *b->words);
    if (!b->words) return ERR_NOMEM;
    memset(b->words, 0xff, size * sizeof *b->words); /* NO_ID */
    b->words_mask = size - 1;
    for (size_t i = 0; i < v->n; i++) {
        int32_t *place;

        if (!is_word(v->type[i]) || v->piece[i].n == 0) continue;
        place = word_place(b, v->piece[i].at, v->piece[i].n);
        if (*place == NO_ID) *place = (int32_t)i; /* of doubles, the first */
        if (v->piece[i].n > b->longest) b->longest = v->piece[i].n;
    }
    return ERR_OK;
}

/* Every byte must be a token: what no merge covers is written in bytes. */
static err read_bytes(bpe *b, fault *why)
{
    for (int i = 0; i < 256; i++) {
        const char byte = (char)i;

        b->byte_id[i] = find_word(b, &byte, 1);
        if (b->byte_id[i] == NO_ID) {
            char field[64];

            snprintf(field, sizeof field, "%s: byte 0x%02x", key_tokens, (unsigned)i);
            return fault_name(why, ERR_MISSING, field);
        }
    }
    return ERR_OK;
}

/* "left right", both in the alphabet; they and what they make must be words. `bytes` has
 * room for what `text` spells. */
static err read_merge(bpe *b, gguf_text text, int32_t rank, char *bytes)
{
    const char *space = text.n > 1 ? memchr(text.at + 1, ' ', text.n - 1) : NULL;
    const gguf_text left = {text.at, space ? (size_t)(space - text.at) : 0};
    const gguf_text right = {text.at + left.n + 1, space ? text.n - left.n - 1 : 0};
    size_t n_left, n_right;
    merge m = {.rank = rank}, *place;

    if (!space) return ERR_STRING;
    if (!spell(left, bytes, &n_left) || !spell(right, bytes + n_left, &n_right))
        return ERR_STRING;
    m.left = find_word(b, bytes, n_left);
    m.right = find_word(b, bytes + n_left, n_right);
    m.id = find_word(b, bytes, n_left + n_right);
    if (m.left == NO_ID || m.right == NO_ID || m.id == NO_ID) return ERR_RANGE;
    place = merge_place(b, m.left, m.right);
    if (place->left == NO_ID) *place = m; /* of doubles, the first */
    return ERR_OK;
}

static err read_each_merge(bpe *b, const gguf_array *list)
{
    /* a longer text cannot be a word and a space: the alphabet has two bytes a byte at most */
    const size_t limit = 2 * b->longest + 1;
    char *bytes = malloc(limit);
    const void *at = list->data;
    err e = bytes ? ERR_OK : ERR_NOMEM;

    for (uint64_t i = 0; i < list->n && e == ERR_OK; i++) {
        const gguf_text text = gguf_next_text(&at);

        e = text.n <= limit ? read_merge(b, text, (int32_t)i, bytes) : ERR_STRING;
    }
    free(bytes);
    return e;
}

static err read_merges(bpe *b, const gguf *g)
{
    gguf_array list;
    size_t size;

    TRY(gguf_get_array(g, key_merges, &list));
    if (list.type != GGUF_TYPE_TEXT) return ERR_KEYTYPE;
    if (list.n > INT32_MAX) return ERR_TOOMANY;
    size = table_size((size_t)list.n);
    b->merges = malloc(size * sizeof *b->merges);
    if (!b->merges) return ERR_NOMEM;
    memset(b->merges, 0xff, size * sizeof *b->merges); /* left = NO_ID */
    b->merges_mask = size - 1;
    return read_each_merge(b, &list);
}

static err read_pretokenizer(bpe *b, const gguf *g)
{
    const size_t n = sizeof pretokenizers / sizeof pretokenizers[0];
    gguf_text name;

    TRY(gguf_get_text(g, key_pre, &name));
    for (size_t i = 0; i < n && !b->pre; i++) {
        const pretokenizer *p = &pretokenizers[i];

        if (strlen(p->name) == name.n && memcmp(p->name, name.at, name.n) == 0) b->pre = p;
    }
    return b->pre ? ERR_OK : ERR_TOKENIZER;
}

static err compile_pattern(bpe *b)
{
    const uint32_t options = PCRE2_UTF | PCRE2_UCP | PCRE2_ANCHORED | PCRE2_NO_AUTO_CAPTURE;
    int error;
    PCRE2_SIZE at;

    b->pattern = pcre2_compile((PCRE2_SPTR)b->pre->pattern, PCRE2_ZERO_TERMINATED, options,
                               &error, &at, NULL);
    if (!b->pattern) return ERR_NOMEM; /* the patterns are ours: nothing else can fail */
    (void)pcre2_jit_compile(b->pattern, PCRE2_JIT_COMPLETE); /* without it, slower */
    return ERR_OK;
}

static void bpe_close(void *state)
{
    bpe *b = state;

    if (!b) return;
    pcre2_code_free(b->pattern);
    free(b->words);
    free(b->merges);
    free(b);
}

static err bpe_open(void **state, const gguf *g, const tok_vocab *v, fault *why)
{
    bpe *b = calloc(1, sizeof *b);
    err e;

    if (!b) return ERR_NOMEM;
    b->v = v;
    e = tok_blame(why, read_pretokenizer(b, g), key_pre);
    if (e == ERR_OK) e = compile_pattern(b);
    if (e == ERR_OK) e = read_words(b);
    if (e == ERR_OK) e = read_bytes(b, why);
    if (e == ERR_OK) e = tok_blame(why, read_merges(b, g), key_merges);
    if (e != ERR_OK) {
        bpe_close(b);
        return e;
    }
    *state = b;
    return ERR_OK;
}

static bool bpe_adds_bos(const void *state)
{
    return ((const bpe *)state)->pre->adds_bos;
}

/* --- encoding --- */

#define END UINT32_MAX /* no neighbour */

/* A run of bytes that is a token by now; a merged-away right half has id NO_ID. */
typedef struct symbol {
    int32_t id;
    uint32_t left, right; /* its neighbours, or END */
} symbol;

/* One call's memory and result. */
typedef struct encoder {
    const bpe *b;
    symbol *symbols; /* [room] */
    uint64_t *heap;  /* [2 * room] rank << 32 | left symbol: smallest rank, then leftmost */
    size_t room, n_heap;
    int32_t *ids;
    size_t count;
} encoder;

static err make_room(encoder *x, size_t n)
{
    const size_t room = n < 256 ? 256 : 2 * n;

    if (n <= x->room) return ERR_OK;
    if (n >= END) return ERR_NOMEM;
    free(x->symbols);
    free(x->heap);
    x->symbols = malloc(room * sizeof *x->symbols);
    x->heap = malloc(2 * room * sizeof *x->heap);
    x->room = x->symbols && x->heap ? room : 0;
    return x->room ? ERR_OK : ERR_NOMEM;
}

static void heap_push(encoder *x, uint64_t item)
{
    size_t i = x->n_heap++;

    for (; i && x->heap[(i - 1) / 2] > item; i = (i - 1) / 2) x->heap[i] = x->heap[(i - 1) / 2];
    x->heap[i] = item;
}

static uint64_t heap_pop(encoder *x)
{
    const uint64_t top = x->heap[0], last = x->heap[--x->n_heap];
    size_t i = 0, child;

    while ((child = 2 * i + 1) < x->n_heap) {
        if (child + 1 < x->n_heap && x->heap[child + 1] < x->heap[child]) child++;
        if (x->heap[child] >= last) break;
        x->heap[i] = x->heap[child];
        i = child;
    }
    x->heap[i] = last;
    return top;
}

/* The merge of a symbol with its right neighbour, or NULL. */
static const merge *merge_at(const encoder *x, uint32_t left)
{
    const symbol *s = &x->symbols[left];
    const merge *m;

    if (s->id == NO_ID || s->right == END) return NULL;
    m = merge_place(x->b, s->id, x->symbols[s->right].id);
    return m->left == NO_ID ? NULL : m;
}

static void propose(encoder *x, uint32_t left)
{
    const merge *m = left == END ? NULL : merge_at(x, left);

    if (m) heap_push(x, (uint64_t)m->rank << 32 | left);
}

/* Make one symbol of `left` and its neighbour. */
static void apply(encoder *x, uint32_t left, int32_t id)
{
    symbol *s = &x->symbols[left], *gone = &x->symbols[s->right];

    s->id = id;
    s->right = gone->right;
    gone->id = NO_ID;
    if (s->right != END) x->symbols[s->right].left = left;
    propose(x, s->left);
    propose(x, left);
}

/* Merge the n bytes of one piece of text. Every merge makes at most two proposals and one
 * symbol less, so that 2n places are enough for the heap. */
static err encode_bytes(encoder *x, const char *text, size_t n)
{
    TRY(make_room(x, n));
    for (uint32_t i = 0; i < n; i++)
        x->symbols[i] = (symbol){x->b->byte_id[(unsigned char)text[i]], i ? i - 1 : END,
                                 i + 1 < n ? i + 1 : END};
    x->n_heap = 0;
    for (uint32_t i = 0; i + 1 < n; i++) propose(x, i);
    while (x->n_heap) {
        const uint64_t item = heap_pop(x);
        const uint32_t left = (uint32_t)item;
        const merge *m = merge_at(x, left);

        /* the rank tells the pair: another one means that it has changed since */
        if (m && (uint64_t)m->rank == item >> 32) apply(x, left, m->id);
    }
    for (uint32_t i = 0; i != END; i = x->symbols[i].right)
        x->ids[x->count++] = x->symbols[i].id;
    return ERR_OK;
}

static err encode_piece(encoder *x, const char *text, size_t n)
{
    const int32_t id = x->b->pre->whole_first ? find_word(x->b, text, n) : NO_ID;

    if (id == NO_ID) return encode_bytes(x, text, n);
    x->ids[x->count++] = id;
    return ERR_OK;
}

/* Where the piece that starts at `at` ends. The patterns match any character, in a number
 * of steps linear in the text; should the limit stop one yet, the rest is one piece. */
static size_t piece_end(const encoder *x, pcre2_match_data *found, pcre2_match_context *limits,
                        const char *text, size_t n, size_t at)
{
    const int rc = pcre2_match(x->b->pattern, (PCRE2_SPTR)text, n, at, PCRE2_NO_UTF_CHECK,
                               found, limits);
    const size_t end = rc < 0 ? n : pcre2_get_ovector_pointer(found)[1];

    return end > at ? end : n;
}

/* The n bytes at text are valid UTF-8. */
static err encode_valid(encoder *x, pcre2_match_data *found, pcre2_match_context *limits,
                        const char *text, size_t n)
{
    const uint64_t steps = 10000 + 8 * (uint64_t)n;

    pcre2_set_match_limit(limits, steps < UINT32_MAX ? (uint32_t)steps : UINT32_MAX);
    for (size_t at = 0, end; at < n; at = end) {
        end = piece_end(x, found, limits, text, n, at);
        TRY(encode_piece(x, text + at, end - at));
    }
    return ERR_OK;
}

/* Stretches of valid text through the pattern, bytes between them as they are. */
static err encode_all(encoder *x, pcre2_match_data *found, pcre2_match_context *limits,
                      const char *text, size_t n)
{
    for (size_t at = 0; at < n;) {
        const size_t valid = utf8_prefix(text + at, n - at);

        TRY(encode_valid(x, found, limits, text + at, valid));
        at += valid;
        if (at < n) x->ids[x->count++] = x->b->byte_id[(unsigned char)text[at++]];
    }
    return ERR_OK;
}

static err bpe_encode(const void *state, const char *text, size_t n, int32_t *ids,
                      size_t *count)
{
    const bpe *b = state;
    encoder x = {.b = b, .ids = ids, .count = *count};
    pcre2_match_data *found = pcre2_match_data_create(1, NULL);
    pcre2_match_context *limits = pcre2_match_context_create(NULL);
    err e = found && limits ? ERR_OK : ERR_NOMEM;

    if (e == ERR_OK) e = encode_all(&x, found, limits, text, n);
    if (e == ERR_OK) *count = x.count;
    pcre2_match_context_free(limits);
    pcre2_match_data_free(found);
    free(x.symbols);
    free(x.heap);
    return e;
}

const tok_kind tok_bpe = {
    .spell = spell,
    .open = bpe_open,
    .close = bpe_close,
    .adds_bos = bpe_adds_bos,
    .encode = bpe_encode,
};
