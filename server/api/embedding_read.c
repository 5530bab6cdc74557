/* embedding_read.c - texts of a request as ids, one behind the other.
 *
 *   "a"  ["a", "b"]  [1, 2]  [[1, 2], [3]]      1, 2, 1 and 2 texts
 *
 *   ids   BOS a.. EOS BOS b.. EOS               as the vocabulary begins and ends a text
 *   ends            ^           ^
 *
 * Ids that a client sends are taken as they are. */
#include <stdlib.h>
#include <string.h>

#include "server/api/embedding.h"
#include "server/api/model_names.h"
#include "server/api/ollama.h"

enum { COUNTED_BEYOND = 8192 }; /* tokens of a text that is refused, for the sentence */

bool embedding_read_model(const cJSON *body, const embedding_env *env, fault *why)
{
    const model_names names = {env->runtime->model_name, env->more_names, env->any_model};
    const char *name = names.own;
    const size_t tag = sizeof OLLAMA_TAG - 1;
    char plain[256];
    size_t n;

    if (!json_get_string(body, "model", &name, why)) return false;
    if (model_names_serve(&names, name)) return true;
    n = strlen(name);
    if (n > tag && n < sizeof plain && strcmp(name + n - tag, OLLAMA_TAG) == 0) {
        memcpy(plain, name, n - tag);
        plain[n - tag] = '\0';
        if (model_names_serve(&names, plain)) return true;
    }
    return fault_refuse(why, ERR_NOMODEL, "model", "The model `%.128s` does not exist.", name);
}

bool embedding_read_dimensions(embedding_request *q, const cJSON *body,
                               const embedding_env *env, fault *why)
{
    const size_t width = encoder_width(env->runtime->encoder);
    int64_t n = (int64_t)width;

    if (!json_get_int(body, "dimensions", 1, INT32_MAX, &n, why)) return false;
    q->dimensions = (size_t)n;
    if (q->dimensions > width)
        return fault_refuse(why, ERR_INVALID, "dimensions",
                            "This model's embeddings have %zu dimensions.", width);
    if (q->dimensions == width || env->runtime->cuts_vectors) return true;
    return fault_refuse(why, ERR_UNSUPPORTED, "dimensions",
                        "This model's embeddings have %zu dimensions, and its file does not "
                        "say that it was trained for fewer.",
                        width);
}

/* --- texts --- */

/* Of all ids so far; grows as texts come, up to a number for each byte of the body. */
typedef struct ids_builder {
    embedding_request *q;
    const embedding_env *env;
    fault *why;
    size_t room;
} ids_builder;

/* Room for n ids more. NULL: no memory. */
static int32_t *make_room(ids_builder *b, size_t n)
{
    generation_in *in = &b->q->in;

    if (in->n_ids + n > b->room) {
        const size_t room = 2 * (in->n_ids + n);
        int32_t *ids = realloc(in->ids, room * sizeof *ids);

        if (!ids) {
            fault_fail(b->why, ERR_NOMEM);
            return NULL;
        }
        in->ids = ids;
        b->room = room;
    }
    return in->ids + in->n_ids;
}

static bool refuse_length(const ids_builder *b, const char *more, size_t n)
{
    return fault_refuse(b->why, ERR_TOOLONG, b->q->name,
                        "This model's maximum context length is %zu tokens for an embedding, "
                        "however text %zu of '%s' has %s%zu tokens. Please reduce its length.",
                        encoder_longest(b->env->runtime->encoder), b->q->in.n_texts, b->q->name,
                        more, n);
}

/* The n ids behind the others are a text. The end of one that is cut is an end all the same. */
static bool end_text(ids_builder *b, size_t n, bool ends)
{
    generation_in *in = &b->q->in;
    const size_t longest = encoder_longest(b->env->runtime->encoder);
    int32_t *ids = in->ids + in->n_ids;

    if (!n)
        return fault_refuse(b->why, ERR_EMPTY, b->q->name, "Text %zu of '%s' has no tokens.",
                            in->n_texts, b->q->name);
    if (n > longest && !b->q->cut) return refuse_length(b, "", n);
    if (n > longest && ends) ids[longest - 1] = ids[n - 1];
    in->n_ids += n > longest ? longest : n;
    in->ends[in->n_texts++] = in->n_ids;
    return true;
}

