/* body.c - bodies of generation requests, for tests. */
#include "tests/body.h"

#include <stdlib.h>
#include <string.h>

#include "engine/template/chat.h"
#include "server/api/tool_setup.h"
#include "server/http/wire_error.h"
#include "tests/lab.h"
#include "tests/test.h"

request_env body_env(void)
{
    static tokenizer *t; /* once for all tests of this program */
    static chat *c;
    static gguf *g;
    static guides *kept;
    static tool_setup tools;
    const config none = {0};
    const char *what;

    if (!t && (gguf_open(&g, LAB_EMBEDDED, NULL) || tokenizer_new(&t, g, NULL) ||
               chat_open(&c, g, t) || guides_open(&kept, t) ||
               tool_setup_open(&tools, &none, c, t, &what)))
        abort();
    return (request_env){.tokens = t,
                         .chat = c,
                         .model_name = "seedling",
                         .ctx_size = 2048,
                         .default_max_tokens = 512,
                         .tenant = 7,
                         .guides = kept,
                         .tools = &tools};
}

bool body_read(request *q, const completion_kind *kind, const char *body, fault *why)
{
    const request_env env = body_env();
    const bool good = request_read(q, &kind->request, &env, body, strlen(body), why);

    CHECK(good || why->sentence[0]); /* nothing else than the body is at fault */
    return good;
}

bool body_refused(const completion_kind *kind, const char *body, const char *param)
{
    fault why;
    request q;
    const bool good = body_read(&q, kind, body, &why);

    request_free(&q);
    return !good && wire_error_for(why.e).status == 400 && strcmp(why.field, param) == 0;
}
