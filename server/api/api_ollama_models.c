/* api_ollama_models.c - what Ollama's clients ask of models: which there are, which is loaded,
 * what one is. There is one, and it is loaded. */
#include <string.h>

#include "engine/template/chat.h"
#include "server/api/ollama.h"
#include "server/api/routes.h"
#include "server/api/server.h"
#include "server/http/answer.h"
#include "server/json.h"
#include "server/text.h"

static void add_architecture(text_builder *t, const runtime *r)
{
    gguf_text arch = {0};

    gguf_get_text(r->file, "general.architecture", &arch);
    text_add_json(t, arch.n ? arch.at : "", arch.n);
}

static void add_details(text_builder *t, const runtime *r)
{
    text_add_string(t, "\"details\":{\"parent_model\":\"\",\"format\":\"gguf\",\"family\":");
    add_architecture(t, r);
    text_add_string(t, ",\"families\":[");
    add_architecture(t, r);
    text_add_string(t, "],\"quantization_level\":");
    text_add_json_string(t, r->weights->weight_type);
    text_add_string(t, "}");
}

/* The device and inode that it was opened from are what tells this file from others: no sum of
 * gigabytes is made to answer a list. */
static void add_model(text_builder *t, const server *s)
{
    const runtime *r = s->runtime;
    char at[OLLAMA_TIME_BYTES];

    ollama_time(at, s->started_unix);
    text_add_string(t, "{\"name\":");
    text_add_json_string(t, r->model_name);
    text_add_string(t, ",\"model\":");
    text_add_json_string(t, r->model_name);
    text_addf(t, ",\"modified_at\":\"%s\",\"size\":%zu,\"digest\":\"%016llx%016llx\",", at,
              (size_t)gguf_file_bytes(r->file), (unsigned long long)r->file_id[0],
              (unsigned long long)r->file_id[1]);
    add_details(t, r);
}

void api_ollama_tags(http_request *r)
{
    text_builder t = {0};

    text_add_string(&t, "{\"models\":[");
    add_model(&t, http_server(r));
    text_add_string(&t, "}]}");
    answer_json(r, &t);
}

/* It is never unloaded: the time at which it would be is as far as dates go. */
void api_ollama_ps(http_request *r)
{
    const server *s = http_server(r);
    text_builder t = {0};

    text_add_string(&t, "{\"models\":[");
    add_model(&t, s);
    text_addf(
        &t,
        ",\"expires_at\":\"9999-12-31T23:59:59Z\",\"size_vram\":0,\"context_length\":%zu}]}",
        s->runtime->ctx_size);
    answer_json(r, &t);
}

void api_ollama_version(http_request *r)
{
    text_builder t = {0};

    text_add_string(&t, "{\"version\":\"" XQUANTD_VERSION "\"}");
    answer_json(r, &t);
}

/* --- show --- */

static void add_shown(text_builder *t, const server *s)
{
    const runtime *r = s->runtime;
    char at[OLLAMA_TIME_BYTES];

    ollama_time(at, s->started_unix);
    text_addf(t, "{\"modified_at\":\"%s\",\"template\":", at);
    text_add_json_string(t, chat_source(r->chat.templates));
    text_addf(t, ",\"capabilities\":[%s%s\"embedding\"],",
              r->weights->both_ways ? "" : "\"completion\",",
              chat_mentions(r->chat.templates, "tools") ? "\"tools\"," : "");
    add_details(t, r);
    text_add_string(t, ",\"model_info\":{\"general.architecture\":");
    add_architecture(t, r);
    text_addf(t, ",\"context_length\":%zu,\"served_context_length\":%zu}}",
              (size_t)r->weights->ctx_train, r->ctx_size);
}

/* Older clients call the model `name`; the tag is everybody's. */
static bool read_name(const http_request *r, const server *s, fault *why)
{
    const char *name = "";
    cJSON *body = NULL;
    size_t n, bytes;
    const char *text = http_body(r, &n);
    const size_t own = strlen(s->runtime->model_name);
    bool good = json_parse(&body, text, n, why);

    good = good && json_get_string(body, "name", &name, why) &&
           json_get_string(body, "model", &name, why);
    bytes = strlen(name);
    if (good && !name[0])
        good = fault_refuse(why, ERR_REQUIRED, "model", "'model' is required.");
    else if (good && !(strncmp(name, s->runtime->model_name, own) == 0 &&
                       (bytes == own || strcmp(name + own, OLLAMA_TAG) == 0)))
        good = fault_refuse(why, ERR_NOMODEL, "model", "The model '%.128s' does not exist.",
                            name);
    cJSON_Delete(body);
    return good;
}

void api_ollama_show(http_request *r)
{
    const server *s = http_server(r);
    text_builder t = {0};
    fault why = {0};

    if (!read_name(r, s, &why)) {
        answer_fault(r, &why);
        return;
    }
    add_shown(&t, s);
    answer_json(r, &t);
}
