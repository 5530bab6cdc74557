/* tok_frame.c - BOS before a text, EOS behind it: by a key, else as the kind has it.
 *
 * A vocabulary without such a token cannot add one, whatever the key says. */
#include "engine/tokenizer/tok_frame.h"

#include "engine/tokenizer/tokenizer_state.h"

static const char key_bos[] = "tokenizer.ggml.add_bos_token";
static const char key_eos[] = "tokenizer.ggml.add_eos_token";
static const char key_separator[] = "tokenizer.ggml.seperator_token_id"; /* files spell it so */

static err read_flag(const gguf *g, const char *key, bool *yes, fault *why)
{
    const err e = gguf_get_bool(g, key, yes);

    return e == ERR_OK || e == ERR_MISSING ? ERR_OK : tok_blame(why, e, key);
}

/* Of WordPiece every text ends, with what parts two of them if the file names no other end. */
static err read_separator(tokenizer *t, const gguf *g, fault *why)
{
    uint64_t id;
    const err e = gguf_get_u64(g, key_separator, &id);

    if (e == ERR_MISSING || t->end[0] != TOKENIZER_NONE) return ERR_OK;
    if (e == ERR_OK && id >= t->v.n) return tok_blame(why, ERR_RANGE, key_separator);
    if (e == ERR_OK) t->end[0] = (int32_t)id;
    return tok_blame(why, e, key_separator);
}

err tok_frame_read(tokenizer *t, const gguf *g, fault *why)
{
    const bool pieces = t->kind == &tok_wpm;

    if (pieces) TRY(read_separator(t, g, why));
    t->adds_bos = t->kind->adds_bos(t->state);
    t->adds_eos = pieces;
    TRY(read_flag(g, key_bos, &t->adds_bos, why));
    TRY(read_flag(g, key_eos, &t->adds_eos, why));
    t->adds_bos = t->adds_bos && t->bos != TOKENIZER_NONE;
    t->adds_eos = t->adds_eos && t->end[0] != TOKENIZER_NONE;
    return ERR_OK;
}
