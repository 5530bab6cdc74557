/* api_models.c - GET /v1/models and /v1/models/{id}: what is loaded. */
#include <stdio.h>
#include <string.h>

#include "server/api/model_names.h"
#include "server/api/routes.h"
#include "server/api/server.h"
#include "server/http/answer.h"
#include "server/text.h"

/* What a context is kept as, and how much of it there is room for; the ratio is against fp16
 * keys and values. */
static void add_cache(text_builder *t, const server *s)
{
    sched_stats now;
    const cache_stats *c = &now.cache;

    sched_read_stats(s->sched, &now);
    text_add_string(t, ",\"cache\":{\"mode\":");
    text_add_json_string(t, c->mode);
    text_addf(t, ",\"ratio\":%.4g,\"block_tokens\":%zu,\"bytes_per_token\":%zu",
              16 / c->bits_per_element, c->block_tokens, c->block_bytes / c->block_tokens);
    text_addf(t, ",\"capacity_bytes\":%llu,\"capacity_tokens\":%zu,\"contexts\":%zu}",
              (unsigned long long)c->capacity_bytes, c->capacity_tokens,
              c->capacity_tokens / s->runtime->ctx_size);
}

/* max_model_len is what vLLM's clients look for, meta.n_ctx_train what llama.cpp's do. */
static void add_model(text_builder *t, const server *s, const char *name)
{
    const runtime *r = s->runtime;

    text_add_string(t, "{\"id\":");
    text_add_json_string(t, name);
    text_addf(t, ",\"object\":\"model\",\"created\":%llu,\"owned_by\":\"xquantd\",\"root\":",
              (unsigned long long)s->started_unix);
    text_add_json_string(t, r->model_name);
    text_addf(t, ",\"parent\":null,\"max_model_len\":%zu,\"capabilities\":[%s\"embedding\"]",
              r->ctx_size, r->weights->both_ways ? "" : "\"completion\",");
    text_addf(t,
              ",\"meta\":{\"n_ctx_train\":%zu,\"n_ctx\":%zu,\"n_vocab\":%zu,\"n_embd\":%zu,"
              "\"embedding_tokens\":%zu}",
              r->weights->ctx_train, r->ctx_size, r->weights->V, encoder_width(r->encoder),
              encoder_longest(r->encoder));
    add_cache(t, s);
    text_add_string(t, "}");
}

static model_names names_of(const server *s)
{
    return (model_names){s->runtime->model_name, s->config->served_model_name,
                         s->config->any_model};
}

/* An entry for each name, as clients look theirs up in it. */
void api_models(http_request *r)
{
    const server *s = http_server(r);
    const model_names names = names_of(s);
    text_builder t = {0};
    char name[256];

    text_add_string(&t, "{\"object\":\"list\",\"data\":[");
    for (size_t i = 0; model_names_at(&names, i, name, sizeof name); i++) {
        if (i) text_add_string(&t, ",");
        add_model(&t, s, i ? name : s->runtime->model_name);
    }
    text_add_string(&t, "]}");
    answer_json(r, &t);
}

/* One model is loaded, so a name is either its own or nobody's. */
void api_model(http_request *r)
{
    static const char prefix[] = "/v1/models/";
    const server *s = http_server(r);
    const char *name = http_path(r) + sizeof prefix - 1;
    const model_names names = names_of(s);
    text_builder t = {0};
    char message[256];

    if (!model_names_serve(&names, name)) {
        snprintf(message, sizeof message, "The model `%.128s` does not exist.", name);
        answer_error(r, 404, "invalid_request_error", "model_not_found", "model", message);
        return;
    }
    add_model(&t, s, name);
    answer_json(r, &t);
}
