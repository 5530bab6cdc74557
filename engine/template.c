/* template.c - ChatML: control tokens by id, and what is between them as plain text. */
#include "engine/template.h"

#include <stdlib.h>
#include <string.h>

/* The ids that are being written; `text` has room for the longest stretch between two
 * control tokens. */
typedef struct writer {
    const tokenizer *t;
    int32_t start, end;
    char *text;
    int32_t *ids;
    size_t count;
} writer;

static err write_text(writer *w, const char *text, size_t n)
{
    size_t more;

    TRY(tokenizer_encode(w->t, text, n, TOKENIZER_PLAIN, w->ids + w->count, &more));
    w->count += more;
    return ERR_OK;
}

static err write_message(writer *w, const template_message *m)
{
    const size_t role = strlen(m->role);

    memcpy(w->text, m->role, role);
    w->text[role] = '\n';
    if (m->content_bytes) memcpy(w->text + role + 1, m->content, m->content_bytes);
    w->ids[w->count++] = w->start;
    TRY(write_text(w, w->text, role + 1 + m->content_bytes));
    w->ids[w->count++] = w->end;
    return write_text(w, "\n", 1);
}

static err write_all(writer *w, const template_message *messages, size_t n, bool generate)
{
    static const char assistant[] = "assistant\n";

    if (tokenizer_adds_bos(w->t)) w->ids[w->count++] = tokenizer_bos(w->t);
    for (size_t i = 0; i < n; i++) TRY(write_message(w, &messages[i]));
    if (!generate) return ERR_OK;
    w->ids[w->count++] = w->start;
    return write_text(w, assistant, strlen(assistant));
}

/* No more ids than that can come out: one a byte, and the control tokens. Also the bytes
 * of the longest stretch of text. */
static size_t most_ids(const template_message *messages, size_t n, size_t *longest)
{
    size_t most = 1 + 1 + strlen("assistant\n");

    *longest = 0;
    for (size_t i = 0; i < n; i++) {
        const size_t text = strlen(messages[i].role) + 1 + messages[i].content_bytes;

        if (text > *longest) *longest = text;
        most += 1 + text + 1 + 1;
    }
    return most;
}

err template_encode(const tokenizer *t, const template_message *messages, size_t n,
                    bool generate, int32_t **ids, size_t *count)
{
    writer w = {.t = t,
                .start = tokenizer_find(t, "<|im_start|>"),
                .end = tokenizer_find(t, "<|im_end|>")};
    size_t longest;
    const size_t most = most_ids(messages, n, &longest);
    err e = ERR_NOMEM;

    if (w.start == TOKENIZER_NONE || w.end == TOKENIZER_NONE) return ERR_TEMPLATE;
    w.ids = reallocarray(NULL, most, sizeof *w.ids);
    w.text = malloc(longest + 1);
    if (w.ids && w.text) e = write_all(&w, messages, n, generate);
    free(w.text);
    if (e != ERR_OK) {
        free(w.ids);
        return e;
    }
    *ids = w.ids;
    *count = w.count;
    return ERR_OK;
}
