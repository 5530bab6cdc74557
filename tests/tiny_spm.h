/* tiny_spm.h - the tiny model with a vocabulary of SentencePiece's kind. */
#ifndef TESTS_TINY_SPM_H
#define TESTS_TINY_SPM_H

#include <stddef.h>
#include <stdint.h>

#include "tests/tiny.h"

/* The ids of <unk>, <s>, </s>, byte 0, and the first word behind the bytes. */
enum { SPM_UNKNOWN, SPM_BOS, SPM_EOS, SPM_BYTES, SPM_WORDS = SPM_BYTES + 256 };
enum { SPM_MOST_WORDS = 16 };
enum { SPM_NORMAL = 1, SPM_CONTROL = 3, SPM_USER = 4 }; /* types as files number them */

#define SPM_MARK "\xe2\x96\x81" /* what a file writes for a space */

typedef struct spm_word {
    const char *text;
    float score;
    uint32_t type;
} spm_word;

/* A model whose vocabulary has these words. Its embedding has other rows: for the tokenizer
 * only. tiny_free it. */
tiny *tiny_spm(const spm_word *words, size_t n);

#endif
