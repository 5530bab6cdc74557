/* vectors.c - choices about embeddings, each by an option, else by the model. */
#include "server/vectors.h"

#include <string.h>

/* Where no option says it: a model that is made for embeddings takes texts as long as its
 * context, within reason; of a chat model few ask for more than some pages. */
enum { TEXT_TOKENS = 8192, CHAT_TEXT_TOKENS = 2048 };

size_t vectors_longest(const config *c, const model *m)
{
    const size_t usual = m->makes_vectors ? TEXT_TOKENS : CHAT_TEXT_TOKENS,
                 most = c->embedding_tokens > 0 ? (size_t)c->embedding_tokens : usual;

    return most < m->ctx ? most : m->ctx;
}

/* `auto`, and no option at all, leave what the file says. */
void vectors_choose_pooling(model *m, const config *c)
{
    static const struct {
        const char *word;
        model_pooling kind;
    } kinds[] = {{"mean", MODEL_MEAN}, {"cls", MODEL_FIRST}, {"last", MODEL_LAST}};

    for (size_t i = 0; c->pooling && i < sizeof kinds / sizeof kinds[0]; i++)
        if (strcmp(kinds[i].word, c->pooling) == 0) m->pooling = kinds[i].kind;
}

/* A key of ours, which `convert` writes where a model's folder says so. */
bool vectors_may_be_cut(const gguf *file)
{
    bool may = false;

    return gguf_get_bool(file, "xquantd.embedding.matryoshka", &may) == ERR_OK && may;
}

/* One block of keys and values in halves, twice over, and what stands around it: with a cache
 * of some kind the rest of the house need not know that nobody has a context. */
uint64_t vectors_least_pool(const model *m, size_t block_tokens)
{
    return (uint64_t)4 * m->L * block_tokens * m->E * sizeof(uint16_t) + (1 << 16);
}

cache_options vectors_cache(const model *m, team *t, size_t block_tokens)
{
    return (cache_options){.mode = "kv16",
                           .budget_bytes = vectors_least_pool(m, block_tokens),
                           .page_format = KV_HALF,
                           .max_running = 1,
                           .team = t,
                           .block_tokens = block_tokens,
                           .ctx_tokens = m->ctx};
}
