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

/* What was cut off at max_tokens is no JSON, and would make the answer none. */
void blocks_add_arguments(text_builder *t, const block *of)
{
    cJSON *parsed = NULL;
    fault why;
    const bool good = of->text.n && json_parse(&parsed, of->text.at, of->text.n, &why) &&
                      cJSON_IsObject(parsed);

    cJSON_Delete(parsed);
    if (good)
        text_add(t, of->text.at, of->text.n);
    else
        text_add_string(t, "{}");
}
