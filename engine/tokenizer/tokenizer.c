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

#include "engine/tokenizer/tok_fill.h"
#include "engine/tokenizer/tok_frame.h"
#include "engine/tokenizer/tok_kind.h"
#include "engine/tokenizer/tok_normal.h"
#include "engine/tokenizer/tok_special.h"
#include "engine/tokenizer/tok_swallow.h"
#include "engine/tokenizer/tokenizer_state.h"

static const char key_model[] = "tokenizer.ggml.model";
static const char key_tokens[] = "tokenizer.ggml.tokens";
static const char key_types[] = "tokenizer.ggml.token_type";
static const char key_bos[] = "tokenizer.ggml.bos_token_id";
static const char key_marks[] = "xquantd.tokenizer.found_marked";
static const char key_first[] = "xquantd.tokenizer.space_prefix_first";
static const char key_single[] = TOK_SINGLE_KEY;
static const char key_template[] = "tokenizer.chat_template";

/* What ends an answer, by key; more do by name. */
static const char *const end_keys[] = {
    "tokenizer.ggml.eos_token_id",
    "tokenizer.ggml.eot_token_id",
    "tokenizer.ggml.eom_token_id",
};

static const struct {
    const char *text;
    bool ends, always;
} markers[] = {
#define MARKER(text, ends, always) {text, ends, always},
#include "engine/tokenizer/markers.def"
#undef MARKER
};

enum { END_KEYS = sizeof end_keys / sizeof end_keys[0] };
_Static_assert((int)END_KEYS == (int)TOKENIZER_END_KEYS, "each key has a place in `end`");
enum { MARKERS = sizeof markers / sizeof markers[0] };

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

/* A special token is found as the file has it. Where the kind marks spaces, marks in it stand
 * for spaces in what is written. One that has spaces itself is only found, and no merge makes
 * it, for the text that is merged has marks; unless the file says that it is found with marks,
 * as tokenizer.json has it, and is a word like others. Returns the bytes of `out` used. */
static size_t read_special(tokenizer *t, size_t i, gguf_text raw, bool found_marked, char *out)
{
    const bool user = t->type[i] == TOK_USER && t->kind->marks;
    const bool spaces = user && raw.n && memchr(raw.at, ' ', raw.n);
    size_t n;

    t->text[i] = t->piece[i] = raw;
    if (!user) return 0;
    if (spaces && !found_marked) t->type[i] = TOK_FOUND;
    if (spaces && found_marked) {
        n = tok_mark(raw.at, raw.n, out);
        t->text[i] = (gguf_text){out, n};
        return n;
    }
    n = tok_unmark(raw.at, raw.n, out);
    if (n == raw.n) return 0;
    t->piece[i] = (gguf_text){out, n};
    return n;
}

/* Spell id i, written `raw` in the file, to `out`. Returns the bytes of `out` used. */
static size_t read_piece(tokenizer *t, size_t i, gguf_text raw, char *out)
{
    size_t n = 1;

    t->piece[i] = raw;
    if (!(t->type[i] == TOK_BYTE && spell_byte(raw, out)) && !t->kind->spell(raw, out, &n)) {
        t->type[i] = TOK_UNDEFINED;
        return 0;
    }
    t->piece[i] = (gguf_text){out, n};
    return n;
}

/* Left alone where the file is silent. */
static err read_flag(const gguf *g, const char *key, bool *flag)
{
    const err e = gguf_get_bool(g, key, flag);

    return e == ERR_MISSING ? ERR_OK : e;
}

/* A token is never longer than it is spelled, so the bytes of the list, with its lengths,
 * are room enough for all; spaces that are marked take three. */
static err read_tokens(tokenizer *t, const gguf *g, bool found_marked, gguf_array *list)
{
    size_t bytes;

    TRY(gguf_get_array(g, key_tokens, list));
    if (list->type != GGUF_TYPE_TEXT) return ERR_KEYTYPE;
    if (list->n == 0 || list->n > INT32_MAX) return ERR_TOOMANY;
    t->v.n = (size_t)list->n;
    t->v.piece = t->piece = calloc(t->v.n, sizeof *t->piece);
    t->v.type = t->type = malloc(t->v.n);
    t->text = calloc(t->v.n, sizeof *t->text);
    bytes = (size_t)((const char *)list->end - (const char *)list->data);
    t->bytes = malloc(found_marked ? 3 * bytes : bytes);
    return t->piece && t->type && t->text && t->bytes ? ERR_OK : ERR_NOMEM;
}

