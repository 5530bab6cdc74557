/* chat.c - the templates of a file, what they are run with, and what becomes of their text.
 *
 * Who continues the last message wants it open: behind its text a mark is put that is the
 * template's own, as no request can write it, and what comes out is cut there.
 *
 *   ... assistant\nThe sea is<mark> <|im_end|>\n        with white space kept: cut at the mark
 *   ... assistant\nThe sea is<mark><|im_end|>\n         trimmed: so is white space before it */
#include "engine/template/chat.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MOST_TEMPLATES = 16, NAME_BYTES = 64 };

static const char key_prefix[] = "tokenizer.chat_template";
static const char tool_use[] = "tool_use";
static const char mark[] = "\x01(the message goes on here)\x01 ";

static const struct {
    const char *name, *source;
} catalog[] = {
#define CHAT(name, source) {name, source},
#include "engine/template/chat_catalog.def"
#undef CHAT
};

typedef struct named {
    char name[NAME_BYTES]; /* empty: the default */
    jinja *template;       /* NULL: problem */
    char *source;          /* NUL-terminated */
    char problem[400];
} named;

struct chat {
    const tokenizer *tokens;
    named list[MOST_TEMPLATES]; /* [n] */
    size_t n;
};

/* --- opening --- */

static err compile(named *x, const char *source, size_t n)
{
    jinja_fault why;
    err e;

    x->source = strndup(source, n);
    if (!x->source) return ERR_NOMEM;
    e = jinja_compile(&x->template, source, n, &why);
    if (e != ERR_TEMPLATE) return e;
    if (why.line)
        snprintf(x->problem, sizeof x->problem, "line %d: %s", why.line, why.text);
    else
        snprintf(x->problem, sizeof x->problem, "%s", why.text);
    return ERR_OK;
}

/* Key number i, if it is a template: "tokenizer.chat_template" or that with a name. More than
 * there is room for no file has. */
static err read_key(chat *c, const gguf *g, size_t i)
{
    const gguf_text key = gguf_key_at(g, i, NULL);
    const size_t prefix = sizeof key_prefix - 1;
    named *x = &c->list[c->n];
    gguf_text source;
    char name[sizeof key_prefix + NAME_BYTES];

    if (c->n == MOST_TEMPLATES || key.n < prefix || key.n >= prefix + NAME_BYTES) return ERR_OK;
    if (memcmp(key.at, key_prefix, prefix) != 0) return ERR_OK;
    if (key.n > prefix && key.at[prefix] != '.') return ERR_OK;
    memcpy(name, key.at, key.n);
    name[key.n] = '\0';
    if (gguf_get_text(g, name, &source) != ERR_OK) return ERR_OK;
    strcpy(x->name, name + prefix + (key.n > prefix));
    c->n++;
    return compile(x, source.at, source.n);
}

static err open_empty(chat **out, const tokenizer *t)
{
    *out = calloc(1, sizeof **out);
    if (!*out) return ERR_NOMEM;
    (*out)->tokens = t;
    return ERR_OK;
}

err chat_open(chat **out, const gguf *g, const tokenizer *t)
{
    chat *c;
    err e = open_empty(&c, t);

    for (size_t i = 0; e == ERR_OK && i < gguf_keys(g); i++) e = read_key(c, g, i);
    if (e == ERR_OK)
        *out = c;
    else
        chat_free(c);
    return e;
}

err chat_open_source(chat **out, const char *source, size_t n, const tokenizer *t)
{
    chat *c;
    err e = open_empty(&c, t);

    if (e == ERR_OK) e = compile(&c->list[c->n++], source, n);
    if (e == ERR_OK)
        *out = c;
    else
        chat_free(c);
    return e;
}

void chat_free(chat *c)
{
    for (size_t i = 0; c && i < c->n; i++) {
        jinja_free(c->list[i].template);
        free(c->list[i].source);
    }
    free(c);
}

/* --- which --- */

static const named *find(const chat *c, const char *name)
{
    for (size_t i = 0; i < c->n; i++)
        if (strcmp(c->list[i].name, name) == 0) return &c->list[i];
    return NULL;
}

const char *chat_problem(const chat *c)
{
    const named *x = find(c, "");

    if (!x) return "the file has none";
    return x->template ? NULL : x->problem;
}

const char *chat_name(const chat *c, size_t i, const char **problem)
{
    for (size_t k = 0; k < c->n; k++) {
        if (!c->list[k].name[0] || i--) continue;
        *problem = c->list[k].template ? NULL : c->list[k].problem;
        return c->list[k].name;
    }
    return NULL;
}

const char *chat_catalog_source(const char *name)
{
    for (size_t i = 0; i < sizeof catalog / sizeof *catalog; i++)
        if (strcmp(catalog[i].name, name) == 0) return catalog[i].source;
    return NULL;
}

