/* template.c - control tokens by id, and what is between them as plain text.
 *
 * A template in a file is a program in Jinja. It is not run, it is recognised: a row of
 * templates.def whose mark it holds says how that family writes a turn. Between two control
 * tokens all text, of the form and of the message, is joined before it is encoded, since a
 * tokenizer may merge across that border, and the reference renders first and encodes
 * afterwards. */
#include "engine/tokenizer/template.h"

#include <stdlib.h>
#include <string.h>

enum { TRIM = 1, FOLD = 2, ALWAYS = 4, OWN = 8 };

typedef enum role { SYSTEM, USER, ASSISTANT, TOOL, ROLES } role;

typedef struct form {
    const char *name, *mark, *needs;
    unsigned flags;
    const char *turn[ROLES];
} form;

static const form forms[] = {
#define TEMPLATE(name, mark, needs, flags, system, user, assistant, tool) \
    {name, mark, needs, flags, {system, user, assistant, tool}},
#include "engine/tokenizer/templates.def"
#undef TEMPLATE
};

static const char hole[] = "{}";

/* --- which one --- */

/* Are all of these, with spaces between them, control tokens? A file may carry another
 * family's template: without its tokens it cannot be written. */
static bool has_tokens(const tokenizer *t, const char *needs)
{
    for (size_t n; *needs; needs += n + (needs[n] == ' ')) {
        int32_t id;

        n = strcspn(needs, " ");
        id = tokenizer_match(t, needs, n);
        if (id == TOKENIZER_NONE || tokenizer_piece(t, id, true).n != n) return false;
    }
    return true;
}

static const char *find_text(gguf_text in, const char *text, size_t n)
{
    return in.n ? memmem(in.at, in.n, text, n) : NULL; /* a model may have no template */
}

/* Files without a template have ChatML's, if they have its tokens. */
static const form *find_form(const tokenizer *t)
{
    const gguf_text text = tokenizer_chat_template(t);
    const size_t rows = text.n ? sizeof forms / sizeof forms[0] : 1;

    for (size_t i = 0; i < rows; i++) {
        const bool marked = !text.n || find_text(text, forms[i].mark, strlen(forms[i].mark));

        if (marked && has_tokens(t, forms[i].needs)) return &forms[i];
    }
    return NULL;
}

const char *template_name(const tokenizer *t)
{
    const form *f = find_form(t);

    return f ? f->name : NULL;
}

/* The system message that the file's template writes where a conversation has none: between
 * the beginning and the end of a system turn, in one text. False: there is none. */
static bool own_system(const tokenizer *t, const char *turn, template_message *out)
{
    gguf_text rest = tokenizer_chat_template(t);
    const size_t before = strcspn(turn, "\n");
    const char *after = strstr(turn, hole) + strlen(hole), *at, *end;

    while ((at = find_text(rest, turn, before))) {
        const char *const stop = rest.at + rest.n;

        at += before;
        if (stop - at > 2 && memcmp(at, "\\n", 2) == 0) /* as a text in quotes has it */
            at += 2;
        else if (stop - at > 1 && *at == '\n')
            at++;
        rest = (gguf_text){at, (size_t)(stop - at)};
        end = find_text(rest, after, strcspn(after, "\n"));
        if (!end) return false;
        *out = (template_message){"system", at, (size_t)(end - at)};
        for (at = out->content; at < end && !strchr("'\"{}\\", *at);) at++;
        if (at == end && out->content_bytes) return true;
    }
    return false;
}

/* --- writing --- */

/* The ids that are being written. */
typedef struct writer {
    const tokenizer *t;
    const form *f;
    token_ids *out;
    int32_t last;                   /* the control token before text, or TOKENIZER_NONE */
    char *text;                     /* [n_text] what has no ids yet: since that token */
    size_t n_text;                  /* has room for all that is written */
    const template_message *folded; /* a system message that waits for a turn, or NULL */
} writer;

static err flush(writer *w)
{
    const bool after = w->last != TOKENIZER_NONE;
    const size_t skip = after ? tokenizer_swallows(w->t, w->last, w->text, w->n_text) : 0;

    TRY(tokenizer_append(w->t, w->text + skip, w->n_text - skip, TOKENIZER_PLAIN, w->out));
    w->n_text = 0;
    return ERR_OK;
}

/* A form that begins with BOS and a vocabulary that adds one give a single one. */
static err write_control(writer *w, int32_t id)
{
    TRY(flush(w));
    w->last = id;
    if (id == tokenizer_bos(w->t) && w->out->n == 1 && w->out->at[0] == id) return ERR_OK;
    return token_ids_put(w->out, id);
}

/* A part of a form. */
static err write_form(writer *w, const char *text, size_t n)
{
    for (size_t i = 0; i < n;) {
        const int32_t id = tokenizer_match(w->t, text + i, n - i);

        if (id == TOKENIZER_NONE) {
            w->text[w->n_text++] = text[i++];
            continue;
        }
        TRY(write_control(w, id));
        i += tokenizer_piece(w->t, id, true).n;
    }
    return ERR_OK;
}

