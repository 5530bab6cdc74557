/* corpus.c - reads texts, renders dialogues, and cuts both into rows.
 *
 *   ids of a kind   |-- row --|-- row --| ...  not read  ... |-- held --|
 *
 * Rows are learned from a text's beginning and measured on its end: what is measured comes as
 * late as it can, since neighbouring paragraphs are about one thing. Dialogues stand in the
 * model's own chat template, one behind the other without BOS, so that a row holds several
 * turns of several of them; where the model has no template, as lines of a play.
 *
 * A context shorter than a row cuts shorter rows, and as many more. */
#include "server/cmd/corpus.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "engine/template/chat.h"
#include "server/document.h"
#include "server/json.h"
#include "server/text.h"
#include "xcache/calibrate/calibrate.h"

/* What reads: a vocabulary, and how dialogues are written. */
typedef struct voice {
    const tokenizer *tokens;
    const chat *chat;
} voice;

/* The ids of one kind of text. */
typedef struct stream {
    int32_t *ids; /* [n] */
    size_t n;
} stream;

/* --- reading --- */

/* Add ids, less the BOS they may begin with: rows get their own. */
static err append(stream *s, const tokenizer *t, const int32_t *ids, size_t n)
{
    const size_t skip = n && tokenizer_adds_bos(t) && ids[0] == tokenizer_bos(t);
    int32_t *longer = reallocarray(s->ids, s->n + n + 1, sizeof *longer);

    if (!longer) return ERR_NOMEM;
    memcpy(longer + s->n, ids + skip, (n - skip) * sizeof *ids);
    s->ids = longer;
    s->n += n - skip;
    return ERR_OK;
}

static err read_text(const voice *v, char *text, size_t n, stream *out)
{
    int32_t *ids = NULL;
    size_t count = 0;
    err e = document_encode(v->tokens, text, n, TOKENIZER_PLAIN, &ids, &count);

    if (e == ERR_OK) e = append(out, v->tokens, ids, count);
    free(ids);
    return e;
}

/* "User: ...", a line a turn. */
static err add_play(const voice *v, const chat_message *messages, size_t n, stream *out)
{
    text_builder play = {0};
    char *text;
    size_t bytes;
    err e = ERR_NOMEM;

    for (size_t i = 0; i < n; i++)
        text_addf(&play, "%s: %s\n", strcmp(messages[i].role, "user") ? "Assistant" : "User",
                  messages[i].content);
    text_add_string(&play, "\n");
    text = text_take(&play, &bytes);
    if (text) e = read_text(v, text, bytes, out);
    free(text);
    return e;
}

static err add_messages(const voice *v, const chat_message *messages, size_t n, stream *out)
{
    token_ids ids = {.most = SIZE_MAX};
    err e = chat_encode_messages(v->chat, messages, n, false, &ids);

    if (e == ERR_TEMPLATE) return add_play(v, messages, n, out);
    if (e != ERR_OK) return e;
    e = append(out, v->tokens, ids.at, ids.n);
    free(ids.at);
    return e;
}

/* One line: {"messages": [{"role": ..., "content": ...}, ...]}. */
static err read_dialogue(const voice *v, const cJSON *dialogue, stream *out)
{
    enum { MOST = 64 }; /* turns; those beyond would not fit into a row */
    chat_message messages[MOST];
    const cJSON *item;
    size_t n = 0;
    fault why;

    cJSON_ArrayForEach (item, json_get(dialogue, "messages")) {
        const char *role = NULL, *content = NULL;

        if (n == MOST) break;
        if (!json_get_string(item, "role", &role, &why) ||
            !json_get_string(item, "content", &content, &why) || !role || !content)
            return ERR_JSON;
        messages[n++] = (chat_message){role, content, strlen(content)};
    }
    return n ? add_messages(v, messages, n, out) : ERR_JSON;
}

static err read_dialogues(const voice *v, char *text, size_t n, stream *out)
{
    char *const end = text + n;

    for (char *line = text, *next; line < end; line = next) {
        char *stop = memchr(line, '\n', (size_t)(end - line));
        cJSON *dialogue = NULL;
        fault why;
        err e = ERR_JSON;

        next = stop ? stop + 1 : end;
        if (stop) *stop = '\0';
        if (json_parse(&dialogue, line, strlen(line), &why))
            e = read_dialogue(v, dialogue, out);
        cJSON_Delete(dialogue);
        TRY(e);
    }
    return ERR_OK;
}

err corpus_read_dialogues(const tokenizer *t, const chat *how, char *text, size_t n,
                          int32_t **ids, size_t *n_ids)
{
    const voice v = {t, how};
    const size_t bos = tokenizer_adds_bos(t);
    stream all = {0};
    err e = read_dialogues(&v, text, n, &all);
    int32_t *out = e == ERR_OK ? malloc((bos + all.n + 1) * sizeof *out) : NULL;

    if (out) {
        if (bos) out[0] = tokenizer_bos(t);
        memcpy(out + bos, all.ids, all.n * sizeof *out);
        *ids = out;
        *n_ids = bos + all.n;
    } else if (e == ERR_OK) {
        e = ERR_NOMEM;
    }
    free(all.ids);
    return e;
}

/* --- the order of rows --- */

static err (*const readers[PLAN_TEXTS])(const voice *v, char *text, size_t n, stream *out) = {
    [PLAN_PROSE] = read_text, [PLAN_DIALOGUE] = read_dialogues, [PLAN_CODE] = read_text};

