/* blocks.c - a list of texts that grow at its end. */
#include "server/api/blocks.h"

#include <stdlib.h>
#include <string.h>

#include "server/json.h"

/* Arguments belong to the call before them, whatever else stands between two calls. */
static bool goes_on(const blocks *b, const struct piece *p)
{
    const block *last = b->n ? &b->at[b->n - 1] : NULL;

    if (!last || p->kind == PIECE_CALL) return false;
    if (p->kind == PIECE_ARGUMENTS) return last->kind == PIECE_CALL;
    return last->kind == p->kind;
}

/* A new last one; NULL: no memory. */
static block *push(blocks *b)
{
    if (b->n == b->room) {
        const size_t room = b->room ? 2 * b->room : 4;
        block *at = realloc(b->at, room * sizeof *at);

        if (!at) return NULL;
        b->at = at;
        b->room = room;
    }
    b->at[b->n] = (block){0};
    return &b->at[b->n++];
}

static bool begin(blocks *b, const struct piece *p)
{
    block *fresh = push(b);

    if (!fresh) return false;
    fresh->kind = p->kind;
    if (p->kind != PIECE_CALL) return true;
    fresh->id = strdup(p->id);
    fresh->name = strdup(p->name);
    return fresh->id && fresh->name;
}

bool blocks_add(blocks *b, const struct piece *p)
{
    const bool fresh = !goes_on(b, p);

    if (b->failed) return false;
    if (fresh && !begin(b, p)) {
        b->failed = true;
        return false;
    }
    if (p->kind != PIECE_CALL) text_add(&b->at[b->n - 1].text, p->text, p->len);
    if (b->at[b->n - 1].text.failed) b->failed = true;
    return fresh;
}

void blocks_free(blocks *b)
{
    for (size_t i = 0; i < b->n; i++) {
        free(b->at[i].id);
        free(b->at[i].name);
        text_free(&b->at[i].text);
    }
    free(b->at);
    *b = (blocks){0};
}

void blocks_add_text(text_builder *t, const block *of)
{
    text_add_json(t, of->text.at ? of->text.at : "", of->text.n);
}

/* How far a text that max_tokens has cut is whole: a document that lacks its closing brackets.
 */
typedef struct cut {
    size_t keep;               /* bytes up to the last value or bracket that is whole */
    char open[JSON_MAX_DEPTH]; /* [kept] what closes it there */
    size_t depth, kept;
    bool quoted, escaped, key; /* where it is */
} cut;

static void keep(cut *c, size_t bytes)
{
    c->keep = bytes;
    c->kept = c->depth;
}

/* A byte between strings; a number or a word is whole when something follows it. */
static void take_plain(cut *c, char byte, size_t i)
{
    if (byte == '{' || byte == '[') {
        if (c->depth < sizeof c->open) c->open[c->depth++] = byte == '{' ? '}' : ']';
        c->key = byte == '{';
        keep(c, i + 1);
    } else if ((byte == '}' || byte == ']') && c->depth) {
        c->depth--;
        keep(c, i + 1);
    } else if (byte == ',') {
        keep(c, i);
        c->key = c->depth && c->open[c->depth - 1] == '}';
    } else if (byte == ':') {
        c->key = false;
    }
}

static void take_byte(cut *c, char byte, size_t i)
{
    if (c->quoted && !c->escaped && byte == '"') {
        c->quoted = false;
        if (!c->key) keep(c, i + 1);
    } else if (c->quoted) {
        c->escaped = !c->escaped && byte == '\\';
    } else if (byte == '"') {
        c->quoted = true;
    } else {
        take_plain(c, byte, i);
    }
}

/* What came before the cut is true; half a word, or a name without a value, says nothing. */
static void add_cut(text_builder *t, const text_builder *text)
{
    cut c = {0};
    size_t brackets;

    for (size_t i = 0; i < text->n && c.depth < sizeof c.open; i++)
        take_byte(&c, text->at[i], i);
    text_add(t, text->at, c.keep);
    for (brackets = c.kept; brackets > 0; brackets--) text_add(t, &c.open[brackets - 1], 1);
}

static bool is_object(const text_builder *text)
{
    cJSON *parsed = NULL;
    fault why;
    const bool good = text->n && json_parse(&parsed, text->at, text->n, &why) &&
                      cJSON_IsObject(parsed);

    cJSON_Delete(parsed);
    return good;
}

void blocks_add_arguments(text_builder *t, const block *of)
{
    text_builder closed = {0};

    if (is_object(&of->text)) {
        text_add(t, of->text.at, of->text.n);
        return;
    }
    add_cut(&closed, &of->text);
    if (closed.failed) t->failed = true;
    if (is_object(&closed))
        text_add(t, closed.at, closed.n);
    else
        text_add_string(t, "{}");
    text_free(&closed);
}
