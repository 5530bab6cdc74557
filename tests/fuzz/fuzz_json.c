/* fuzz_json.c - any bytes as the body of a generation request, for both endpoints.
 *
 * What is accepted must be within the contract's bounds; what is refused must say why, in
 * valid UTF-8. Seeds: tests/fuzz/json/. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "engine/template/chat.h"
#include "engine/utf8.h"
#include "server/api/completion.h"

int LLVMFuzzerInitialize(int *argc, char ***argv);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static gguf *file; /* kept, or it counts as leaked */
static request_env env = {.model_name = "m", .ctx_size = 2048, .default_max_tokens = 512};

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
    tokenizer *t;
    chat *c;

    (void)argc, (void)argv;
    if (gguf_open(&file, "models/seedling-32m-mha-q8_0.gguf", NULL)) abort();
    if (tokenizer_new(&t, file, NULL)) abort();
    if (chat_open(&c, file, t)) abort();
    env.tokens = t;
    env.chat = c;
    if (guides_open(&env.guides, t)) abort();
    return 0;
}

static void must(bool holds)
{
    if (!holds) abort();
}

/* Of all stop strings, none of which is empty. */
static size_t stop_bytes(const request *q)
{
    size_t n = 0;

    for (size_t i = 0; i < q->in.n_stop; i++) {
        must(q->in.stop[i][0] != '\0');
        n += strlen(q->in.stop[i]);
    }
    return n;
}

static void check_good(const request *q)
{
    const size_t V = tokenizer_size(env.tokens);

    must(q->in.sample.temperature >= 0 && q->in.sample.temperature <= 2);
    must(q->in.sample.top_p >= 0 && q->in.sample.top_p <= 1 && q->in.sample.top_k >= 0);
    must(q->in.top >= -1 && q->in.top <= GENERATION_MAX_TOP);
    must(q->in.max_tokens <= INT32_MAX && stop_bytes(q) <= 4096);
    for (size_t p = 0; p < q->n_prompts; p++)
        for (size_t i = 0; i < q->prompts[p].n; i++)
            must(q->prompts[p].ids[i] >= 0 && (size_t)q->prompts[p].ids[i] < V);
}

static void read_as(const completion_kind *kind, const char *body, size_t n)
{
    fault why;
    request q;

    if (request_read(&q, &kind->request, &env, body, n, &why))
        check_good(&q);
    else
        must(why.e != ERR_OK && (utf8_valid(why.sentence, strlen(why.sentence)) &&
                                 utf8_valid(why.field, strlen(why.field))));
    request_free(&q);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char *body = malloc(size + 1);

    if (!body) return 0;
    if (size) memcpy(body, data, size);
    body[size] = '\0';
    read_as(&api_chat_kind, body, size);
    read_as(&api_completions_kind, body, size);
    read_as(&api_responses_kind, body, size);
    read_as(&api_messages_kind, body, size);
    read_as(&api_ollama_chat_kind, body, size);
    read_as(&api_ollama_generate_kind, body, size);
    free(body);
    return 0;
}
