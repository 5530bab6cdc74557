/* vocabulary.h - a tokenizer with the file under it, and what is asked of every one. */
#ifndef TESTS_VOCABULARY_H
#define TESTS_VOCABULARY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "engine/tokenizer/tokenizer.h"
#include "tests/tiny.h"

typedef struct vocabulary {
    gguf *file;
    unsigned char *bytes; /* NULL when mapped */
    tokenizer *t;
} vocabulary;

/* Of a file, or of m, which is freed. What cannot be opened fails the test. */
vocabulary vocabulary_open(const char *path);
vocabulary vocabulary_open_tiny(tiny *m);
void vocabulary_close(vocabulary *v);

/* Do the n bytes encode to exactly these ids? */
bool encodes(const tokenizer *t, const char *text, size_t n, tokenizer_specials how,
             const int32_t *expected, size_t n_expected);

/* decode(encode(x)) == x, and no more ids than there may be. A space that the vocabulary puts
 * before plain text is part of x. Not for texts with U+2581 or with special tokens where
 * spaces are put: they come back changed. */
bool round_trips(const tokenizer *t, const char *text, size_t n, tokenizer_specials how);

/* Every row of a golden list is encoded so; returns how many. */
int check_golden_ids(const tokenizer *t, const char *path);

#endif
