/* test_document.c - a text as token ids, and the rows that are cut from it. */
#include "server/document.h"

#include <stdlib.h>
#include <string.h>

#include "tests/test.h"
#include "tests/tiny.h"
#include "tests/vocabulary.h"

/* The tiny vocabulary, with BOS in front of a prompt or without. */
static vocabulary open_tokens(bool bos)
{
    tiny *m = tiny_new();

    tiny_set_bool(m, "tokenizer.ggml.add_bos_token", bos);
    return vocabulary_open_tiny(m);
}

/* The rows of the text "0123456789", and as characters what they are: '^' is BOS. */
static char *rows_of(const vocabulary *v, document_shape shape, char *out)
{
    int32_t *ids = NULL, *rows = NULL;
    size_t n = 0;

    CHECK(document_encode(v->t, "0123456789", 10, TOKENIZER_PLAIN, &ids, &n) == ERR_OK);
    CHECK(n == 10u + tokenizer_adds_bos(v->t));
    CHECK(document_cut(v->t, ids, &shape, &rows) == ERR_OK);
    for (size_t i = 0; i < shape.rows * shape.row_tokens; i++)
        out[i] = rows[i] == tokenizer_bos(v->t) ? '^'
                                                : *tokenizer_piece(v->t, rows[i], false).at;
    out[shape.rows * shape.row_tokens] = '\0';
    free(rows);
    free(ids);
    return out;
}

TEST(document_begins_every_row_with_bos_where_the_model_wants_one)
{
    vocabulary with = open_tokens(true), without = open_tokens(false);
    char text[64];

    CHECK(strcmp(rows_of(&with, (document_shape){3, 4, 0}, text), "^012^345^678") == 0);
    CHECK(strcmp(rows_of(&without, (document_shape){2, 4, 0}, text), "01234567") == 0);
    CHECK(strcmp(rows_of(&with, (document_shape){2, 3, 5}, text), "^01^56") == 0);
    CHECK(strcmp(rows_of(&without, (document_shape){3, 2, 4}, text), "014589") == 0);
    vocabulary_close(&with);
    vocabulary_close(&without);
}

TEST(document_counts_rows_by_the_text_in_them)
{
    vocabulary with = open_tokens(true), without = open_tokens(false);

    CHECK(document_row_text(with.t, 128) == 127 && document_row_text(without.t, 128) == 128);
    CHECK(document_count_rows(with.t, 0, 4) == 0 && document_count_rows(without.t, 0, 4) == 0);
    CHECK(document_count_rows(with.t, 10, 4) == 3); /* BOS and nine of text */
    CHECK(document_count_rows(with.t, 9, 4) == 2);
    CHECK(document_count_rows(without.t, 9, 4) == 2);
    CHECK(document_count_rows(without.t, 12, 4) == 3);
    vocabulary_close(&with);
    vocabulary_close(&without);
}
