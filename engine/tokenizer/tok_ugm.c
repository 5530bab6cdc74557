/* tok_ugm.c - SentencePiece's unigram: of all ways to write a text the likeliest.
 *
 *   text      "Héllo\tworld"
 *   rules     "Héllo world"       tok_charsmap: what becomes what, mostly NFKC
 *   spaces    " Héllo world"      runs are one, and words begin with theirs
 *   ids       [" H"] ["é"] ["llo"] [" world"]
 *
 * A token's score is the logarithm of how often it was; that of a text is their sum, and the
 * best sum up to each character is found from left to right (Kudo 2018). Where no token spans
 * the space before a word, words are written one by one: a choice in one changes nothing in
 * another. What no token writes is unknown, ten below the worst score, and what is unknown side
 * by side is so once. */
#include <float.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "engine/tokenizer/tok_charsmap.h"
#include "engine/tokenizer/tok_kind.h"
#include "engine/tokenizer/tok_unicode.h"
#include "engine/tokenizer/tok_words.h"
#include "engine/utf8.h"

static const char key_scores[] = "tokenizer.ggml.scores";
static const char key_pads[] = "tokenizer.ggml.add_space_prefix";
static const char key_runs[] = "tokenizer.ggml.remove_extra_whitespaces";
static const char key_rules[] = "tokenizer.ggml.precompiled_charsmap";
static const char key_unknown[] = "tokenizer.ggml.unknown_token_id";

static const unsigned word_types = 1u << TOK_NORMAL | 1u << TOK_USER | 1u << TOK_UNUSED;

enum { UNKNOWN_BELOW = 10 };

typedef struct ugm {
    const tok_vocab *v;
    tok_words words;
    tok_charsmap rules;
    float *score; /* [V] */
    double unknown_score;
    int32_t unknown;
    bool pads, joins_spaces;
    bool cuts; /* no word has a space behind another character */
} ugm;

/* --- reading --- */

static bool spell(gguf_text raw, char *out, size_t *n)
{
    *n = tok_unmark(raw.at, raw.n, out);
    return true;
}

/* A NaN would be neither better nor worse, and a sum with an infinity has no order either. */
static err read_scores(ugm *u, const gguf *g)
{
    const tok_vocab *v = u->v;
    gguf_array list;
    float least = FLT_MAX;

    TRY(gguf_get_array(g, key_scores, &list));
    if (list.type != GGUF_TYPE_FLOAT32) return ERR_KEYTYPE;
    if (list.n != v->n) return ERR_TOOMANY;
    u->score = malloc(v->n * sizeof *u->score);
    if (!u->score) return ERR_NOMEM;
    memcpy(u->score, list.data, v->n * sizeof *u->score);
    for (size_t i = 0; i < v->n; i++) {
        if (!isfinite(u->score[i])) return ERR_RANGE;
        if (v->type[i] == TOK_NORMAL) least = fminf(least, u->score[i]);
        if (v->type[i] == TOK_USER) u->score[i] = 0; /* better than any other */
    }
    u->unknown_score = (double)least - UNKNOWN_BELOW;
    return ERR_OK;
}

/* Without one there would be texts that have no ids. */
static err read_unknown(ugm *u, const gguf *g)
{
    uint64_t id;

    TRY(gguf_get_u64(g, key_unknown, &id));
    if (id >= u->v->n) return ERR_RANGE;
    u->unknown = (int32_t)id;
    return ERR_OK;
}

static err read_flag(const gguf *g, const char *key, bool *flag)
{
    const err e = gguf_get_bool(g, key, flag);

    return e == ERR_MISSING ? ERR_OK : e;
}

static err read_rules(ugm *u, const gguf *g)
{
    gguf_array list;
    const err e = gguf_get_array(g, key_rules, &list);

    if (e == ERR_MISSING) return tok_charsmap_open(&u->rules, NULL, 0);
    if (e != ERR_OK) return e;
    if (list.type != GGUF_TYPE_UINT8 && list.type != GGUF_TYPE_INT8) return ERR_KEYTYPE;
    return tok_charsmap_open(&u->rules, list.data, (size_t)list.n);
}

static bool has_no_cut(const tok_words *w)
{
    for (size_t slot = 0; slot <= w->mask; slot++) {
        const int32_t id = w->ids[slot];
        const gguf_text piece = id == NO_ID ? (gguf_text){"", 0} : w->v->piece[id];

        for (size_t i = 1; i < piece.n; i++)
            if (piece.at[i] == ' ' && piece.at[i - 1] != ' ') return false;
    }
    return true;
}

static void ugm_close(void *state)
{
    ugm *u = state;

    if (!u) return;
    tok_words_close(&u->words);
    tok_charsmap_close(&u->rules);
    free(u->score);
    free(u);
}

static err read_all(ugm *u, const gguf *g, fault *why)
{
    TRY(tok_words_read(&u->words, u->v, word_types));
    u->cuts = has_no_cut(&u->words);
    TRY(tok_blame(why, read_scores(u, g), key_scores));
    TRY(tok_blame(why, read_unknown(u, g), key_unknown));
    TRY(tok_blame(why, read_flag(g, key_pads, &u->pads), key_pads));
    TRY(tok_blame(why, read_flag(g, key_runs, &u->joins_spaces), key_runs));
    return tok_blame(why, read_rules(u, g), key_rules);
}

static err ugm_open(void **state, const gguf *g, const tok_vocab *v, fault *why)
{
    ugm *u = calloc(1, sizeof *u);
    err e;

    if (!u) return ERR_NOMEM;
    u->v = v;
    u->pads = true;
    e = read_all(u, g, why);
    if (e != ERR_OK) {
        ugm_close(u);
        return e;
    }
    *state = u;
    return ERR_OK;
}

