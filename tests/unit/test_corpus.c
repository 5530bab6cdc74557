/* test_corpus.c - what a plan is learned from: rows of every kind, each like a context of its
 * own, and none measured that was learned from. */
#include "server/cmd/corpus.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/folder.h"
#include "tests/lab.h"
#include "tests/test.h"
#include "tests/vocabulary.h"
#include "xcache/calibrate/calibrate.h"

enum { CTX = 2048, B = CACHE_BLOCK_TOKENS };

static const int32_t *row_at(const reader_text *text, size_t i)
{
    return text->ids + i * text->row_tokens;
}

static size_t count_id(const int32_t *ids, size_t n, int32_t id)
{
    size_t found = 0;

    for (size_t i = 0; i < n; i++) found += ids[i] == id;
    return found;
}

/* Turns that are opened in row i of learn: dialogues alone have some. */
static size_t turns(const tokenizer *t, const corpus *c, size_t i)
{
    return count_id(row_at(&c->learn, i), c->learn.row_tokens,
                    tokenizer_find(t, "<|im_start|>"));
}

/* Of the texts that ship, dialogues as the vocabulary's file has them written. */
static err try_corpus(corpus *out, const vocabulary *v, size_t ctx)
{
    corpus_files shipped = {
        .path = {"models/calibration.txt", "models/dialogues.jsonl", "models/code.txt"}};
    chat *how = NULL;
    err e;

    CHECK(chat_open(&how, v->file, v->t) == ERR_OK);
    shipped.chat = how;
    e = corpus_open(out, v->t, ctx, &shipped, NULL);
    chat_free(how);
    return e;
}

static corpus open_corpus(const vocabulary *v, size_t ctx)
{
    corpus c = {0};

    CHECK(try_corpus(&c, v, ctx) == ERR_OK);
    return c;
}

TEST(corpus_rows_are_of_one_length_and_begin_with_bos)
{
    vocabulary v = vocabulary_open(LAB_EMBEDDED);
    corpus c = open_corpus(&v, CTX);
    const int32_t bos = tokenizer_bos(v.t);

    CHECK(c.learn.rows == CALIBRATE_ROWS && c.learn.row_tokens == CTX);
    for (size_t i = 0; i < c.learn.rows; i++) {
        CHECK(row_at(&c.learn, i)[0] == bos);
        /* dialogues are rendered with one each: it does not stay inside */
        CHECK(count_id(row_at(&c.learn, i), CTX, bos) == 1);
    }
    for (int k = 0; k < PLAN_TEXTS; k++) {
        CHECK(c.held[k].rows == CALIBRATE_HELD_ROWS && c.held[k].row_tokens == CTX);
        CHECK(row_at(&c.held[k], 0)[0] == bos);
    }
    corpus_close(&c);
    vocabulary_close(&v);
}

TEST(corpus_is_half_dialogues_and_every_part_of_it_is_mixed)
{
    vocabulary v = vocabulary_open(LAB_EMBEDDED);
    corpus c = open_corpus(&v, CTX);
    size_t dialogues = 0;

    for (size_t i = 0; i < c.learn.rows; i++) {
        const size_t n = turns(v.t, &c, i);

        CHECK(n == 0 || n > 20);
        dialogues += n > 0;
        if (i % 4 == 3) CHECK(dialogues >= (i + 1) * 2 / 5 && dialogues <= (i + 1) * 3 / 5);
    }
    CHECK(dialogues * 20 > 7 * c.learn.rows && dialogues * 20 < 11 * c.learn.rows);
    CHECK(count_id(c.held[PLAN_DIALOGUE].ids, CTX, tokenizer_find(v.t, "<|im_start|>")) > 20);
    corpus_close(&c);
    vocabulary_close(&v);
}

/* What every language has, and prose has not. */
static size_t assignments(const tokenizer *t, const reader_text *text, size_t i)
{
    size_t found = 0;

    for (size_t j = 0; j < text->row_tokens; j++) {
        const gguf_text piece = tokenizer_piece(t, row_at(text, i)[j], false);

        found += memchr(piece.at, '=', piece.n) != NULL;
    }
    return found;
}