/* Jinja's trim, for the white space that people type. */
static bool is_space(char c)
{
    return c == ' ' || (c >= '\t' && c <= '\r');
}

/* What a person or the model wrote: text, whatever it says. */
static void write_content(writer *w, const template_message *m)
{
    const char *text = m->content;
    size_t n = m->content_bytes;

    if (w->f->flags & TRIM) {
        for (; n && is_space(*text); text++) n--;
        while (n && is_space(text[n - 1])) n--;
    }
    if (n) memcpy(w->text + w->n_text, text, n);
    w->n_text += n;
}

static err write_turn(writer *w, role r, const template_message *m)
{
    const char *turn = w->f->turn[r] ? w->f->turn[r] : w->f->turn[USER];
    const char *gap = strstr(turn, hole), *after = gap + strlen(hole);
    const template_message *folded = w->folded;

    TRY(write_form(w, turn, (size_t)(gap - turn)));
    if (r == USER && folded) {
        w->folded = NULL;
        TRY(write_turn(w, SYSTEM, folded));
    }
    write_content(w, m);
    return write_form(w, after, strlen(after));
}

/* A system message that no turn of the user follows has one of its own. */
static err write_folded(writer *w)
{
    static const template_message nothing = {"user", "", 0};

    return w->folded ? write_turn(w, USER, &nothing) : ERR_OK;
}

static role role_of(const template_message *m)
{
    static const char *const names[] = {"system", "user", "assistant", "tool"};
    role r = SYSTEM;

    while (r < ROLES && strcmp(names[r], m->role) != 0) r++;
    return r < ROLES ? r : USER;
}

/* With FOLD a system message waits for the next turn of the user, whose content it begins. */
static err write_message(writer *w, const template_message *m)
{
    const role r = role_of(m);

    if (r != USER) TRY(write_folded(w));
    if (r != SYSTEM || !(w->f->flags & FOLD)) return write_turn(w, r, m);
    w->folded = m;
    return ERR_OK;
}

static err write_opened(writer *w)
{
    const char *turn = w->f->turn[ASSISTANT];
    size_t n = (size_t)(strstr(turn, hole) - turn);

    if (n && turn[n - 1] == ' ') n--;
    return write_form(w, turn, n);
}

static err write_all(writer *w, const template_message *messages, size_t n, bool generate)
{
    template_message own = {"system", "", 0};
    const bool begins = n && role_of(&messages[0]) == SYSTEM;
    const unsigned flags = w->f->flags;

    if (tokenizer_adds_bos(w->t)) TRY(write_control(w, tokenizer_bos(w->t)));
    if (!begins &&
        (flags & ALWAYS || (flags & OWN && own_system(w->t, w->f->turn[SYSTEM], &own))))
        TRY(write_message(w, &own));
    for (size_t i = 0; i < n; i++) TRY(write_message(w, &messages[i]));
    TRY(write_folded(w));
    if (generate) TRY(write_opened(w));
    return flush(w);
}

/* The bytes of all that can be written, each turn the longest there is, and a system
 * message of the template's own. */
static size_t most_bytes(const writer *w, const template_message *messages, size_t n)
{
    size_t longest = 0, bytes = tokenizer_chat_template(w->t).n + 1;

    for (int r = 0; r < ROLES; r++) {
        const size_t turn = w->f->turn[r] ? strlen(w->f->turn[r]) : 0;

        if (turn > longest) longest = turn;
    }
    for (size_t i = 0; i < n; i++) bytes += messages[i].content_bytes;
    return bytes + 2 * (n + 2) * longest; /* twice: what is folded stands in a turn */
}

/* Room for the longest text is taken first, so that writing it checks nothing. */
static err write_to(writer *w, const template_message *messages, size_t n, bool generate)
{
    const size_t bytes = most_bytes(w, messages, n);
    const size_t most = tokenizer_most_ids(w->t, bytes) + 1;
    err e = ERR_NOMEM;

    if (w->out->most > most) w->out->most = most;
    w->out->at = reallocarray(NULL, w->out->most + 1, sizeof *w->out->at);
    w->text = malloc(bytes);
    if (w->out->at && w->text) e = write_all(w, messages, n, generate);
    free(w->text);
    if (e != ERR_OK) free(w->out->at);
    return e;
}

err template_encode(const tokenizer *t, const template_message *messages, size_t n,
                    bool generate, token_ids *out)
{
    token_ids to = {.most = out->most, .cancel = out->cancel};
    writer w = {.t = t, .f = find_form(t), .out = &to, .last = TOKENIZER_NONE};

    if (!w.f) return ERR_TEMPLATE;
    TRY(write_to(&w, messages, n, generate));
    *out = to;
    return ERR_OK;
}
