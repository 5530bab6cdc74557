/* tokenizer_ids.c - what is asked of a vocabulary that has been read: ids, their bytes, their
 * roles. */
#include <string.h>

#include "engine/tokenizer/tokenizer_state.h"

gguf_text tokenizer_piece(const tokenizer *t, int32_t id, bool specials)
{
    const gguf_text none = {"", 0};

    if (id < 0 || (size_t)id >= t->v.n) return none;
    if (!specials && (t->type[id] == TOK_CONTROL || t->type[id] == TOK_UNKNOWN)) return none;
    return t->piece[id];
}

size_t tokenizer_size(const tokenizer *t)
{
    return t->v.n;
}

size_t tokenizer_longest(const tokenizer *t)
{
    return t->longest;
}

int32_t tokenizer_bos(const tokenizer *t)
{
    return t->bos;
}

int32_t tokenizer_eos(const tokenizer *t)
{
    return t->end[0]; /* of the first key */
}

bool tokenizer_adds_bos(const tokenizer *t)
{
    return t->adds_bos;
}

bool tokenizer_adds_eos(const tokenizer *t)
{
    return t->adds_eos;
}

/* A few dozen ids in a row, walked once for each token of an answer. */
bool tokenizer_is_end(const tokenizer *t, int32_t id)
{
    for (int i = 0; i < TOKENIZER_ENDS; i++)
        if (id != TOKENIZER_NONE && t->end[i] == id) return true;
    return id != TOKENIZER_NONE &&
           (id == t->fill[TOKENIZER_FILL_PAD] || id == t->fill[TOKENIZER_FILL_REPO] ||
            id == t->fill[TOKENIZER_FILL_FILE]);
}

int32_t tokenizer_fill(const tokenizer *t, tokenizer_gap part)
{
    return t->fill[part];
}

bool tokenizer_is_special(const tokenizer *t, int32_t id)
{
    return id >= 0 && (size_t)id < t->v.n && tok_special_is(t->type[id]);
}

/* GGUF has a key for three at most; a generation_config may name more. */
err tokenizer_ids_read_ends(tokenizer *t, const gguf *g, fault *why)
{
    static const char key[] = "xquantd.tokenizer.ends";
    int32_t *end = t->end + TOKENIZER_END_KEYS;
    gguf_array list;
    err e;

    for (int i = 0; i < TOKENIZER_MORE_ENDS; i++) end[i] = TOKENIZER_NONE;
    e = gguf_get_array(g, key, &list);
    if (e == ERR_MISSING) return ERR_OK;
    if (e == ERR_OK && list.type != GGUF_TYPE_UINT32) e = ERR_KEYTYPE;
    if (e == ERR_OK && list.n > TOKENIZER_MORE_ENDS) e = ERR_RANGE;
    for (uint64_t i = 0; e == ERR_OK && i < list.n; i++) {
        uint32_t id;

        memcpy(&id, (const char *)list.data + i * sizeof id, sizeof id);
        if (id >= t->v.n)
            e = ERR_RANGE;
        else
            end[i] = (int32_t)id;
    }
    return e == ERR_OK ? e : err_blame(why, e, key);
}
