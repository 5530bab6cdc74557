/* test_memory.c - who allocates, and what happens when there is none. The linker hands our
 * own calls of malloc and its kin to the counters below (see the Makefile's --wrap). */
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include "engine/kern/cpu.h"
#include "engine/model/model_load.h"
#include "engine/model/sample.h"
#include "engine/template/chat.h"
#include "server/sched/generation.h"
#include "tests/lab.h"
#include "tests/test.h"

void *__real_malloc(size_t n);
void *__real_calloc(size_t n, size_t size);
void *__real_realloc(void *p, size_t n);
void *__real_aligned_alloc(size_t align, size_t n);
void *__wrap_malloc(size_t n);
void *__wrap_calloc(size_t n, size_t size);
void *__wrap_realloc(void *p, size_t n);
void *__wrap_aligned_alloc(size_t align, size_t n);

static atomic_long calls;
static atomic_long fail_at = -1; /* this call gets NULL */

static bool fails(void)
{
    return atomic_fetch_add(&calls, 1) == atomic_load(&fail_at);
}

void *__wrap_malloc(size_t n)
{
    return fails() ? NULL : __real_malloc(n);
}

void *__wrap_calloc(size_t n, size_t size)
{
    return fails() ? NULL : __real_calloc(n, size);
}

void *__wrap_realloc(void *p, size_t n)
{
    return fails() ? NULL : __real_realloc(p, n);
}

void *__wrap_aligned_alloc(size_t align, size_t n)
{
    return fails() ? NULL : __real_aligned_alloc(align, n);
}

TEST(memory_is_not_taken_in_a_decode_step)
{
    static const char *const modes[] = {"kv32", "kv16", "xq4"};

    for (size_t i = 0; i < sizeof modes / sizeof modes[0]; i++) {
        sample_params p = {.temperature = 1, .top_p = .9f, .repetition_penalty = 1.1f};
        generation_in in = {.max_tokens = 200, .sample = p, .top = 5};
        int32_t ids[250];
        generation *g = NULL;
        sampler *s = NULL;
        float *logits;
        context *c;
        long before;
        lab l;

        lab_open(&l, LAB_EMBEDDED, modes[i], 2);
        logits = malloc(l.m->V * sizeof *logits);
        for (size_t t = 0; t < 250; t++) ids[t] = (int32_t)t + 10;
        CHECK(sampler_new(&s, l.m->V, &p) == ERR_OK);
        CHECK(generation_new(&g, l.tokens, &in) == ERR_OK);
        c = lab_read(&l, ids, 250, LAB_BLOCKS, NULL);
        before = atomic_load(&calls);
        for (int t = 0; t < 30; t++) { /* the sixth step seals a block */
            int32_t id = t + 20;

            lab_step(&l, c, &id, 1, logits);
            generation_add(g, id, logits);
            id = sampler_pick(s, logits);
            sampler_see_answer(s, id);
        }
        CHECK(atomic_load(&calls) == before);
        CHECK(before > 0); /* the counters do count */
        cache_end(c);
        generation_free(g);
        sampler_free(s);
        free(logits);
        lab_close(&l);
    }
}

/* Open everything a request needs; the first error is returned and all is undone. */
static err open_and_close(const char *path)
{
    const chat_message hello = {"user", "hello", 5};
    team alone = team_alone;
    const cache_options o = {.mode = "xq4",
                             .budget_bytes = 8 << 20,
                             .workspace_bytes = CACHE_AUTO_WORKSPACE,
                             .page_format = KV_INT8,
                             .max_running = 1,
                             .team = &alone};
    gguf *file = NULL;
    tokenizer *t = NULL;
    chat *how = NULL;
    model *m = NULL;
    cache *c = NULL;
    forward *f = NULL;
    token_ids ids = {.most = SIZE_MAX};
    kern k;
    err e;

    kern_init(&k, cpu_flags());
    e = gguf_open(&file, path, NULL);
    if (e == ERR_OK) e = tokenizer_new(&t, file, NULL);
    if (e == ERR_OK) e = chat_open(&how, file, t);
    if (e == ERR_OK) e = chat_encode_messages(how, &hello, 1, true, &ids);
    if (e == ERR_OK) e = model_open(&m, file, 0, NULL);
    if (e == ERR_OK) e = cache_open(&c, m, &k, &o);
    if (e == ERR_OK) e = forward_open(&f, m, &k, &alone, 128, 128);
    free(ids.at);
    forward_close(f);
    cache_close(c);
    model_close(m);
    chat_free(how);
    tokenizer_free(t);
    gguf_close(file);
    return e;
}

TEST(memory_that_runs_out_at_any_call_is_an_error_and_leaks_nothing)
{
    long total = atomic_load(&calls);

    CHECK(open_and_close(LAB_EMBEDDED) == ERR_OK);
    total = atomic_load(&calls) - total;
    for (long i = 0; i < total; i += i < 60 ? 1 : 7) {
        atomic_store(&calls, 0);
        atomic_store(&fail_at, i);
        CHECK(open_and_close(LAB_EMBEDDED) == ERR_NOMEM);
        atomic_store(&fail_at, -1);
    }
}
