/* tokenizer.c - what all vocabularies share: pieces, special tokens, the keys of the file.
 *
 * Text is read from left to right. Where a special token is written out and may be recognised,
 * what came before it goes to the kind (tok_bpe, tok_spm) and its id stands by itself:
 *
 *   "<|im_start|>user\nHi"   [special] [kind: "user\nHi"]   SPECIALS: a template's own text
 *                            [kind: all of it]             PLAIN: what a user wrote
 *
 * A token's bytes are kept as they are in text, not as the file spells them, so decoding is a
 * copy. The file is not trusted: what a kind cannot spell becomes a token that no text
 * contains. */
#include "engine/tokenizer/tokenizer.h"

#include <stdlib.h>
#include <string.h>

#include "engine/tokenizer/tok_kind.h"

static const char key_model[] = "tokenizer.ggml.model";
static const char key_tokens[] = "tokenizer.ggml.tokens";
static const char key_types[] = "tokenizer.ggml.token_type";
static const char key_bos[] = "tokenizer.ggml.bos_token_id";
static const char key_adds_bos[] = "tokenizer.ggml.add_bos_token";
static const char key_template[] = "tokenizer.chat_template";
static const char key_architecture[] = "general.architecture";

/* What ends an answer, by key; more do by name. */
static const char *const end_keys[] = {
    "tokenizer.ggml.eos_token_id",
    "tokenizer.ggml.eot_token_id",
    "tokenizer.ggml.eom_token_id",
};

static const struct {
    const char *text;
    bool ends;
} markers[] = {
#define MARKER(text, ends) {text, ends},
#include "engine/tokenizer/markers.def"
#undef MARKER
};

enum {
    END_KEYS = sizeof end_keys / sizeof end_keys[0],
    MARKERS = sizeof markers / sizeof markers[0]
};

struct tokenizer {
    const tok_kind *kind;
    void *state; /* the kind's */
    tok_vocab v; /* views of the next two */
    gguf_text *piece;
    uint8_t *type;
    char *bytes; /* what the pieces that the file spells otherwise lie in */
    size_t longest;
    int32_t *special; /* [n_special] by bytes, then by id */
    size_t n_special;
    bool user_tokens;        /* some are user-defined: found in plain text, too */
    bool special_first[256]; /* does one begin with this byte? */
    int32_t bos;
    int32_t end[END_KEYS + MARKERS]; /* or TOKENIZER_NONE */
    bool adds_bos;
    bool swallows;           /* control tokens take the white space that follows them */
    gguf_text chat_template; /* of the file; empty if it has none */
};

/* --- reading --- */

/* tokenizer.ggml.model names the algorithm; which cut a byte-level one has is a key of its
 * own. */
static err read_kind(tokenizer *t, const gguf *g)
{
    static const struct {
        const char *name;
        const tok_kind *kind;
    } kinds[] = {
#define TOKENIZER(name, kind) {name, &kind},
#include "engine/tokenizer/tokenizers.def"
#undef TOKENIZER
    };
    gguf_text name;

    TRY(gguf_get_text(g, key_model, &name));
    for (size_t i = 0; i < sizeof kinds / sizeof kinds[0]; i++)
        if (strlen(kinds[i].name) == name.n && memcmp(kinds[i].name, name.at, name.n) == 0)
            t->kind = kinds[i].kind;
    return t->kind ? ERR_OK : ERR_TOKENIZER;
}

/* Types are optional: without them all tokens are normal. */
static err read_types(tokenizer *t, const gguf *g)
{
    gguf_array list;
    const err e = gguf_get_array(g, key_types, &list);

    memset(t->type, TOK_NORMAL, t->v.n);
    if (e == ERR_MISSING) return ERR_OK;
    if (e != ERR_OK) return e;
    if (list.type != GGUF_TYPE_INT32 && list.type != GGUF_TYPE_UINT32) return ERR_KEYTYPE;
    if (list.n != t->v.n) return ERR_TOOMANY;
    for (size_t i = 0; i < t->v.n; i++) {
        uint32_t type;

        memcpy(&type, (const char *)list.data + i * sizeof type, sizeof type);
        if (type >= TOK_TYPES) return ERR_RANGE;
        t->type[i] = (uint8_t)type;
    }
    return ERR_OK;
}

static bool is_special(uint8_t type)
{
    return type == TOK_UNKNOWN || type == TOK_CONTROL || type == TOK_USER;
}

/* No sscanf: it would take "0x+A" and a sign. */
static int hex_digit(char c)
{
    static const char digits[] = "0123456789ABCDEFabcdef";
    const char *found = c ? strchr(digits, c) : NULL;

    if (!found) return -1;
    return (int)(found - digits) - (found - digits > 15 ? 6 : 0);
}