/* BOS and EOS that the text spells are not added again. */
static bool add_text(ids_builder *b, const char *text)
{
    const tokenizer *t = b->env->runtime->tokens;
    const size_t n = strlen(text), most = tokenizer_most_ids(t, n),
                 counted = encoder_longest(b->env->runtime->encoder) + COUNTED_BEYOND;
    token_ids ids = {.most = b->q->cut || most < counted ? most : counted,
                     .cancel = b->env->cancel};
    int32_t *at = make_room(b, ids.most + 2);
    const int32_t bos = tokenizer_bos(t), eos = tokenizer_eos(t);
    err e;

    if (!at) return false;
    if (!n && !b->q->cut)
        return fault_refuse(b->why, ERR_EMPTY, b->q->name, "Text %zu of '%s' is empty.",
                            b->q->in.n_texts, b->q->name);
    ids.at = at + 1;
    e = tokenizer_append(t, text, n, TOKENIZER_SPECIALS, &ids);
    if (e == ERR_TOOLONG) return refuse_length(b, "more than ", counted);
    if (e != ERR_OK) return fault_fail(b->why, e);
    if (tokenizer_adds_bos(t) && !(ids.n && ids.at[0] == bos)) {
        at[0] = bos;
        ids.n++;
    } else {
        memmove(at, ids.at, ids.n * sizeof *at);
    }
    if (tokenizer_adds_eos(t) && !(ids.n && at[ids.n - 1] == eos)) at[ids.n++] = eos;
    return end_text(b, ids.n, tokenizer_adds_eos(t));
}

static bool add_ids(ids_builder *b, const cJSON *list)
{
    const int64_t last = (int64_t)tokenizer_size(b->env->runtime->tokens) - 1;
    int32_t *ids = make_room(b, (size_t)cJSON_GetArraySize(list) + 1);
    const cJSON *item;
    size_t n = 0;

    if (!ids) return false;
    cJSON_ArrayForEach (item, list) {
        if (!json_is_int(item, 0, last))
            return fault_refuse(b->why, ERR_INVALID, b->q->name,
                                "A token id in '%s' must be an integer from 0 to %lld.",
                                b->q->name, (long long)last);
        ids[n++] = (int32_t)item->valuedouble;
    }
    return end_text(b, n, false);
}

static bool add_one(ids_builder *b, const cJSON *item)
{
    if (cJSON_IsString(item)) return add_text(b, item->valuestring);
    if (cJSON_IsArray(item)) return add_ids(b, item);
    return fault_refuse(b->why, ERR_INVALID, b->q->name,
                        "'%s' must be a string, an array of token ids, or an array of such.",
                        b->q->name);
}

bool embedding_read_texts(embedding_request *q, const cJSON *body, const embedding_env *env,
                          fault *why)
{
    const cJSON *input = json_get(body, q->name), *item;
    const cJSON *first = cJSON_IsArray(input) ? input->child : NULL;
    const bool one = !first || cJSON_IsNumber(first);
    const size_t n = one ? 1 : (size_t)cJSON_GetArraySize(input);
    ids_builder b = {q, env, why, 0};

    if (!input) return fault_refuse(why, ERR_REQUIRED, q->name, "'%s' is required.", q->name);
    if (n > EMBEDDING_MOST_TEXTS)
        return fault_refuse(why, ERR_INVALID, q->name, "'%s' may have %d texts at most.",
                            q->name, (int)EMBEDDING_MOST_TEXTS);
    q->in.ends = malloc(n * sizeof *q->in.ends);
    if (!q->in.ends) return fault_fail(why, ERR_NOMEM);
    if (one) return add_one(&b, input);
    cJSON_ArrayForEach (item, input)
        if (!add_one(&b, item)) return false;
    return true;
}