static bool ugm_adds_bos(const void *state)
{
    (void)state;
    return false;
}

static bool ugm_pads(const void *state)
{
    return ((const ugm *)state)->pads;
}

/* Rules make a text longer, and words begin with a space. */
static size_t ugm_most(const void *state, size_t n)
{
    const size_t growth = ((const ugm *)state)->rules.growth + 1;

    return n < SIZE_MAX / 64 / growth ? n * growth : SIZE_MAX / 64;
}

/* --- text --- */

/* Spaces as they come out of the rules, into runs or prefixes. */
typedef struct spacing {
    const ugm *u;
    tok_text *out;
    bool pads, in_word, begun;
} spacing;

static void add_bytes(spacing *s, const char *bytes, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        if (bytes[i] == ' ') {
            s->in_word = false;
            if (!s->u->joins_spaces) tok_text_add(s->out, " ", 1);
            continue;
        }
        if (!s->in_word && ((s->pads && !s->begun) || (s->u->joins_spaces && s->begun)))
            tok_text_add(s->out, " ", 1);
        s->in_word = s->begun = true;
        tok_text_add(s->out, bytes + i, 1);
    }
}

/* A mark in text is a space's name, as SentencePiece has it. What is no UTF-8 is U+FFFD. */
static err normalize(const ugm *u, gguf_text text, bool inside, tok_text *out)
{
    spacing s = {.u = u, .out = out, .pads = u->pads && !inside, .begun = inside};

    for (size_t at = 0, length; at < text.n; at += length) {
        gguf_text becomes = {text.at + at, 0};
        const bool valid = utf8_step(text.at + at, text.n - at, &becomes.n) == UTF8_WHOLE;

        length = tok_charsmap_match(&u->rules, text.at + at, text.n - at, &becomes);
        if (length == 0) {
            length = becomes.n;
            if (!valid) becomes = (gguf_text){"\xef\xbf\xbd", 3};
        }
        add_bytes(&s, becomes.at, becomes.n);
    }
    out->n = out->n ? tok_unmark(out->at, out->n, out->at) : 0;
    return out->failed ? ERR_NOMEM : ERR_OK;
}

/* The best way to each place. */
typedef struct place {
    double score;
    uint32_t from; /* where its last token begins */
    int32_t id;
} place;

typedef struct search {
    const ugm *u;
    place *at; /* [room] */
    size_t room;
    uint32_t here;
    size_t whole; /* bytes of the character that stands here */
    bool written; /* a token writes it */
    token_ids *to;
} search;

static void try(search *x, int32_t id, double score, size_t bytes)
{
    place *p = &x->at[x->here + bytes];
    const double sum = x->at[x->here].score + score;

    if (p->id != NO_ID && sum <= p->score) return;
    *p = (place){sum, x->here, id};
}

static void try_word(void *arg, int32_t id, size_t bytes)
{
    search *x = arg;

    if (bytes == x->whole) x->written = true;
    try(x, id, (double)x->u->score[id], bytes);
}

static err begin(search *x, size_t n)
{
    if (n >= UINT32_MAX) return ERR_NOMEM;
    if (n + 1 > x->room) {
        free(x->at);
        x->room = 2 * (n + 1);
        x->at = malloc(x->room * sizeof *x->at);
        if (!x->at) {
            x->room = 0;
            return ERR_NOMEM;
        }
    }
    for (size_t i = 0; i <= n; i++) x->at[i].id = NO_ID;
    x->at[0] = (place){.score = 0};
    return ERR_OK;
}

/* The way is known from its end; it is turned round by naming each place in the one before. */
static err put_ids(search *x, size_t n)
{
    uint32_t next = (uint32_t)n;
    bool unknown = false;

    for (uint32_t i = (uint32_t)n; i;) {
        const uint32_t from = x->at[i].from;

        x->at[i].from = next;
        next = i;
        i = from;
    }
    for (uint32_t i = 0; i < n;) {
        const uint32_t end = next;
        const bool again = unknown && x->at[end].id == x->u->unknown;

        next = x->at[end].from;
        unknown = x->at[end].id == x->u->unknown;
        if (!again) TRY(token_ids_put(x->to, x->at[end].id));
        i = end;
    }
    return ERR_OK;
}

static err encode_piece(search *x, const char *text, size_t n)
{
    TRY(token_ids_go_on(x->to));
    TRY(begin(x, n));
    for (size_t i = 0; i < n; i += x->whole) {
        if (utf8_step(text + i, n - i, &x->whole) != UTF8_WHOLE) x->whole = 1;
        x->here = (uint32_t)i;
        x->written = false;
        tok_words_prefixes(&x->u->words, text + i, n - i, try_word, x);
        if (!x->written) try(x, x->u->unknown, x->u->unknown_score, x->whole);
    }
    return put_ids(x, n);
}

static err ugm_encode(const void *state, gguf_text text, bool inside, token_ids *to)
{
    const ugm *u = state;
    search x = {.u = u, .to = to};
    tok_text normal = {0};
    err e = normalize(u, text, inside, &normal);

    for (size_t at = 0, end; e == ERR_OK && at < normal.n; at = end) {
        end = at + 1;
        while (end < normal.n &&
               !(u->cuts && normal.at[end] == ' ' && normal.at[end - 1] != ' '))
            end++;
        e = encode_piece(&x, normal.at + at, end - at);
    }
    free(x.at);
    tok_text_free(&normal);
    return e;
}

const tok_kind tok_ugm = {
    .spell = spell,
    .marks = true,
    .open = ugm_open,
    .close = ugm_close,
    .adds_bos = ugm_adds_bos,
    .pads = ugm_pads,
    .most = ugm_most,
    .encode = ugm_encode,
};