/* Half prose, half dialogues, and a little code, whose symbols prose hardly has. Interleaved,
 * so that any beginning of the rows is mixed, too. */
enum { P = PLAN_PROSE, D = PLAN_DIALOGUE, C = PLAN_CODE };
static const int mixed[] = {P, D, P, D, C, P, D, P, D, P, D, P, D, P, C, D, P, D, P, D};

/* The rows of all kinds. */
typedef struct layout {
    bool plain;        /* of one text */
    size_t row_tokens; /* BOS counted */
    size_t rows;       /* to learn from */
    size_t held;       /* of each kind */
} layout;

/* As many tokens whatever the context; 0 rows: it holds no block. */
static layout lay_out(size_t ctx, bool plain)
{
    const size_t most = ctx < CALIBRATE_ROW ? ctx : CALIBRATE_ROW;
    const size_t row = most / CACHE_BLOCK_TOKENS * CACHE_BLOCK_TOKENS;
    layout l = {.plain = plain, .row_tokens = row};

    if (row) {
        l.rows = (size_t)CALIBRATE_ROWS * CALIBRATE_ROW / row;
        l.held = (size_t)CALIBRATE_HELD_ROWS * CALIBRATE_ROW / row;
    }
    return l;
}

static plan_text kind_of(const layout *l, size_t row)
{
    return l->plain ? PLAN_PROSE : (plan_text)mixed[row % (sizeof mixed / sizeof mixed[0])];
}

/* Rows of that kind to learn from. */
static size_t count_rows(const layout *l, plan_text kind)
{
    size_t n = 0;

    for (size_t i = 0; i < l->rows; i++) n += kind_of(l, i) == kind;
    return n;
}

size_t corpus_text_tokens(const tokenizer *t, size_t ctx)
{
    const layout l = lay_out(ctx, true);

    return (l.rows + l.held) * document_row_text(t, l.row_tokens);
}

/* --- cutting --- */

static void cut_row(const layout *l, const tokenizer *t, const int32_t *from, int32_t *row)
{
    const size_t bos = tokenizer_adds_bos(t);

    if (bos) row[0] = tokenizer_bos(t);
    memcpy(row + bos, from, document_row_text(t, l->row_tokens) * sizeof *row);
}

static void cut_learned(const layout *l, const tokenizer *t, const stream texts[PLAN_TEXTS],
                        corpus *c)
{
    size_t used[PLAN_TEXTS] = {0};

    c->learn = (reader_text){c->ids, l->rows, l->row_tokens};
    for (size_t i = 0; i < l->rows; i++) {
        const plan_text k = kind_of(l, i);

        cut_row(l, t, texts[k].ids + used[k]++ * document_row_text(t, l->row_tokens),
                c->ids + i * l->row_tokens);
    }
}

static void cut_held(const layout *l, const tokenizer *t, const stream texts[PLAN_TEXTS],
                     corpus *c)
{
    int32_t *row = c->ids + l->rows * l->row_tokens;

    for (int k = 0; k < PLAN_TEXTS; k++) {
        const int32_t *from;

        if (!texts[k].n) continue;
        from = texts[k].ids + texts[k].n - l->held * document_row_text(t, l->row_tokens);
        c->held[k] = (reader_text){row, l->held, l->row_tokens};
        for (size_t i = 0; i < l->held; i++, row += l->row_tokens)
            cut_row(l, t, from + i * document_row_text(t, l->row_tokens), row);
    }
}

static err cut_all(const layout *l, const tokenizer *t, const stream texts[PLAN_TEXTS],
                   corpus *out)
{
    const size_t rows = l->rows + PLAN_TEXTS * l->held;
    corpus c = {.ids = malloc(rows * l->row_tokens * sizeof *c.ids)};

    if (!c.ids) return ERR_NOMEM;
    cut_learned(l, t, texts, &c);
    cut_held(l, t, texts, &c);
    *out = c;
    return ERR_OK;
}

/* --- all of it --- */

/* Read one kind, as much as its rows need. errno is that of reading. */
static err read_kind(const layout *l, const voice *v, plan_text kind, const char *path,
                     stream *out)
{
    const size_t rows = count_rows(l, kind) + l->held;
    size_t n = 0;
    char *text;
    err e;

    errno = ENOMEM;
    text = document_read(path, &n);
    if (!text) return ERR_READ;
    e = readers[kind](v, text, n, out);
    free(text);
    if (e == ERR_OK && out->n < rows * document_row_text(v->tokens, l->row_tokens))
        e = ERR_EMPTY;
    return e;
}

err corpus_open(corpus *out, const tokenizer *t, size_t ctx, const corpus_files *files,
                fault *why)
{
    const layout l = lay_out(ctx, !files->path[PLAN_DIALOGUE]);
    const voice v = {t, files->chat};
    stream texts[PLAN_TEXTS] = {0};
    err e = l.rows ? ERR_OK : ERR_MODEMODEL;

    for (int k = 0; k < PLAN_TEXTS && e == ERR_OK; k++) {
        if (l.plain && k != PLAN_PROSE) break;
        e = read_kind(&l, &v, (plan_text)k, files->path[k], &texts[k]);
        if (e != ERR_OK) err_blame(why, e, files->path[k]);
    }
    if (e == ERR_OK) e = cut_all(&l, t, texts, out);
    for (int k = 0; k < PLAN_TEXTS; k++) free(texts[k].ids);
    return e;
}

void corpus_close(corpus *c)
{
    free(c->ids);
    *c = (corpus){0};
}
