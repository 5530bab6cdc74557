/* tok_normal.c - steps on a text, from one buffer to the next.
 *
 *   "  Cafe + U+0301" -> strip_left -> nfc -> lowercase -> "café"
 *
 * Each is a function from text to text, so that they can stand in any order. A text that is
 * plain ASCII stays what it is in the four normal forms, which are copies then. */
#include "engine/tokenizer/tok_normal.h"

#include <stdlib.h>
#include <string.h>

#include "engine/utf8.h"

typedef struct step {
    const struct row *row;
    gguf_text text[2];
} step;

typedef err (*worker)(const step *s, const char *text, size_t n, tok_text *out);

typedef struct row {
    const char *name;
    int texts;
    size_t growth;
    worker work;
} row;

/* Text of a client may not become a thousand times its size because a file says so. */
enum { GROWTH_MOST = 1024 };

struct tok_normal {
    step steps[TOK_NORMAL_STEPS];
    size_t n, growth; /* bytes that a byte becomes at most */
};

/* --- steps --- */

static err nfc(const step *s, const char *text, size_t n, tok_text *out)
{
    (void)s;
    return tok_unicode_form(TOK_NFC, text, n, out);
}

static err nfd(const step *s, const char *text, size_t n, tok_text *out)
{
    (void)s;
    return tok_unicode_form(TOK_NFD, text, n, out);
}

static err nfkc(const step *s, const char *text, size_t n, tok_text *out)
{
    (void)s;
    return tok_unicode_form(TOK_NFKC, text, n, out);
}

static err nfkd(const step *s, const char *text, size_t n, tok_text *out)
{
    (void)s;
    return tok_unicode_form(TOK_NFKD, text, n, out);
}

static err lowercase(const step *s, const char *text, size_t n, tok_text *out)
{
    size_t length;

    (void)s;
    for (size_t at = 0; at < n; at += length)
        tok_unicode_add_lower(out, tok_unicode_char(text + at, n - at, &length));
    return ERR_OK;
}

/* Marks that stand by themselves: whoever wants those of whole letters gone puts nfd before. */
static err strip_accents(const step *s, const char *text, size_t n, tok_text *out)
{
    size_t length;

    (void)s;
    for (size_t at = 0; at < n; at += length)
        if (!tok_unicode_is_combining(tok_unicode_char(text + at, n - at, &length)))
            tok_text_add(out, text + at, length);
    return ERR_OK;
}

static err strip_left(const step *s, const char *text, size_t n, tok_text *out)
{
    size_t at = 0, length;

    (void)s;
    while (at < n && tok_unicode_is_space(tok_unicode_char(text + at, n - at, &length)))
        at += length;
    tok_text_add(out, text + at, n - at);
    return ERR_OK;
}

static err strip_right(const step *s, const char *text, size_t n, tok_text *out)
{
    size_t end = 0, length;

    (void)s;
    for (size_t at = 0; at < n;) {
        const bool space = tok_unicode_is_space(tok_unicode_char(text + at, n - at, &length));

        at += length;
        if (!space) end = at;
    }
    tok_text_add(out, text, end);
    return ERR_OK;
}

static err prepend(const step *s, const char *text, size_t n, tok_text *out)
{
    if (n) tok_text_add(out, s->text[0].at, s->text[0].n);
    tok_text_add(out, text, n);
    return ERR_OK;
}

static err replace(const step *s, const char *text, size_t n, tok_text *out)
{
    const gguf_text from = s->text[0], to = s->text[1];
    size_t at = 0;

    for (const char *found; (found = memmem(text + at, n - at, from.at, from.n));) {
        tok_text_add(out, text + at, (size_t)(found - text) - at);
        tok_text_add(out, to.at, to.n);
        at = (size_t)(found - text) + from.n;
    }
    tok_text_add(out, text + at, n - at);
    return ERR_OK;
}

static const row rows[] = {
#define NORMALIZER(name, texts, growth, function) {name, texts, growth, function},
#include "engine/tokenizer/tok_normal.def"
#undef NORMALIZER
};

/* --- reading --- */

static bool is_text(gguf_text text, const char *expected)
{
    return text.n == strlen(expected) && memcmp(text.at, expected, text.n) == 0;
}

static err add_step(tok_normal *s, gguf_text name, step **out)
{
    if (s->n == TOK_NORMAL_STEPS) return ERR_TOOMANY;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
        if (is_text(name, rows[i].name)) {
            *out = &s->steps[s->n++];
            (*out)->row = &rows[i];
            return ERR_OK;
        }
    return ERR_TOKENIZER;
}