/* The longest piece is what a stop string or an answer's text must leave room for. */
static err read_pieces(tokenizer *t, const gguf *g, fault *why)
{
    bool found_marked = false;
    gguf_array list;
    const void *at;
    size_t used = 0;

    TRY(tok_blame(why, read_flag(g, key_marks, &found_marked), key_marks));
    TRY(tok_blame(why, read_tokens(t, g, found_marked, &list), key_tokens));
    TRY(tok_blame(why, read_types(t, g), key_types));
    at = list.data;
    for (size_t i = 0; i < t->v.n; i++) {
        const gguf_text raw = gguf_next_text(&at);
        char *out = t->bytes + used;

        used += tok_special_is(t->type[i]) ? read_special(t, i, raw, found_marked, out)
                                           : read_piece(t, i, raw, out);
        if (t->piece[i].n > t->longest) t->longest = t->piece[i].n;
    }
    return ERR_OK;
}

/* The texts are copied into the list, so they need not stay. */
static err read_specials(tokenizer *t)
{
    const err e = tok_special_read(&t->special, &t->v, t->text);

    free(t->text);
    t->text = NULL;
    return e;
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
    if (id != TOKENIZER_NONE && (t->type[id] == TOK_USER || t->type[id] == TOK_FOUND))
        t->type[id] = TOK_CONTROL;
}

/* Thoughts and answer of gpt-oss are two messages of one turn, each with an end of its own; as
 * llama.cpp has it, two other ends tell this family. */
static void keep_turn_open(tokenizer *t)
{
    const int32_t end = tokenizer_find(t, "<|end|>");

    if (end == TOKENIZER_NONE || tokenizer_find(t, "<|return|>") == TOKENIZER_NONE ||
        tokenizer_find(t, "<|call|>") == TOKENIZER_NONE)
        return;
    for (int i = 0; i < TOKENIZER_ENDS; i++)
        if (t->end[i] == end) t->end[i] = TOKENIZER_NONE;
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
    TRY(tokenizer_ids_read_ends(t, g, why));
    for (int i = 0; i < TOKENIZER_MORE_ENDS; i++) make_control(t, t->end[END_KEYS + i]);
    for (int i = 0; i < MARKERS; i++) {
        int32_t id = tokenizer_find(t, markers[i].text);

        if (id != TOKENIZER_NONE && !markers[i].always && t->bos != TOKENIZER_NONE &&
            t->type[id] != TOK_CONTROL)
            id = TOKENIZER_NONE;
        t->end[END_KEYS + TOKENIZER_MORE_ENDS + i] = markers[i].ends ? id : TOKENIZER_NONE;
        make_control(t, id);
    }
    for (int i = 0; i < TOKENIZER_FILLS; i++) t->fill[i] = TOKENIZER_NONE;
    TRY(tok_fill_read(t->fill, &t->special, t->v.n, g, why));
    keep_turn_open(t);
    t->user_tokens = tok_special_in_text(&t->special);
    return ERR_OK;
}

/* It is run elsewhere; here it is a text or the file is wrong. */
static err check_template(const gguf *g)
{
    gguf_text text;
    const err e = gguf_get_text(g, key_template, &text);

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
    TRY(tok_blame(why, check_template(g), key_template));
    TRY(tok_blame(why, read_flag(g, key_first, &t->pads_first), key_first));
    TRY(tok_blame(why, read_flag(g, key_single, &t->pads_single), key_single));
    TRY(tok_swallow_read(&t->swallows, g, &t->v, t->kind == &tok_spm, why));
    TRY(t->kind->open(&t->state, g, &t->v, why));
    TRY(tok_normal_open(&t->normal, g, t->kind->normal ? t->kind->normal(t->state) : NULL,
                        why));
    return tok_frame_read(t, g, why);
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
    free(t->text);
    tok_swallow_close(&t->swallows);
    tok_special_close(&t->special);
    tok_normal_close(t->normal);
    free(t);
}

/* --- special tokens in text --- */

/* User-defined tokens are no control tokens: they may stand in plain text. */
int32_t tokenizer_match(const tokenizer *t, const char *text, size_t n)
{
    const tok_special *found = tok_special_match(&t->special, text, n, true);

    return found && t->type[found->id] == TOK_CONTROL ? found->id : TOKENIZER_NONE;
}