/* "<0x0A>" -> byte 10. */
static bool spell_byte(gguf_text raw, char *out)
{
    if (raw.n != 6 || memcmp(raw.at, "<0x", 3) != 0 || raw.at[5] != '>') return false;
    if (hex_digit(raw.at[3]) < 0 || hex_digit(raw.at[4]) < 0) return false;
    *out = (char)(hex_digit(raw.at[3]) << 4 | hex_digit(raw.at[4]));
    return true;
}

/* Spell id i, written `raw` in the file, to `out`. Returns the bytes of `out` used. */
static size_t read_piece(tokenizer *t, size_t i, gguf_text raw, char *out)
{
    size_t n = 1;

    t->piece[i] = raw;
    if (is_special(t->type[i]) && !(t->type[i] == TOK_USER && t->kind->spells_user)) return 0;
    if (!(t->type[i] == TOK_BYTE && spell_byte(raw, out)) && !t->kind->spell(raw, out, &n)) {
        t->type[i] = TOK_UNDEFINED;
        return 0;
    }
    t->piece[i] = (gguf_text){out, n};
    return n;
}

/* A token is never longer than it is spelled, so the bytes of the list, with its lengths,
 * are room enough for all. */
static err read_tokens(tokenizer *t, const gguf *g, gguf_array *list)
{
    TRY(gguf_get_array(g, key_tokens, list));
    if (list->type != GGUF_TYPE_TEXT) return ERR_KEYTYPE;
    if (list->n == 0 || list->n > INT32_MAX) return ERR_TOOMANY;
    t->v.n = (size_t)list->n;
    t->v.piece = t->piece = calloc(t->v.n, sizeof *t->piece);
    t->v.type = t->type = malloc(t->v.n);
    t->bytes = malloc((size_t)((const char *)list->end - (const char *)list->data));
    return t->piece && t->type && t->bytes ? ERR_OK : ERR_NOMEM;
}

/* The longest piece is what a stop string or an answer's text must leave room for. */
static err read_pieces(tokenizer *t, const gguf *g, fault *why)
{
    gguf_array list;
    const void *at;
    size_t used = 0;

    TRY(tok_blame(why, read_tokens(t, g, &list), key_tokens));
    TRY(tok_blame(why, read_types(t, g), key_types));
    at = list.data;
    for (size_t i = 0; i < t->v.n; i++) {
        used += read_piece(t, i, gguf_next_text(&at), t->bytes + used);
        if (t->piece[i].n > t->longest) t->longest = t->piece[i].n;
    }
    return ERR_OK;
}

/* By id last, so that of two tokens with the same bytes the lower comes first, as the search
 * expects. */
static int by_bytes(const void *a, const void *b, void *arg)
{
    const int32_t i = *(const int32_t *)a, j = *(const int32_t *)b;
    const gguf_text *p = &((const tokenizer *)arg)->piece[i];
    const gguf_text *q = &((const tokenizer *)arg)->piece[j];
    const int order = memcmp(p->at, q->at, p->n < q->n ? p->n : q->n);

    if (order) return order;
    if (p->n != q->n) return p->n < q->n ? -1 : 1;
    return (i > j) - (i < j);
}

/* Sorted by bytes, those with a common beginning are neighbours: a search narrows one range,
 * byte by byte, and needs no tree. */
static err read_specials(tokenizer *t)
{
    size_t n = 0;

    for (size_t i = 0; i < t->v.n; i++) n += is_special(t->type[i]);
    t->special = malloc((n ? n : 1) * sizeof *t->special);
    if (!t->special) return ERR_NOMEM;
    for (size_t i = 0; i < t->v.n; i++) {
        if (!is_special(t->type[i]) || t->piece[i].n == 0) continue;
        t->special[t->n_special++] = (int32_t)i;
        t->special_first[(unsigned char)t->piece[i].at[0]] = true;
    }
    qsort_r(t->special, t->n_special, sizeof *t->special, by_bytes, t);
    return ERR_OK;
}

/* An id outside the vocabulary would be read as one later, so it is refused here. */
static err read_id(const tokenizer *t, const gguf *g, const char *key, int32_t *id, fault *why)
{
    uint64_t value;
    const err e = gguf_get_u64(g, key, &value);

    if (e != ERR_OK && e != ERR_MISSING) return err_blame(why, e, key);
    if (e == ERR_MISSING || value == UINT32_MAX) { /* files write "none" so */
        *id = TOKENIZER_NONE;
        return ERR_OK;
    }
    if (value >= t->v.n) return err_blame(why, ERR_RANGE, key);
    *id = (int32_t)value;
    return ERR_OK;
}

