/* tiny_spm.c - the tiny model with a vocabulary of SentencePiece's kind. */
#include "tests/tiny_spm.h"

#include <stdio.h>
#include <stdlib.h>

enum { UNKNOWN = 2, BYTE = 6, MOST = SPM_WORDS + SPM_MOST_WORDS };

tiny *tiny_spm(const spm_word *words, size_t n)
{
    tiny *m = tiny_new();
    const char *text[MOST] = {"<unk>", "<s>", "</s>"};
    uint32_t type[MOST] = {UNKNOWN, SPM_CONTROL, SPM_CONTROL};
    float score[MOST] = {0};
    char byte[256][8];

    if (n > SPM_MOST_WORDS) abort();
    for (int i = 0; i < 256; i++) {
        snprintf(byte[i], sizeof byte[i], "<0x%02X>", (unsigned)i);
        text[SPM_BYTES + i] = byte[i];
        type[SPM_BYTES + i] = BYTE;
    }
    for (size_t i = 0; i < n; i++) {
        text[SPM_WORDS + i] = words[i].text;
        type[SPM_WORDS + i] = words[i].type;
        score[SPM_WORDS + i] = words[i].score;
    }
    tiny_set_text(m, "tokenizer.ggml.model", "llama");
    tiny_set_texts(m, "tokenizer.ggml.tokens", text, SPM_WORDS + n);
    tiny_set_numbers(m, "tokenizer.ggml.token_type", type, SPM_WORDS + n);
    tiny_set_floats(m, "tokenizer.ggml.scores", score, SPM_WORDS + n);
    tiny_set_u32(m, "tokenizer.ggml.bos_token_id", SPM_BOS);
    tiny_set_u32(m, "tokenizer.ggml.eos_token_id", SPM_EOS);
    tiny_remove(m, "tokenizer.ggml.eot_token_id");
    tiny_remove(m, "tokenizer.ggml.add_bos_token");
    tiny_remove(m, "tokenizer.ggml.pre");
    return m;
}