size_t tokenizer_swallows(const tokenizer *t, int32_t id, const char *text, size_t n)
{
    return tok_swallow_right(&t->swallows, id, text, n);
}

bool tokenizer_pads(const tokenizer *t)
{
    return t->kind->pads(t->state) && !t->pads_first;
}

size_t tokenizer_most_ids(const tokenizer *t, size_t n)
{
    const size_t most = t->normal ? tok_normal_most(t->normal, n) : n;

    return t->kind->most ? t->kind->most(t->state, most) : most;
}

/* A mark is one, too. */
static bool begins_with_space(gguf_text text)
{
    return text.n &&
           (text.at[0] == ' ' || (text.n >= 3 && memcmp(text.at, "\xe2\x96\x81", 3) == 0));
}

/* A kind never sees an empty text: SentencePiece would put its space in front of nothing. */
static err encode_text(const tokenizer *t, gguf_text text, bool inside, token_ids *to)
{
    if (text.n == 0) return ERR_OK;
    if (t->pads_single && begins_with_space(text)) inside = true;
    return t->kind->encode(t->state, text, inside, to);
}

/* The text from an offset on, which gets no space in front where it goes on. What normal forms
 * change is what stands between special tokens, as the reference has it. */
static err encode_between(const tokenizer *t, gguf_text text, tokenizer_specials how,
                          bool first, token_ids *to)
{
    const bool inside = how == TOKENIZER_INSIDE || (t->pads_first && !(first && to->n == 0));
    tok_text normal = {0};
    err e;

    if (!t->normal) return encode_text(t, text, inside, to);
    e = tok_normal_text(t->normal, text.at, text.n, &normal);
    if (e == ERR_OK) e = encode_text(t, (gguf_text){normal.at, normal.n}, inside, to);
    tok_text_free(&normal);
    return e;
}

/* Text as its parts are found: where a special token may stand. */
typedef struct source {
    const char *text; /* [n] */
    size_t n;
    const unsigned char *own; /* [n] of a template, else NULL: then all is, or nothing */
    bool controls;
    size_t own_end; /* where the bytes of the same writer end */
} source;

/* The token that stands at byte i. In bytes of a template any may, as long as it ends there; in
 * others those alone that are part of plain text. */
static const tok_special *find_special(const tokenizer *t, source *s, size_t i)
{
    const tok_special *found = NULL;

    if (!s->own) return tok_special_match(&t->special, s->text + i, s->n - i, s->controls);
    if (s->own[i]) {
        if (s->own_end < i) s->own_end = i;
        while (s->own_end < s->n && s->own[s->own_end]) s->own_end++;
        found = tok_special_match(&t->special, s->text + i, s->own_end - i, true);
    }
    if (found || !t->user_tokens) return found;
    return tok_special_match(&t->special, s->text + i, s->n - i, false);
}

static err append(const tokenizer *t, source *s, tokenizer_specials how, token_ids *to)
{
    const bool search = s->own || s->controls ? t->special.n > 0 : t->user_tokens;
    const char *const text = s->text;
    const size_t n = s->n;
    size_t start = 0;

    for (size_t i = 0; search && i < n;) {
        const tok_special *found = find_special(t, s, i);
        size_t end;

        if (!found) {
            i++;
            continue;
        }
        end = tok_swallow_left(&t->swallows, found->id, text + start, i - start);
        TRY(encode_between(t, (gguf_text){text + start, end}, how, start == 0, to));
        TRY(token_ids_put(to, found->id));
        i += found->text.n;
        i += tokenizer_swallows(t, found->id, text + i, n - i);
        start = i;
    }
    return encode_between(t, (gguf_text){text + start, n - start}, how, start == 0, to);
}

err tokenizer_append(const tokenizer *t, const char *text, size_t n, tokenizer_specials how,
                     token_ids *to)
{
    source s = {.text = text, .n = n, .controls = how == TOKENIZER_SPECIALS};

    return append(t, &s, how, to);
}

err tokenizer_append_marked(const tokenizer *t, const char *text, size_t n,
                            const unsigned char *own, token_ids *to)
{
    source s = {.text = text, .n = n, .own = own};

    return append(t, &s, TOKENIZER_SPECIALS, to);
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
    const tok_special *found = tok_special_find(&t->special, special, strlen(special));

    return found ? found->id : TOKENIZER_NONE;
}