/* A text that is looked for must not be empty, and what stands for it must be text, too, or
 * what comes behind the steps would not be. */
static err read_texts(step *s, const void **at, uint64_t *left)
{
    for (int i = 0; i < s->row->texts; i++, (*left)--) {
        if (*left == 0) return ERR_STRING;
        s->text[i] = gguf_next_text(at);
        if ((i == 0 && s->text[i].n == 0) || !utf8_valid(s->text[i].at, s->text[i].n))
            return ERR_STRING;
    }
    return ERR_OK;
}

static err read_list(tok_normal *s, const gguf_array *list, fault *why)
{
    const void *at = list->data;

    if (list->type != GGUF_TYPE_TEXT) return err_blame(why, ERR_KEYTYPE, TOK_NORMAL_KEY);
    for (uint64_t left = list->n; left;) {
        const gguf_text name = gguf_next_text(&at);
        step *next = NULL;
        err e = add_step(s, name, &next);

        left--;
        if (e == ERR_OK) e = read_texts(next, &at, &left);
        if (e != ERR_OK) return err_blame_bytes(why, e, name.at, name.n);
    }
    return ERR_OK;
}

static err read_steps(tok_normal *s, const gguf *g, const char *family, fault *why)
{
    gguf_array list;
    const err e = gguf_get_array(g, TOK_NORMAL_KEY, &list);
    step *only;

    if (e == ERR_OK) return read_list(s, &list, why);
    if (e != ERR_MISSING) return err_blame(why, e, TOK_NORMAL_KEY);
    return family ? add_step(s, (gguf_text){family, strlen(family)}, &only) : ERR_OK;
}

/* What is put before a text counts for each of its bytes: there are as many texts as special
 * tokens cut it into. */
static err measure(tok_normal *s, fault *why)
{
    s->growth = 1;
    for (size_t i = 0; i < s->n; i++) {
        const step *p = &s->steps[i];
        size_t growth = p->row->growth;

        if (p->row->texts == 1) growth = 1 + p->text[0].n;
        if (p->row->texts == 2) growth = 1 + p->text[1].n / p->text[0].n;
        if (growth > GROWTH_MOST / s->growth) return err_blame(why, ERR_RANGE, TOK_NORMAL_KEY);
        s->growth *= growth;
    }
    return ERR_OK;
}

err tok_normal_open(tok_normal **out, const gguf *g, const char *family, fault *why)
{
    tok_normal *s = calloc(1, sizeof *s);
    err e = s ? read_steps(s, g, family, why) : ERR_NOMEM;

    if (e == ERR_OK) e = measure(s, why);
    if (e != ERR_OK || s->n == 0) {
        free(s);
        s = NULL;
    }
    if (e == ERR_OK) *out = s;
    return e;
}

void tok_normal_close(tok_normal *s)
{
    free(s);
}

size_t tok_normal_most(const tok_normal *s, size_t n)
{
    return n < SIZE_MAX / GROWTH_MOST ? n * s->growth : SIZE_MAX / sizeof(int32_t);
}

/* --- text --- */

/* From `text` through all steps; two buffers change places. */
static err run(const tok_normal *s, const char *text, size_t n, tok_text *out)
{
    tok_text from = {0}, to = {0};
    err e = ERR_OK;

    for (size_t i = 0; i < s->n && e == ERR_OK; i++) {
        const bool last = i + 1 == s->n;
        const char *in = i == 0   ? text
                         : from.n ? from.at
                                  : ""; /* of nothing there is no buffer */

        to.n = 0;
        e = s->steps[i].row->work(&s->steps[i], in, i ? from.n : n, last ? out : &to);
        if (e == ERR_OK && (to.failed || out->failed)) e = ERR_NOMEM;
        if (!last) {
            const tok_text other = from;

            from = to;
            to = other;
        }
    }
    tok_text_free(&from);
    tok_text_free(&to);
    return e;
}

/* Stretches of valid text through the steps, bytes between them as they are. */
err tok_normal_text(const tok_normal *s, const char *text, size_t n, tok_text *out)
{
    for (size_t at = 0; at < n;) {
        const size_t valid = utf8_prefix(text + at, n - at);

        if (valid) TRY(run(s, text + at, valid, out));
        at += valid;
        if (at < n) tok_text_add(out, text + at++, 1);
    }
    return out->failed ? ERR_NOMEM : ERR_OK;
}