const char *chat_catalog_name(size_t i)
{
    return i < sizeof catalog / sizeof *catalog ? catalog[i].name : NULL;
}

const char *chat_source(const chat *c)
{
    const named *x = find(c, "");

    return x ? x->source : "";
}

bool chat_mentions(const chat *c, const char *word)
{
    for (size_t i = 0; i < c->n; i++)
        if (c->list[i].template && strstr(c->list[i].source, word)) return true;
    return false;
}

/* --- what it is run with --- */

/* A token's text, which the template writes as its own. */
static err give_token(const chat *c, jinja_run *r, jinja_dict *given, const char *name,
                      int32_t id)
{
    const gguf_text piece = tokenizer_piece(c->tokens, id, true);
    jinja_value v;

    if (!piece.n || jinja_dict_get(given, name)) return ERR_OK;
    TRY(jinja_make_text(jinja_arena_of(r), piece.at, piece.n, true, &v));
    return jinja_dict_put(jinja_arena_of(r), given, name, v);
}

static err give_none(jinja_run *r, jinja_dict *given, const char *name)
{
    if (jinja_dict_get(given, name)) return ERR_OK;
    return jinja_dict_put(jinja_arena_of(r), given, name, jinja_none());
}

static err give_all(const chat *c, jinja_run *r, jinja_dict *given, chat_wish wish)
{
    TRY(give_token(c, r, given, "bos_token", tokenizer_bos(c->tokens)));
    TRY(give_token(c, r, given, "eos_token", tokenizer_eos(c->tokens)));
    TRY(give_none(r, given, "tools"));
    TRY(give_none(r, given, "documents"));
    return jinja_dict_put(jinja_arena_of(r), given, "add_generation_prompt",
                          jinja_bool(wish.generate));
}

/* The template for what comes with tools, where the file has one. */
static const named *choose(const chat *c, const jinja_dict *given)
{
    const jinja_value *tools = jinja_dict_get(given, "tools");
    const named *special = tools && jinja_truth(*tools) ? find(c, tool_use) : NULL;

    return special && special->template ? special : find(c, "");
}

/* --- a message that goes on --- */

static err refuse(jinja_fault *why, const char *sentence)
{
    *why = (jinja_fault){0};
    snprintf(why->text, sizeof why->text, "%s", sentence);
    return ERR_TEMPLATE;
}

/* The mark behind the last message's text, in a copy of that message alone. */
static err mark_last(jinja_run *r, jinja_dict *given, jinja_fault *why)
{
    jinja_arena *a = jinja_arena_of(r);
    const jinja_value *messages = jinja_dict_get(given, "messages");
    const jinja_list *list = messages ? messages->is.list : NULL;
    const jinja_value *content = NULL;
    jinja_text behind, text;

    if (list && list->n) content = jinja_dict_get(list->at[list->n - 1].is.dict, "content");
    if (!content || content->type != JINJA_TEXT)
        return refuse(why, "there is no last message whose text could go on");
    TRY(jinja_text_borrow(a, mark, sizeof mark - 1, true, &behind));
    TRY(jinja_text_concat(a, content->is.text, behind, &text));
    return jinja_dict_put(a, list->at[list->n - 1].is.dict, "content", jinja_of_text(text));
}

/* Is all of it the template's own? What a request wrote is no mark. */
static bool is_own(jinja_text t)
{
    for (size_t i = 0; i < t.n; i++)
        if (!jinja_text_trusted(t, i)) return false;
    return true;
}

/* Where the next mark is from a place on, or SIZE_MAX. */
static size_t find_mark(jinja_text t, size_t from)
{
    jinja_buffer b = {.bytes = (char *)mark, .n = sizeof mark - 2}; /* without its space */
    const jinja_text look = jinja_buffer_text(&b);

    for (; (from = jinja_text_find(t, look, from)) != SIZE_MAX; from++)
        if (is_own(jinja_text_cut(t, from, look.n))) break;
    return from;
}

/* Cut at the last mark; those before it, of a template that writes a message twice, are left
 * out. */
static err cut_at_mark(jinja_run *r, jinja_text *t, jinja_fault *why)
{
    jinja_buffer *kept = jinja_arena_take(jinja_arena_of(r), sizeof *kept);
    size_t from = 0, at = find_mark(*t, 0);
    bool spaced = false;

    if (!kept) return ERR_NOMEM;
    if (at == SIZE_MAX)
        return refuse(why, "the template does not write the last message so that it can go on");
    for (; at != SIZE_MAX; at = find_mark(*t, from)) {
        TRY(jinja_buffer_add_text(jinja_arena_of(r), kept,
                                  jinja_text_cut(*t, from, at - from)));
        from = at + sizeof mark - 2;
        spaced = from < t->n && jinja_text_at(*t)[from] == ' ';
        from += spaced;
    }
    *t = jinja_text_strip(jinja_buffer_text(kept), NULL, false, !spaced);
    return ERR_OK;
}