TEST(corpus_has_a_tenth_of_code)
{
    vocabulary v = vocabulary_open(LAB_EMBEDDED);
    corpus c = open_corpus(&v, CTX);
    size_t code = 0;

    for (size_t i = 0; i < c.learn.rows; i++) code += assignments(v.t, &c.learn, i) > 30;
    CHECK(code >= 1 && code <= c.learn.rows / 8 &&
          assignments(v.t, &c.held[PLAN_CODE], 0) > 30);
    CHECK(assignments(v.t, &c.held[PLAN_PROSE], 0) < 10);
    corpus_close(&c);
    vocabulary_close(&v);
}

/* Does a row of learn hold these ids? */
static bool is_learned(const corpus *c, const int32_t *ids, size_t n)
{
    const size_t all = c->learn.rows * c->learn.row_tokens;

    return memmem(c->learn.ids, all * sizeof *ids, ids, n * sizeof *ids) != NULL;
}

TEST(corpus_measures_on_text_that_it_does_not_learn_from)
{
    enum { PIECE = 48 };
    vocabulary v = vocabulary_open(LAB_EMBEDDED);
    corpus c = open_corpus(&v, CTX);

    CHECK(is_learned(&c, row_at(&c.learn, 5) + 100, PIECE));
    for (int k = 0; k < PLAN_TEXTS; k++)
        for (size_t at = 1; at + PIECE <= CTX; at += PIECE)
            CHECK(!is_learned(&c, c.held[k].ids + at, PIECE));
    corpus_close(&c);
    vocabulary_close(&v);
}

TEST(corpus_of_a_short_context_has_more_rows_and_as_many_tokens)
{
    vocabulary v = vocabulary_open(LAB_EMBEDDED);
    corpus c = open_corpus(&v, 2 * B + 44), none = {0};

    CHECK(c.learn.row_tokens == 2 * B);
    CHECK(c.learn.rows * c.learn.row_tokens == CALIBRATE_ROWS * CALIBRATE_ROW);
    CHECK(c.held[PLAN_CODE].rows == CALIBRATE_HELD_ROWS * CALIBRATE_ROW / (2 * B));
    for (size_t i = 0; i < c.learn.rows; i++)
        CHECK(row_at(&c.learn, i)[0] == tokenizer_bos(v.t));
    CHECK(try_corpus(&none, &v, B - 1) == ERR_MODEMODEL && !none.ids);
    corpus_close(&c);
    vocabulary_close(&v);
}

/* --- a text of the user's --- */

/* n bytes that are as many ids in the tiny vocabulary: "0 1 2 ...", padded, so that each place
 * can be told from all others. */
static void write_text(const folder *f, const char *name, size_t n)
{
    char *text = malloc(n + 32);

    CHECK(text != NULL);
    for (size_t at = 0; at < n; at += 8) snprintf(text + at, 32, "%7zu ", at);
    folder_write(f, name, text, n);
    free(text);
}

/* The corpus of that file alone. */
static err open_text(corpus *out, const tokenizer *t, const folder *f, const char *name,
                     fault *why)
{
    char path[FOLDER_PATH];
    const corpus_files files = {.path = {folder_path(f, name, path)}};

    return corpus_open(out, t, CTX, &files, why);
}

