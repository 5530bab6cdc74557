/* wire_form.c - three shapes of an error.
 *
 *   OpenAI     {"error": {"message", "type", "param", "code"}}
 *   Anthropic  {"type": "error", "error": {"type", "message"}}     the type says the status
 *   Ollama     {"error": "message"}
 *
 * In a stream the first is the data of an event, the second an event named `error`, the third a
 * line. */
#include "server/http/wire_form.h"

#include <stddef.h>
#include <string.h>

#include "server/http/wire_error.h"
#include "server/text.h"

static char *openai_body(int status, const char *type, const char *code, const char *param,
                         const char *message)
{
    (void)status;
    return wire_error_body(type, code, param, message);
}

/* Its libraries choose an exception's class by the status, programs by the type. */
static const char *anthropic_type(int status)
{
    static const struct {
        int status;
        const char *type;
    } types[] = {{400, "invalid_request_error"}, {401, "authentication_error"},
                 {403, "permission_error"},      {404, "not_found_error"},
                 {413, "request_too_large"},     {429, "rate_limit_error"},
                 {503, "overloaded_error"},      {504, "timeout_error"}};

    for (size_t i = 0; i < sizeof types / sizeof *types; i++)
        if (types[i].status == status) return types[i].type;
    return status < 500 ? "invalid_request_error" : "api_error";
}

static char *anthropic_body(int status, const char *type, const char *code, const char *param,
                            const char *message)
{
    text_builder t = {0};

    (void)type, (void)code, (void)param; /* the sentence names the member */
    text_addf(&t, "{\"type\":\"error\",\"error\":{\"type\":\"%s\",\"message\":",
              anthropic_type(status));
    text_add_json_string(&t, message);
    text_add_string(&t, "}}");
    return text_take(&t, NULL);
}

static char *ollama_body(int status, const char *type, const char *code, const char *param,
                         const char *message)
{
    text_builder t = {0};

    (void)status, (void)type, (void)code, (void)param;
    text_add_string(&t, "{\"error\":");
    text_add_json_string(&t, message);
    text_add_string(&t, "}");
    return text_take(&t, NULL);
}

/* The first that the path begins with; the last is everybody's. */
static const wire_form forms[] = {
    {"/v1/messages", anthropic_body, "event: error\ndata: ", "\n\n"},
    {"/api/", ollama_body, "", "\n"},
    {"", openai_body, "data: ", "\n\n"},
};

const wire_form *wire_form_of(const char *path)
{
    const wire_form *form = forms;

    while (strncmp(path ? path : "", form->prefix, strlen(form->prefix)) != 0) form++;
    return form;
}
