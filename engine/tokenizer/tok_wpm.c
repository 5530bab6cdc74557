/* tok_wpm.c - WordPiece: words and signs, each written by the longest tokens from the left.
 *
 *   "Naïve, 中文!" -> naive , 中 文 !          small letters, accents gone, signs apart
 *   "embedding"   -> " em" "bed" "ding"      a token with a space begins a word
 *
 * A word that has a part which no token writes is unknown as a whole, as is one of more than a
 * hundred characters. (Devlin et al. 2018, BERT.) */
#include <stdlib.h>
#include <string.h>

#include "engine/tokenizer/tok_kind.h"
#include "engine/tokenizer/tok_unicode.h"
#include "engine/tokenizer/tok_words.h"
#include "engine/utf8.h"

static const char key_unknown[] = "tokenizer.ggml.unknown_token_id";
static const char key_lower[] = "tokenizer.ggml.normalizer.lowercase";
static const char key_accents[] = "tokenizer.ggml.normalizer.strip_accents";

static const unsigned word_types = 1u << TOK_NORMAL | 1u << TOK_USER | 1u << TOK_UNUSED;

enum { CHARACTERS_MOST = 100 };

typedef struct wpm {
    tok_words words;
    int32_t unknown;
    bool lower, strips;
} wpm;

/* --- reading --- */

/* A mark is a space again; what a file writes without one goes on inside a word. */
static bool spell(gguf_text raw, char *out, size_t *n)
{
    *n = tok_unmark(raw.at, raw.n, out);
    return true;
}

static err read_unknown(wpm *w, const gguf *g, size_t V)
{
    uint64_t id = 100; /* BERT's, where files are silent */
    const err e = gguf_get_u64(g, key_unknown, &id);

    if (e != ERR_OK && e != ERR_MISSING) return e;
    if (id >= V) return ERR_RANGE;
    w->unknown = (int32_t)id;
    return ERR_OK;
}

/* Accents go where capitals do, if the file does not say. */
static err read_flags(wpm *w, const gguf *g, fault *why)
{
    err e = gguf_get_bool(g, key_lower, &w->lower);

    if (e == ERR_MISSING) w->lower = true;
    if (e != ERR_OK && e != ERR_MISSING) return err_blame(why, e, key_lower);
    e = gguf_get_bool(g, key_accents, &w->strips);
    if (e == ERR_MISSING) w->strips = w->lower;
    return e == ERR_MISSING ? ERR_OK : tok_blame(why, e, key_accents);
}

static void wpm_close(void *state)
{
    wpm *w = state;

    if (!w) return;
    tok_words_close(&w->words);
    free(w);
}

static err wpm_open(void **state, const gguf *g, const tok_vocab *v, fault *why)
{
    wpm *w = calloc(1, sizeof *w);
    err e;

    if (!w) return ERR_NOMEM;
    e = tok_words_read(&w->words, v, word_types);
    if (e == ERR_OK) e = tok_blame(why, read_unknown(w, g, v->n), key_unknown);
    if (e == ERR_OK) e = read_flags(w, g, why);
    if (e != ERR_OK) {
        wpm_close(w);
        return e;
    }
    *state = w;
    return ERR_OK;
}

static bool wpm_adds_bos(const void *state)
{
    (void)state;
    return true;
}

static bool wpm_pads(const void *state)
{
    (void)state;
    return false;
}

/* A letter of two bytes may be three characters once its accents stand alone. */
static size_t wpm_most(const void *state, size_t n)
{
    (void)state;
    return 2 * n;
}

/* --- text --- */

/* Characters that are no text go, white space is a space, signs of Chinese stand alone. */
static void clean(const char *text, size_t n, tok_text *out)
{
    for (size_t at = 0, length; at < n; at += length) {
        int32_t c;

        if (utf8_step(text + at, n - at, &length) != UTF8_WHOLE) continue;
        c = tok_unicode_char(text + at, n - at, &length);
        if (c == 0 || c == 0xfffd || tok_unicode_is_control(c)) continue;
        if (tok_unicode_is_space(c)) {
            tok_text_add(out, " ", 1);
        } else if (tok_unicode_is_ideograph(c)) {
            tok_text_add(out, " ", 1);
            tok_text_add(out, text + at, length);
            tok_text_add(out, " ", 1);
        } else {
            tok_text_add(out, text + at, length);
        }
    }
}