/* A token that steers the answer is a control token even where the file calls it
 * user-defined: those are found in text that a user wrote. */
static void make_control(tokenizer *t, int32_t id)
{
    if (id != TOKENIZER_NONE && t->type[id] == TOK_USER) t->type[id] = TOK_CONTROL;
}

/* Every end that is known counts: files often name only one as EOS, and a model that ends
 * its turn with another would go on talking to itself. */
static err read_roles(tokenizer *t, const gguf *g, fault *why)
{
    TRY(read_id(t, g, key_bos, &t->bos, why));
    make_control(t, t->bos);
    for (int i = 0; i < END_KEYS; i++) {
        TRY(read_id(t, g, end_keys[i], &t->end[i], why));
        make_control(t, t->end[i]);
    }
    for (int i = 0; i < MARKERS; i++) {
        const int32_t id = tokenizer_find(t, markers[i].text);

        t->end[END_KEYS + i] = markers[i].ends ? id : TOKENIZER_NONE;
        make_control(t, id);
    }
    for (size_t i = 0; i < t->n_special; i++)
        t->user_tokens |= t->type[t->special[i]] == TOK_USER;
    return ERR_OK;
}

/* A vocabulary without a BOS cannot add one, whatever the key says. */
static err read_adds_bos(tokenizer *t, const gguf *g)
{
    const err e = gguf_get_bool(g, key_adds_bos, &t->adds_bos);

    if (e == ERR_MISSING)
        t->adds_bos = t->kind->adds_bos(t->state);
    else if (e != ERR_OK)
        return e;
    t->adds_bos = t->adds_bos && t->bos != TOKENIZER_NONE;
    return ERR_OK;
}

static bool is_text(gguf_text text, const char *expected)
{
    return text.n == strlen(expected) && memcmp(text.at, expected, text.n) == 0;
}

/* Phi-3's added tokens do so, which its files do not say. */
static void read_swallows(tokenizer *t, const gguf *g)
{
    gguf_text name;

    t->swallows = gguf_get_text(g, key_architecture, &name) == ERR_OK &&
                  is_text(name, "phi3") && t->kind == &tok_spm;
}

static err read_template(tokenizer *t, const gguf *g)
{
    const err e = gguf_get_text(g, key_template, &t->chat_template);

    return e == ERR_MISSING ? ERR_OK : e;
}

/* Pieces first, since roles and kinds look ids up by their bytes; the kind last, since it
 * needs types that roles have changed. */
static err read_all(tokenizer *t, const gguf *g, fault *why)
{
    TRY(tok_blame(why, read_kind(t, g), key_model));
    TRY(read_pieces(t, g, why));
    TRY(read_specials(t));
    TRY(read_roles(t, g, why));
    TRY(tok_blame(why, read_template(t, g), key_template));
    read_swallows(t, g);
    TRY(t->kind->open(&t->state, g, &t->v, why));
    return tok_blame(why, read_adds_bos(t, g), key_adds_bos);
}

err tokenizer_new(tokenizer **out, const gguf *g, fault *why)
{
    tokenizer *t = calloc(1, sizeof *t);
    err e;

    err_blame(why, ERR_OK, "");
    if (!t) return ERR_NOMEM;
    e = read_all(t, g, why);
    if (e != ERR_OK) {
        tokenizer_free(t);
        return e;
    }
    *out = t;
    return ERR_OK;
}

void tokenizer_free(tokenizer *t)
{
    if (!t) return;
    if (t->kind) t->kind->close(t->state);
    free(t->piece);
    free(t->type);
    free(t->bytes);
    free(t->special);
    free(t);
}

/* --- special tokens in text --- */

/* The first of special[from .. to) whose byte at `depth` is not below c; all of them are
 * longer than depth and equal before it. */
static size_t lower_bound(const tokenizer *t, size_t from, size_t to, size_t depth, unsigned c)
{
    while (from < to) {
        const size_t middle = from + (to - from) / 2;

        if ((unsigned char)t->piece[t->special[middle]].at[depth] < c)
            from = middle + 1;
        else
            to = middle;
    }
    return from;
}

/* The longest special token that the text begins with, or TOKENIZER_NONE. */
static int32_t match_special(const tokenizer *t, const char *text, size_t n,
                             tokenizer_specials how)
{
    int32_t best = TOKENIZER_NONE;
    size_t from = 0, to = t->n_special;

    for (size_t depth = 0; from < to; depth++) {
        const int32_t id = t->special[from];

        if (t->piece[id].n == depth) { /* shorter ones come first */
            if (how == TOKENIZER_SPECIALS || t->type[id] == TOK_USER) best = id;
            while (from < to && t->piece[t->special[from]].n == depth) from++;
        }
        if (depth == n) break;
        from = lower_bound(t, from, to, depth, (unsigned char)text[depth]);
        to = lower_bound(t, from, to, depth, (unsigned char)text[depth] + 1u);
    }
    return best;
}

