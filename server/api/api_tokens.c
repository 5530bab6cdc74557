/* api_tokens.c - POST /tokenize and /detokenize: text to ids and back, as llama-server and vLLM
 * ask.
 *
 *                llama-server                        vLLM
 *   text         content                             prompt
 *   BOS          add_special, false if not given     add_special_tokens, true if not given
 *   texts        with_pieces: tokens are objects     return_token_strs: a list of its own
 *
 * One answer serves both: each reads the members it knows. */
#include <stdlib.h>
#include <string.h>

#include "engine/utf8.h"
#include "server/api/routes.h"
#include "server/api/text_call.h"

/* --- text to ids --- */

typedef struct wish {
    const char *text;
    bool add_bos, specials, pieces, strings;
} wish;

static bool read_text(const cJSON *body, wish *w, fault *why)
{
    const bool is_peers = !json_get(body, "content"); /* vLLM's word for it */
    const char *name = is_peers ? "prompt" : "content";

    if (json_get(body, "messages"))
        return fault_refuse(why, ERR_UNSUPPORTED, "messages", "'messages' is not supported.");
    if (!json_get(body, name))
        return fault_refuse(why, ERR_REQUIRED, "content", "'content' or 'prompt' is required.");
    w->add_bos = is_peers;
    return json_get_string(body, name, &w->text, why);
}

static bool read_wish(const cJSON *body, wish *w, fault *why)
{
    *w = (wish){.specials = true};
    return read_text(body, w, why) && json_get_bool(body, "add_special", &w->add_bos, why) &&
           json_get_bool(body, "add_special_tokens", &w->add_bos, why) &&
           json_get_bool(body, "parse_special", &w->specials, why) &&
           json_get_bool(body, "with_pieces", &w->pieces, why) &&
           json_get_bool(body, "return_token_strs", &w->strings, why);
}

/* Half a character is no JSON string: llama-server sends its bytes then. */
static void add_piece(text_builder *t, const tokenizer *k, int32_t id)
{
    const gguf_text piece = tokenizer_piece(k, id, true);

    if (utf8_valid(piece.at, piece.n)) {
        text_add_json(t, piece.at, piece.n);
        return;
    }
    for (size_t i = 0; i < piece.n; i++)
        text_addf(t, "%c%u", i ? ',' : '[', (unsigned)(unsigned char)piece.at[i]);
    text_add_string(t, "]");
}

static void add_tokens(text_builder *t, const text_env *env, const wish *w,
                       const token_ids *ids)
{
    text_add_string(t, "{\"tokens\":[");
    for (size_t i = 0; i < ids->n; i++) {
        text_addf(t, w->pieces ? "%s{\"id\":%d,\"piece\":" : "%s%d", i ? "," : "",
                  (int)ids->at[i]);
        if (!w->pieces) continue;
        add_piece(t, env->tokens, ids->at[i]);
        text_add_string(t, "}");
    }
    text_addf(t, "],\"count\":%zu,\"max_model_len\":%zu", ids->n, env->ctx_size);
    if (!w->strings) {
        text_add_string(t, "}");
        return;
    }
    text_add_string(t, ",\"token_strs\":[");
    for (size_t i = 0; i < ids->n; i++) {
        const gguf_text piece = tokenizer_piece(env->tokens, ids->at[i], true);

        if (i) text_add_string(t, ",");
        text_add_json(t, piece.at, piece.n);
    }
    text_add_string(t, "]}");
}

/* A BOS that the text spells is not added again. */
static bool tokenize(const text_env *env, const cJSON *body, text_builder *answer, fault *why)
{
    const int32_t bos = tokenizer_bos(env->tokens);
    token_ids ids = {.cancel = env->cancel};
    int32_t *room;
    size_t n;
    wish w;
    err e;

    if (!read_wish(body, &w, why)) return false;
    n = strlen(w.text);
    ids.most = tokenizer_most_ids(env->tokens, n);
    room = malloc((ids.most + 1) * sizeof *room);
    if (!room) return fault_fail(why, ERR_NOMEM);
    ids.at = room + 1;
    e = tokenizer_append(env->tokens, w.text, n,
                         w.specials ? TOKENIZER_SPECIALS : TOKENIZER_PLAIN, &ids);
    if (e == ERR_OK && w.add_bos && tokenizer_adds_bos(env->tokens) &&
        !(ids.n && ids.at[0] == bos)) {
        *--ids.at = bos;
        ids.n++;
    }
    if (e == ERR_OK) add_tokens(answer, env, &w, &ids);
    free(room);
    return e == ERR_OK ? true : fault_fail(why, e);
}

void api_tokenize(http_request *r)
{
    text_call_start(r, tokenize);
}

/* --- ids to text --- */

static bool join_pieces(const text_env *env, const cJSON *list, text_builder *to, fault *why)
{
    const int64_t last = (int64_t)tokenizer_size(env->tokens) - 1;
    const cJSON *item;

    cJSON_ArrayForEach (item, list) {
        gguf_text piece;

        if (!json_is_int(item, 0, last))
            return fault_refuse(why, ERR_INVALID, "tokens",
                                "A token id in 'tokens' must be an integer from 0 to %lld.",
                                (long long)last);
        piece = tokenizer_piece(env->tokens, (int32_t)item->valuedouble, true);
        text_add(to, piece.at, piece.n);
    }
    return true;
}

/* Control tokens are spelled, so that what is sent back gives the same ids. */
static bool detokenize(const text_env *env, const cJSON *body, text_builder *answer, fault *why)
{
    const cJSON *list = json_get(body, "tokens");
    text_builder text = {0};
    bool good;

    if (!cJSON_IsArray(list))
        return fault_refuse(why, list ? ERR_INVALID : ERR_REQUIRED, "tokens",
                            "'tokens' must be an array of token ids.");
    good = join_pieces(env, list, &text, why);
    if (good) {
        text_add_string(answer, "{\"content\":");
        text_add_json(answer, text.at ? text.at : "", text.n);
        text_add_string(answer, ",\"prompt\":");
        text_add_json(answer, text.at ? text.at : "", text.n);
        text_add_string(answer, "}");
    }
    if (text.failed) good = fault_fail(why, ERR_NOMEM);
    text_free(&text);
    return good;
}

void api_detokenize(http_request *r)
{
    text_call_start(r, detokenize);
}
