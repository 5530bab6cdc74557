/* prompt_text.c - pieces, one behind the other. */
#include "server/api/prompt_text.h"

gguf_text prompt_text_piece(const tokenizer *t, const request_prompt *p, size_t i)
{
    const gguf_text piece = tokenizer_piece(t, p->ids[i], true);
    const bool begins = i == 0 || tokenizer_is_special(t, p->ids[i - 1]);
    const size_t skip = begins && tokenizer_pads(t) && piece.n && piece.at[0] == ' ' &&
                        !tokenizer_is_special(t, p->ids[i]);

    if (i == 0 && p->began) return (gguf_text){"", 0};
    return (gguf_text){piece.at + skip, piece.n - skip};
}

void prompt_text_add(text_builder *to, const tokenizer *t, const request_prompt *p)
{
    for (size_t i = 0; i < p->n; i++) {
        const gguf_text piece = prompt_text_piece(t, p, i);

        text_add(to, piece.at, piece.n);
    }
}
