/* reply_prompt.c - a prompt told with its answer. */
#include "server/api/reply_prompt.h"

#include "server/api/prompt_text.h"

void reply_prompt_add_text(text_builder *t, const reply *a)
{
    text_builder bytes = {0};

    prompt_text_add(&bytes, a->generation->tokenizer, a->prompt);
    if (bytes.failed) t->failed = true;
    if (bytes.n) text_add_escaped(t, bytes.at, bytes.n);
    text_free(&bytes);
}

static void add_entry(text_builder *t, const reply *a, int32_t id, float logprob, uint32_t rank)
{
    text_addf(t, "\"%d\":{\"logprob\":", (int)id);
    text_add_float(t, logprob);
    text_addf(t, ",\"rank\":%u,\"decoded_token\":", (unsigned)rank);
    reply_add_token(t, a, id);
    text_add_string(t, "}");
}

/* The token itself first, then the best that it is not among. */
static void add_token(text_builder *t, const reply *a, size_t i)
{
    const generation *g = a->generation;
    const size_t room = (size_t)g->in.prompt_top, most = (size_t)a->request->prompt_logprobs;
    const size_t k = room < most ? room : most;

    text_add_string(t, ",{");
    add_entry(t, a, g->in.ids[i], g->out.prompt[i].logprob, g->out.prompt[i].rank);
    for (size_t j = 0; j < k; j++) {
        const sample_top *best = &g->out.prompt_best[i * room + j];

        if (best->id == g->in.ids[i]) continue;
        text_add_string(t, ",");
        add_entry(t, a, best->id, best->logprob, (uint32_t)j + 1);
    }
    text_add_string(t, "}");
}

void reply_prompt_add_logprobs(text_builder *t, const reply *a)
{
    if (a->request->prompt_logprobs < 0) return;
    text_add_string(t, ",\"prompt_logprobs\":[null");
    for (size_t i = 1; i < a->generation->in.n_ids; i++) add_token(t, a, i);
    text_add_string(t, "]");
}
