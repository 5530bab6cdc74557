/* api_slots.c - GET /slots: what runs now, in llama-server's words.
 *
 * There are no slots: --max-running answers share every step. So those that run are listed
 * first, and what is left of that number is idle. Of another key's answers it is said that they
 * run, and no more. */
#include "server/api/delivery.h"
#include "server/api/doors.h"
#include "server/api/routes.h"
#include "server/api/server.h"
#include "server/http/answer.h"
#include "server/text.h"

static void open_slot(text_builder *t, const server *s, size_t i, bool busy)
{
    text_addf(t, "%s{\"id\":%zu,\"n_ctx\":%zu,\"speculative\":false,\"is_processing\":%s",
              i ? "," : "", i, s->runtime->ctx_size, busy ? "true" : "false");
}

static void add_running(text_builder *t, const delivery_view *v)
{
    text_add_string(t, ",\"id_task\":");
    text_add_json_string(t, v->id);
    text_add_string(t, ",\"session\":");
    text_add_json_string(t, v->session[0] ? v->session : NULL);
    text_addf(t,
              ",\"n_prompt_tokens\":%zu,\"params\":{\"n_predict\":%zu,\"temperature\":%.6g,"
              "\"stream\":%s},\"next_token\":[{\"has_next_token\":true,\"n_decoded\":%zu,"
              "\"n_remain\":%zu}]",
              v->prompt, v->max_tokens, (double)v->temperature, v->stream ? "true" : "false",
              v->decoded, v->max_tokens - v->decoded);
}

void api_slots(http_request *r)
{
    const server *s = http_server(r);
    text_builder t = {0};
    size_t n = 0;

    text_add_string(&t, "[");
    for (delivery_view v = {0}; delivery_next(s, &v);) {
        open_slot(&t, s, n++, true);
        if (v.tenant == doors_tenant(r)) add_running(&t, &v);
        text_add_string(&t, "}");
    }
    for (; n < s->runtime->max_running; n++) {
        open_slot(&t, s, n, false);
        text_add_string(&t, "}");
    }
    text_add_string(&t, "]");
    answer_json(r, &t);
}