static void simplify(const wpm *w, const tok_text *text, tok_text *out)
{
    for (size_t at = 0, length; at < text->n; at += length) {
        const int32_t c = tok_unicode_char(text->at + at, text->n - at, &length);

        if (w->strips && tok_unicode_is_mark(c)) continue;
        if (w->lower)
            tok_unicode_add_lower(out, c);
        else
            tok_text_add(out, text->at + at, length);
    }
}

static err normalize(const wpm *w, gguf_text text, tok_text *out)
{
    tok_text cleaned = {0}, apart = {0};
    err e = ERR_OK;

    clean(text.at, text.n, &cleaned);
    if (w->strips && cleaned.n && !cleaned.failed)
        e = tok_unicode_form(TOK_NFD, cleaned.at, cleaned.n, &apart);
    if (e == ERR_OK) simplify(w, w->strips ? &apart : &cleaned, out);
    if (cleaned.failed || apart.failed || out->failed) e = ERR_NOMEM;
    tok_text_free(&cleaned);
    tok_text_free(&apart);
    return e;
}

/* --- ids --- */

typedef struct longest {
    int32_t id;
    size_t bytes;
} longest;

static void take(void *arg, int32_t id, size_t bytes)
{
    *(longest *)arg = (longest){id, bytes};
}

/* The word text[1 .. n), with a space at text[0]: its ids, or none where it does not work out.
 */
static size_t cut_word(const wpm *w, const char *text, size_t n, int32_t ids[CHARACTERS_MOST])
{
    size_t characters = 0, count = 0;

    for (size_t i = 1; i < n; i++) characters += ((unsigned char)text[i] & 0xc0) != 0x80;
    if (characters > CHARACTERS_MOST) return 0;
    for (size_t at = 0; at < n; count++) {
        longest best = {NO_ID, 0};

        tok_words_prefixes(&w->words, text + at, n - at, take, &best);
        if (best.id == NO_ID || (at == 0 && best.bytes == 1)) return 0;
        ids[count] = best.id;
        at += best.bytes;
    }
    return count;
}

static err put_word(const wpm *w, const char *text, size_t n, token_ids *to)
{
    int32_t ids[CHARACTERS_MOST];
    const size_t count = cut_word(w, text, n, ids);

    if (count == 0) return token_ids_put(to, w->unknown);
    for (size_t i = 0; i < count; i++) TRY(token_ids_put(to, ids[i]));
    return ERR_OK;
}

/* Bytes of the word that begins at text[at]: a sign, or all up to the next one or a space. */
static size_t word_at(const tok_text *text, size_t at)
{
    size_t end = at, length;

    for (; end < text->n; end += length) {
        const int32_t c = tok_unicode_char(text->at + end, text->n - end, &length);
        const bool sign = tok_unicode_is_punctuation(c);

        if (sign && end == at) return length;
        if (sign || c == ' ') break;
    }
    return end - at;
}

static err put_words(const wpm *w, const tok_text *text, token_ids *to)
{
    tok_text word = {0};
    err e = ERR_OK;

    for (size_t at = 0, n; at < text->n && e == ERR_OK; at += n ? n : 1) {
        n = word_at(text, at);
        if (n == 0) continue;
        word.n = 0;
        tok_text_add(&word, " ", 1);
        tok_text_add(&word, text->at + at, n);
        e = word.failed ? ERR_NOMEM : token_ids_go_on(to);
        if (e == ERR_OK) e = put_word(w, word.at, word.n, to);
    }
    tok_text_free(&word);
    return e;
}

static err wpm_encode(const void *state, gguf_text text, bool inside, token_ids *to)
{
    const wpm *w = state;
    tok_text normal = {0};
    err e = normalize(w, text, &normal);

    (void)inside;
    if (e == ERR_OK) e = put_words(w, &normal, to);
    tok_text_free(&normal);
    return e;
}

const tok_kind tok_wpm = {
    .spell = spell,
    .marks = true,
    .open = wpm_open,
    .close = wpm_close,
    .adds_bos = wpm_adds_bos,
    .pads = wpm_pads,
    .most = wpm_most,
    .encode = wpm_encode,
};