TEST(corpus_of_a_file_is_learned_from_its_beginning_and_measured_on_its_end)
{
    vocabulary v = vocabulary_open_tiny(tiny_new());
    const size_t need = corpus_text_tokens(v.t, CTX), more = (need + 800) / 8 * 8;
    const folder f = folder_make();
    char path[FOLDER_PATH];
    int32_t first[8], last[8];
    size_t n;
    corpus c;

    write_text(&f, "text", more);
    CHECK(open_text(&c, v.t, &f, "text", NULL) == ERR_OK);
    CHECK(tokenizer_encode(v.t, "      0 ", 8, TOKENIZER_PLAIN, first, &n) == ERR_OK && n == 8);
    CHECK(memcmp(row_at(&c.learn, 0) + tokenizer_adds_bos(v.t), first, sizeof first) == 0);
    CHECK(c.learn.rows == CALIBRATE_ROWS && c.held[PLAN_PROSE].rows == CALIBRATE_HELD_ROWS);
    CHECK(!c.held[PLAN_DIALOGUE].rows && !c.held[PLAN_CODE].rows);
    snprintf(path, sizeof path, "%7zu ", more - 8);
    CHECK(tokenizer_encode(v.t, path, 8, TOKENIZER_PLAIN, last, &n) == ERR_OK && n == 8);
    CHECK(memcmp(c.held[PLAN_PROSE].ids + CTX - 8, last, sizeof last) == 0);
    corpus_close(&c);
    folder_remove(&f);
    vocabulary_close(&v);
}

TEST(corpus_of_a_file_needs_so_many_tokens_and_not_one_less)
{
    vocabulary v = vocabulary_open_tiny(tiny_new());
    const size_t need = corpus_text_tokens(v.t, CTX);
    const folder f = folder_make();
    char path[FOLDER_PATH];
    fault why = {0};
    corpus c = {0};

    write_text(&f, "enough", need);
    write_text(&f, "short", need - 1);
    CHECK(open_text(&c, v.t, &f, "short", &why) == ERR_EMPTY && !c.ids);
    CHECK(strcmp(why.field, folder_path(&f, "short", path)) == 0);
    CHECK(open_text(&c, v.t, &f, "none", &why) == ERR_READ && errno == ENOENT && !c.ids);
    CHECK(strcmp(why.field, folder_path(&f, "none", path)) == 0);
    CHECK(open_text(&c, v.t, &f, "enough", &why) == ERR_OK);
    corpus_close(&c);
    folder_remove(&f);
    vocabulary_close(&v);
}

/* --- other vocabularies --- */

static vocabulary open_with(const char *key, int adds_bos, const char *template)
{
    tiny *m = tiny_new();

    if (key) tiny_set_bool(m, key, (unsigned char)adds_bos);
    if (template) tiny_set_text(m, "tokenizer.chat_template", template);
    return vocabulary_open_tiny(m);
}

TEST(corpus_rows_of_a_model_without_bos_begin_with_text)
{
    static const char key[] = "tokenizer.ggml.add_bos_token";
    vocabulary with = open_with(key, 1, NULL), without = open_with(key, 0, NULL);
    corpus a = open_corpus(&with, CTX), b = open_corpus(&without, CTX);

    CHECK(row_at(&a.learn, 0)[0] == tokenizer_bos(with.t));
    CHECK(memcmp(row_at(&a.learn, 0) + 1, row_at(&b.learn, 0), (CTX - 1) * 4) == 0);
    CHECK(count_id(b.learn.ids, b.learn.rows * CTX, tokenizer_bos(without.t)) == 0);
    corpus_close(&a);
    corpus_close(&b);
    vocabulary_close(&with);
    vocabulary_close(&without);
}

TEST(corpus_dialogues_of_a_model_without_a_template_are_lines_of_a_play)
{
    vocabulary v = open_with(NULL, 0, "{% nosuch %}");
    corpus c = open_corpus(&v, CTX);
    int32_t user[32], assistant[32];
    size_t n, m;

    CHECK(tokenizer_encode(v.t, "\nUser: ", 7, TOKENIZER_PLAIN, user, &n) == ERR_OK);
    CHECK(tokenizer_encode(v.t, "\nAssistant: ", 12, TOKENIZER_PLAIN, assistant, &m) == ERR_OK);
    CHECK(memmem(row_at(&c.learn, 1), CTX * 4, user, n * 4));
    CHECK(memmem(row_at(&c.learn, 1), CTX * 4, assistant, m * 4));
    CHECK(turns(v.t, &c, 1) == 0);
    corpus_close(&c);
    vocabulary_close(&v);
}
