/* api_models.c - GET /v1/models and /v1/models/{id}: what is loaded. */
#include <stdio.h>
#include <string.h>

#include "server/api/routes.h"
#include "server/api/server.h"
#include "server/http/answer.h"
#include "server/text.h"

/* max_model_len is what vLLM's clients look for, meta.n_ctx_train what llama.cpp's do. */
static void add_model(text_builder *t, const server *s)
{
    const runtime *r = s->runtime;

    text_add_string(t, "{\"id\":");
    text_add_json_string(t, r->model_name);
    text_addf(t, ",\"object\":\"model\",\"created\":%llu,\"owned_by\":\"xquantd\",\"root\":",
              (unsigned long long)s->started_unix);
    text_add_json_string(t, r->model_name);
    text_addf(t, ",\"parent\":null,\"max_model_len\":%zu,\"meta\":{\"n_ctx_train\":%zu}}",
              r->ctx_size, r->weights->ctx_train);
}

/* A list, though it has one entry: that is what clients parse. */
void api_models(http_request *r)
{
    text_builder t = {0};

    text_add_string(&t, "{\"object\":\"list\",\"data\":[");
    add_model(&t, http_server(r));
    text_add_string(&t, "]}");
    answer_json(r, &t);
}

/* One model is loaded, so a name is either its own or nobody's. */
void api_model(http_request *r)
{
    static const char prefix[] = "/v1/models/";
    const server *s = http_server(r);
    const char *name = http_path(r) + sizeof prefix - 1;
    text_builder t = {0};
    char message[256];

    if (strcmp(name, s->runtime->model_name) != 0) {
        snprintf(message, sizeof message, "The model `%.128s` does not exist.", name);
        answer_error(r, 404, "invalid_request_error", "model_not_found", "model", message);
        return;
    }
    add_model(&t, s);
    answer_json(r, &t);
}