/* User-defined tokens are no control tokens: they may stand in plain text. */
int32_t tokenizer_match(const tokenizer *t, const char *text, size_t n)
{
    const int32_t id = n ? match_special(t, text, n, TOKENIZER_SPECIALS) : TOKENIZER_NONE;

    return id != TOKENIZER_NONE && t->type[id] == TOK_CONTROL ? id : TOKENIZER_NONE;
}

size_t tokenizer_swallows(const tokenizer *t, int32_t id, const char *text, size_t n)
{
    static const char *const never[] = {"<unk>", "<s>", "<|endoftext|>"};
    size_t i = 0;

    if (!t->swallows || t->type[id] != TOK_CONTROL) return 0;
    for (size_t k = 0; k < sizeof never / sizeof never[0]; k++)
        if (is_text(t->piece[id], never[k])) return 0;
    while (i < n && (text[i] == ' ' || (text[i] >= '\t' && text[i] <= '\r'))) i++;
    return i;
}

bool tokenizer_pads(const tokenizer *t)
{
    return t->kind->pads(t->state);
}

size_t tokenizer_most_ids(const tokenizer *t, size_t n)
{
    return tokenizer_pads(t) ? 2 * n : n;
}

/* A kind never sees an empty text: SentencePiece would put its space in front of nothing. */
static err encode_text(const tokenizer *t, gguf_text text, tokenizer_specials how,
                       token_ids *to)
{
    if (text.n == 0) return ERR_OK;
    return t->kind->encode(t->state, text, how == TOKENIZER_INSIDE, to);
}

/* A byte that begins no special token is passed over at once: the search would find nothing.
 * Cost of the rest: the longest special token, at most, for each byte. */
err tokenizer_append(const tokenizer *t, const char *text, size_t n, tokenizer_specials how,
                     token_ids *to)
{
    const bool search = how == TOKENIZER_SPECIALS ? t->n_special > 0 : t->user_tokens;
    size_t start = 0;

    for (size_t i = 0; search && i < n;) {
        const bool maybe = t->special_first[(unsigned char)text[i]];
        const int32_t id = maybe ? match_special(t, text + i, n - i, how) : TOKENIZER_NONE;

        if (id == TOKENIZER_NONE) {
            i++;
            continue;
        }
        TRY(encode_text(t, (gguf_text){text + start, i - start}, how, to));
        TRY(token_ids_put(to, id));
        i += t->piece[id].n;
        i += tokenizer_swallows(t, id, text + i, n - i);
        start = i;
    }
    return encode_text(t, (gguf_text){text + start, n - start}, how, to);
}

err tokenizer_encode(const tokenizer *t, const char *text, size_t n, tokenizer_specials how,
                     int32_t *ids, size_t *count)
{
    token_ids to = {.at = ids, .most = SIZE_MAX};

    TRY(tokenizer_append(t, text, n, how, &to));
    *count = to.n;
    return ERR_OK;
}

int32_t tokenizer_find(const tokenizer *t, const char *special)
{
    const size_t n = strlen(special);
    const int32_t id = match_special(t, special, n, TOKENIZER_SPECIALS);

    return id != TOKENIZER_NONE && t->piece[id].n == n ? id : TOKENIZER_NONE;
}

/* --- ids --- */

gguf_text tokenizer_piece(const tokenizer *t, int32_t id, bool specials)
{
    const gguf_text none = {"", 0};

    if (id < 0 || (size_t)id >= t->v.n) return none;
    if (!specials && (t->type[id] == TOK_CONTROL || t->type[id] == TOK_UNKNOWN)) return none;
    return t->piece[id];
}

size_t tokenizer_size(const tokenizer *t)
{
    return t->v.n;
}

size_t tokenizer_longest(const tokenizer *t)
{
    return t->longest;
}

int32_t tokenizer_bos(const tokenizer *t)
{
    return t->bos;
}

bool tokenizer_adds_bos(const tokenizer *t)
{
    return t->adds_bos;
}

/* A few dozen ids in a row, walked once for each token of an answer. */
bool tokenizer_is_end(const tokenizer *t, int32_t id)
{
    for (int i = 0; i < END_KEYS + MARKERS; i++)
        if (id != TOKENIZER_NONE && t->end[i] == id) return true;
    return false;
}

bool tokenizer_is_special(const tokenizer *t, int32_t id)
{
    return id >= 0 && (size_t)id < t->v.n && is_special(t->type[id]);
}

gguf_text tokenizer_chat_template(const tokenizer *t)
{
    return t->chat_template;
}
