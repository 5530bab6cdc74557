/* api_embeddings.c - POST /v1/embeddings, and Ollama's /api/embed and /api/embeddings: texts
 * become vectors of length 1.
 *
 *                 OpenAI                  /api/embed              /api/embeddings
 *   texts         input                   input                   prompt
 *   too long      400                     cut, unless truncate    cut
 *                                         is false: 400
 *   answer        data[i].embedding,      embeddings[i]           embedding
 *                 a list or base64 */
#include <math.h>
#include <openssl/evp.h>
#include <stdlib.h>
#include <string.h>

#include "engine/clock.h"
#include "server/api/embedding.h"
#include "server/api/request.h"
#include "server/api/routes.h"

/* --- vectors --- */

/* A vector that is cut gets its length back. */
static float scale_of(const embedding_reply *a, const float *x)
{
    double sum = 0;

    if (a->request->dimensions == a->width) return 1;
    for (size_t i = 0; i < a->request->dimensions; i++) sum += (double)x[i] * (double)x[i];
    return sum > 0 ? (float)(1 / sqrt(sum)) : 1;
}

/* Both CPUs that are served have the order of bytes that clients read. */
static void add_base64(text_builder *t, const float *x, size_t n)
{
    const size_t bytes = n * sizeof *x;
    unsigned char *text = malloc(bytes / 3 * 4 + 5);

    if (!text) {
        t->failed = true;
        return;
    }
    EVP_EncodeBlock(text, (const unsigned char *)x, (int)bytes);
    text_add_string(t, "\"");
    text_add_string(t, (const char *)text);
    text_add_string(t, "\"");
    free(text);
}

/* Vector number i as a list of numbers, or as base64 of little-endian floats. */
static void add_vector(text_builder *t, const embedding_reply *a, size_t i)
{
    const size_t n = a->request->dimensions;
    const float *x = a->vectors + i * a->width;
    const float by = scale_of(a, x);
    float *cut = malloc(n * sizeof *cut);

    if (!cut) {
        t->failed = true;
        return;
    }
    for (size_t k = 0; k < n; k++) cut[k] = x[k] * by;
    if (a->request->base64) {
        add_base64(t, cut, n);
    } else {
        for (size_t k = 0; k < n; k++) {
            text_add_string(t, k ? "," : "[");
            text_add_float(t, cut[k]);
        }
        text_add_string(t, "]");
    }
    free(cut);
}

/* --- OpenAI --- */

static bool read_format(embedding_request *q, const cJSON *body, fault *why)
{
    const char *format = "float";

    if (!json_get_string(body, "encoding_format", &format, why)) return false;
    q->base64 = strcmp(format, "base64") == 0;
    if (q->base64 || strcmp(format, "float") == 0) return true;
    return fault_refuse(why, ERR_INVALID, "encoding_format",
                        "'encoding_format' must be 'float' or 'base64'.");
}

static bool read_openai(embedding_request *q, const cJSON *body, const embedding_env *env,
                        fault *why)
{
    q->name = json_get(body, "input") || !json_get(body, "content") ? "input" : "content";
    return request_check_members(body, REQUEST_EMBEDS, "", why) &&
           embedding_read_model(body, env, why) && read_format(q, body, why) &&
           embedding_read_dimensions(q, body, env, why) &&
           embedding_read_texts(q, body, env, why);
}

static void write_openai(text_builder *t, const embedding_reply *a)
{
    text_add_string(t, "{\"object\":\"list\",\"data\":[");
    for (size_t i = 0; i < a->request->in.n_texts; i++) {
        text_addf(t, "%s{\"object\":\"embedding\",\"index\":%zu,\"embedding\":", i ? "," : "",
                  i);
        add_vector(t, a, i);
        text_add_string(t, "}");
    }
    text_add_string(t, "],\"model\":");
    text_add_json_string(t, a->runtime->model_name);
    text_addf(t, ",\"usage\":{\"prompt_tokens\":%zu,\"total_tokens\":%zu}}",
              a->request->in.n_ids, a->request->in.n_ids);
}

/* --- Ollama --- */

/* No text, and no vector: "" and [] are what its clients load a model with. */
static bool has_texts(const cJSON *body, const char *name)
{
    const cJSON *input = json_get(body, name);

    return !(cJSON_IsString(input) && !input->valuestring[0]) &&
           !(cJSON_IsArray(input) && !input->child) && (input || strcmp(name, "prompt") != 0);
}

static bool read_ollama(embedding_request *q, const cJSON *body, const embedding_env *env,
                        fault *why)
{
    q->cut = true;
    if (!request_check_members(body, REQUEST_EMBEDS, "", why) ||
        !embedding_read_model(body, env, why) ||
        !json_get_bool(body, "truncate", &q->cut, why) ||
        !embedding_read_dimensions(q, body, env, why))
        return false;
    return !has_texts(body, q->name) || embedding_read_texts(q, body, env, why);
}

static bool read_embed(embedding_request *q, const cJSON *body, const embedding_env *env,
                       fault *why)
{
    q->name = "input";
    return read_ollama(q, body, env, why);
}

static bool read_older(embedding_request *q, const cJSON *body, const embedding_env *env,
                       fault *why)
{
    q->name = "prompt";
    return read_ollama(q, body, env, why);
}

static void write_embed(text_builder *t, const embedding_reply *a)
{
    text_add_string(t, "{\"model\":");
    text_add_json_string(t, a->runtime->model_name);
    text_add_string(t, ",\"embeddings\":[");
    for (size_t i = 0; i < a->request->in.n_texts; i++) {
        if (i) text_add_string(t, ",");
        add_vector(t, a, i);
    }
    text_addf(t, "],\"total_duration\":%llu,\"load_duration\":0,\"prompt_eval_count\":%zu}",
              (unsigned long long)(clock_ns() - a->arrived_ns), a->request->in.n_ids);
}

static void write_older(text_builder *t, const embedding_reply *a)
{
    text_add_string(t, "{\"embedding\":");
    if (a->request->in.n_texts)
        add_vector(t, a, 0);
    else
        text_add_string(t, "[]");
    text_add_string(t, "}");
}

static const embedding_kind openai_kind = {read_openai, write_openai},
                            embed_kind = {read_embed, write_embed},
                            older_kind = {read_older, write_older};

void api_embeddings(http_request *r)
{
    embedding_start(r, &openai_kind);
}

void api_ollama_embed(http_request *r)
{
    embedding_start(r, &embed_kind);
}

void api_ollama_embeddings(http_request *r)
{
    embedding_start(r, &older_kind);
}