/* --- ids --- */

/* A byte for each byte of the text. */
static unsigned char *own_bytes(jinja_run *r, jinja_text t)
{
    unsigned char *own = jinja_arena_take(jinja_arena_of(r), t.n + 1);

    for (size_t i = 0; own && i < t.n; i++) own[i] = jinja_text_trusted(t, i);
    return own;
}

/* Some templates write BOS, others leave it to the tokenizer: one of the two is enough. */
static bool writes_bos(const chat *c, jinja_text t)
{
    const gguf_text bos = tokenizer_piece(c->tokens, tokenizer_bos(c->tokens), true);

    return bos.n && t.n >= bos.n && memcmp(jinja_text_at(t), bos.at, bos.n) == 0 &&
           is_own(jinja_text_cut(t, 0, bos.n));
}

static err encode(const chat *c, jinja_run *r, jinja_text t, token_ids *to)
{
    const unsigned char *own = own_bytes(r, t);
    const char *text = jinja_text_at(t);
    size_t skip = 0;

    if (!own) return ERR_NOMEM;
    if (tokenizer_adds_bos(c->tokens) && !writes_bos(c, t)) {
        TRY(token_ids_put(to, tokenizer_bos(c->tokens)));
        skip = tokenizer_swallows(c->tokens, tokenizer_bos(c->tokens), text, t.n);
    }
    return tokenizer_append_marked(c->tokens, text + skip, t.n - skip, own + skip, to);
}

static err write_text(const chat *c, jinja_run *r, jinja_dict *given, chat_wish wish,
                      jinja_text *out, jinja_fault *why)
{
    const named *x = choose(c, given);

    if (!x || !x->template) {
        snprintf(why->text, sizeof why->text,
                 "The model's chat template cannot be used: %.250s", chat_problem(c));
        return ERR_TEMPLATE;
    }
    if (wish.goes_on) TRY(mark_last(r, given, why));
    TRY(give_all(c, r, given, wish));
    TRY(jinja_render(r, x->template, given, out, why));
    return wish.goes_on ? cut_at_mark(r, out, why) : ERR_OK;
}

err chat_encode(const chat *c, jinja_run *r, jinja_dict *given, chat_wish wish, token_ids *out,
                jinja_fault *why)
{
    token_ids to = {.most = out->most, .cancel = out->cancel};
    jinja_text text;
    size_t most;
    err e;

    *why = (jinja_fault){0};
    TRY(write_text(c, r, given, wish, &text, why));
    most = tokenizer_most_ids(c->tokens, text.n) + 1;
    if (to.most > most) to.most = most;
    to.at = reallocarray(NULL, to.most + 1, sizeof *to.at);
    if (!to.at) return ERR_NOMEM;
    e = encode(c, r, text, &to);
    if (e == ERR_OK)
        *out = to;
    else
        free(to.at);
    return e;
}

/* --- messages that are texts --- */

static err make_message(jinja_run *r, const chat_message *m, jinja_value *out)
{
    jinja_arena *a = jinja_arena_of(r);
    jinja_value v;

    TRY(jinja_make_dict(a, out));
    TRY(jinja_make_text(a, m->role, strlen(m->role), true, &v));
    TRY(jinja_dict_put(a, out->is.dict, "role", v));
    TRY(jinja_make_text(a, m->content, m->content_bytes, false, &v));
    return jinja_dict_put(a, out->is.dict, "content", v);
}

static err make_given(jinja_run *r, const chat_message *messages, size_t n, jinja_value *out)
{
    jinja_arena *a = jinja_arena_of(r);
    jinja_value list, m;

    TRY(jinja_make_dict(a, out));
    TRY(jinja_make_list(a, JINJA_LIST_FORM, n, &list));
    for (size_t i = 0; i < n; i++) {
        TRY(make_message(r, &messages[i], &m));
        TRY(jinja_list_add(a, list.is.list, m));
    }
    return jinja_dict_put(a, out->is.dict, "messages", list);
}

/* Values of what a request has take a few times its bytes, and text that grows twice its own.
 */
size_t chat_run_bytes(size_t bytes)
{
    return ((size_t)64 << 20) + 16 * bytes;
}

err chat_encode_messages(const chat *c, const chat_message *messages, size_t n, bool generate,
                         token_ids *out)
{
    jinja_fault why;
    jinja_run *r;
    jinja_value given;
    size_t bytes = 0;
    err e;

    for (size_t i = 0; i < n; i++) bytes += messages[i].content_bytes;
    TRY(jinja_open(&r, chat_run_bytes(bytes), out->cancel));
    e = make_given(r, messages, n, &given);
    if (e == ERR_OK)
        e = chat_encode(c, r, given.is.dict, (chat_wish){.generate = generate}, out, &why);
    jinja_close(r);
    return e;
}
