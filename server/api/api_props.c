/* api_props.c - GET /props: what is served and with which defaults, in llama-server's words. */
#include <string.h>

#include "engine/template/chat.h"
#include "server/api/routes.h"
#include "server/api/server.h"
#include "server/http/answer.h"
#include "server/text.h"

/* Where a request is silent: the model's file, or what everyone has. The names are
 * fields.def's. */
static void add_defaults(text_builder *t, const server *s)
{
    const sample_params *sampling = &s->runtime->sampling;
    const char *before = "";

#define NUMBER(kind, name, member, min, max)                                \
    text_addf(t, "%s\"" #name "\":%.6g", before, (double)sampling->member); \
    before = ",";
#include "server/api/fields.def"
}

static void add_token(text_builder *t, const char *name, const tokenizer *k, int32_t id)
{
    const gguf_text piece = id == TOKENIZER_NONE ? (gguf_text){0}
                                                 : tokenizer_piece(k, id, true);

    text_addf(t, ",\"%s\":", name);
    text_add_json(t, piece.n ? piece.at : "", piece.n);
}

/* The path is not said: it is nobody's business who speaks HTTP. */
static void add_model(text_builder *t, const runtime *r)
{
    text_add_string(t, ",\"model_alias\":");
    text_add_json_string(t, r->model_name);
    text_add_string(t, ",\"model_ftype\":");
    text_add_json_string(t, r->weights->weight_type);
    text_add_string(t, ",\"chat_template\":");
    text_add_json_string(t, chat_source(r->chat.templates));
    add_token(t, "bos_token", r->tokens, tokenizer_bos(r->tokens));
    add_token(t, "eos_token", r->tokens, tokenizer_eos(r->tokens));
    text_add_string(t, ",\"modalities\":{\"vision\":false,\"audio\":false}");
}

void api_props(http_request *r)
{
    const server *s = http_server(r);
    text_builder t = {0};

    text_addf(&t, "{\"default_generation_settings\":{\"n_ctx\":%zu,\"params\":{",
              s->runtime->ctx_size);
    add_defaults(&t, s);
    text_addf(&t, ",\"n_predict\":%lld}},\"total_slots\":%zu",
              (long long)s->config->default_max_tokens, s->runtime->max_running);
    add_model(&t, s->runtime);
    text_add_string(&t,
                    ",\"build_info\":\"xquantd " XQUANTD_VERSION "\",\"is_sleeping\":false}");
    answer_json(r, &t);
}
