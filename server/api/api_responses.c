/* api_responses.c - POST /v1/responses, and what is kept of its answers.
 *
 *   POST   /v1/responses                     an answer; kept, unless store is false
 *   POST   /v1/responses/input_tokens        how long its prompt would be
 *   GET    /v1/responses/{id}                the answer once more
 *   GET    /v1/responses/{id}/input_items    what the model was given
 *   DELETE /v1/responses/{id} */
#include <stdlib.h>
#include <string.h>

#include "server/api/completion.h"
#include "server/api/doors.h"
#include "server/api/response_store.h"
#include "server/api/responses.h"
#include "server/api/routes.h"
#include "server/api/server.h"
#include "server/http/answer.h"

static const char prefix[] = "/v1/responses/";

/* --- the answer is kept --- */

static void keep(server *s, const reply *a, const reply_usage *usage)
{
    const request *q = a->request;
    text_builder answer = {0}, output = {0};
    response_kept kept = {.who = q->who};

    if (!q->said.store) return;
    responses_close(&answer, a, usage);
    responses_add_output(&output, a);
    memcpy(kept.id, a->id, sizeof kept.id);
    memcpy(kept.session, q->session, sizeof kept.session);
    kept.answer = text_take(&answer, NULL);
    kept.output = text_take(&output, NULL);
    kept.items = strdup(q->said.items);
    if (kept.answer && kept.output && kept.items)
        response_store_put(s->responses, &kept);
    else
        response_kept_free(&kept);
}

static void write_count(text_builder *t, const request *q, const request_env *env)
{
    (void)env;
    text_addf(t, "{\"object\":\"response.input_tokens\",\"input_tokens\":%zu}",
              q->prompts[0].n);
}

#define READING                                                                       \
    {                                                                                 \
        .chat = true, .translate = responses_translate, .renames = responses_renames, \
        .read_prompt = responses_read_prompt                                          \
    }

const completion_kind api_responses_kind = {
    .request = READING,
    .id_prefix = "resp_",
    .prompt_param = "input",
    .stream_type = "text/event-stream",
    .open_answer = responses_open,
    .write_choice = responses_write_choice,
    .close_answer = responses_close,
    .write_events = responses_write_events,
    .end_events = responses_end_events,
    .fail_events = responses_fail_events,
    .keep = keep,
};

static const completion_kind count_kind = {
    .request = READING, .prompt_param = "input", .write_prompt = write_count};

void api_responses(http_request *r)
{
    completion_start(r, &api_responses_kind);
}

void api_responses_count(http_request *r)
{
    completion_start(r, &count_kind);
}

/* --- what is kept --- */

static tenant tenant_of(const http_request *r)
{
    const server *s = http_server(r);

    return tenant_make(doors_tenant(r), http_header(r, "X-Cache-Salt"),
                       s->config->share_prefixes);
}

static void refuse_id(http_request *r, err e)
{
    if (e == ERR_NOMEM)
        answer_err(r, e);
    else
        answer_error(r, 404, "invalid_request_error", "response_not_found", "id",
                     "There is no response of that id; those that are not stored, or were "
                     "stored long ago, are not found.");
}

/* The answer of the path between the prefix and the suffix; false: it has been answered. */
static bool find(http_request *r, const char *suffix, response_kept *out)
{
    const server *s = http_server(r);
    const char *path = http_path(r) + strlen(prefix);
    const size_t n = strlen(path) - strlen(suffix);
    const tenant who = tenant_of(r);
    char id[RANDOM_ID_BYTES];
    err e = ERR_MISSING;

    snprintf(id, sizeof id, "%.*s", n < sizeof id ? (int)n : 0, path);
    if (strncmp(id, "resp_", 5) == 0 && response_store_get(s->responses, &who, id, out, &e))
        return true;
    refuse_id(r, e);
    return false;
}

void api_response(http_request *r)
{
    response_kept kept;
    text_builder t = {0};

    if (!find(r, "", &kept)) return;
    text_add_string(&t, kept.answer);
    response_kept_free(&kept);
    answer_json(r, &t);
}

void api_response_delete(http_request *r)
{
    const server *s = http_server(r);
    const char *id = http_path(r) + strlen(prefix);
    const tenant who = tenant_of(r);
    text_builder t = {0};

    if (strncmp(id, "resp_", 5) != 0 || !response_store_delete(s->responses, &who, id)) {
        refuse_id(r, ERR_MISSING);
        return;
    }
    text_addf(&t, "{\"id\":\"%s\",\"object\":\"response\",\"deleted\":true}", id);
    answer_json(r, &t);
}

static void add_id(text_builder *t, const char *name, const cJSON *item)
{
    const cJSON *id = json_get(item, "id");

    text_addf(t, ",\"%s\":", name);
    text_add_json_string(t, cJSON_IsString(id) ? id->valuestring : NULL);
}

/* All of them, the newest first as the original lists them: no page has a second one. */
static void list_items(text_builder *t, cJSON *items)
{
    const int n = cJSON_GetArraySize(items);
    cJSON *newest = cJSON_CreateArray(), *item;
    char *data;

    while (newest && (item = cJSON_DetachItemFromArray(items, 0)))
        cJSON_InsertItemInArray(newest, 0, item);
    data = newest ? cJSON_PrintUnformatted(newest) : NULL;
    if (!data) t->failed = true;
    text_add_string(t, "{\"object\":\"list\",\"data\":");
    text_add_string(t, data ? data : "[]");
    add_id(t, "first_id", newest ? newest->child : NULL);
    add_id(t, "last_id", cJSON_GetArrayItem(newest, n - 1));
    text_add_string(t, ",\"has_more\":false}");
    free(data);
    cJSON_Delete(newest);
}

void api_response_items(http_request *r)
{
    response_kept kept;
    text_builder t = {0};
    cJSON *items = NULL;
    fault why;

    if (!find(r, "/input_items", &kept)) return;
    if (json_parse(&items, kept.items, strlen(kept.items), &why)) list_items(&t, items);
    cJSON_Delete(items);
    response_kept_free(&kept);
    answer_json(r, &t);
}
