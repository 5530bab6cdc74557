/* runtime.c - opens the model, the threads and the cache, in the order they need. */
#include "server/runtime.h"

#include <libgen.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "engine/cpu.h"
#include "server/plans.h"
#include "server/threads.h"

#ifndef XQUANTD_DATADIR
#define XQUANTD_DATADIR "/usr/local/share/xquantd"
#endif

static const char embedded[] = "models/seedling-32m-mha-q8_0.gguf";

void runtime_find_file(const char *name, char *path, size_t n)
{
    char self[4096];
    const ssize_t length = readlink("/proc/self/exe", self, sizeof self - 1);
    /* build/xquantd, build/asan/xquantd: up to the source tree; PREFIX/bin: to its share */
    static const char *const up[] = {"../", "../../", "../share/xquantd/"};

    for (size_t i = 0; length > 0 && i < sizeof up / sizeof up[0]; i++) {
        char copy[4096];

        self[length] = '\0';
        memcpy(copy, self, (size_t)length + 1);
        snprintf(path, n, "%s/%s%s", dirname(copy), up[i], name);
        if (access(path, R_OK) == 0) return;
    }
    snprintf(path, n, "%s/%s", XQUANTD_DATADIR, name);
}

void runtime_default_model(char *path, size_t n)
{
    runtime_find_file(embedded, path, n);
}

/* The file's base name without .gguf, or --model-name. */
static char *name_model(const config *c, const char *path)
{
    const char *base = strrchr(path, '/');
    char *name = strdup(c->model_name && *c->model_name ? c->model_name
                                                        : (base ? base + 1 : path));
    char *end = name ? strstr(name, ".gguf") : NULL;

    if (end && !end[5] && !(c->model_name && *c->model_name)) *end = '\0';
    return name;
}

/* A number from a small file, such as cgroup's memory.max; 0 if it has none ("max"). */
static uint64_t read_number(const char *path)
{
    FILE *f = fopen(path, "r");
    unsigned long long v = 0;

    if (!f) return 0;
    if (fscanf(f, "%llu", &v) != 1) v = 0;
    fclose(f);
    return v;
}

/* Half of what cgroup or machine has left after the model. */
static uint64_t auto_cache_size(void)
{
    const uint64_t limit = read_number("/sys/fs/cgroup/memory.max");
    const uint64_t used = read_number("/sys/fs/cgroup/memory.current");
    uint64_t left = (uint64_t)sysconf(_SC_AVPHYS_PAGES) * (uint64_t)sysconf(_SC_PAGESIZE);

    if (limit && limit - used < left) left = limit > used ? limit - used : 0;
    return left / 2;
}

static uint64_t pool_size(const config *c)
{
    return c->cache_size == CONFIG_AUTO ? auto_cache_size() : c->cache_size;
}

kv_format runtime_page_format(const config *c)
{
    static const struct {
        const char *word;
        kv_format format;
    } formats[] = {{"int8", KV_INT8}, {"fp16", KV_HALF}, {"fp32", KV_FLOAT}};
    size_t i = 0;

    while (strcmp(formats[i].word, c->workspace_format) != 0) i++;
    return formats[i].format;
}

static err open_file(runtime *r, const config *c, fault *why)
{
    TRY(gguf_open(&r->file, r->model_path, why));
    TRY(tokenizer_new(&r->tokens, r->file, why));
    TRY(model_open(&r->weights, r->file, (size_t)c->ctx_size, why));
    r->ctx_size = r->weights->ctx;
    if (tokenizer_size(r->tokens) != r->weights->V)
        return fault_name(why, ERR_SHAPE, "token_embd.weight");
    return ERR_OK;
}

static err open_cache(runtime *r, const config *c, fault *why)
{
    const cache_options o = {.mode = c->cache,
                             .plan = r->plan,
                             .degraded_plan = r->degraded_plan,
                             .budget_bytes = pool_size(c),
                             .workspace_bytes = c->workspace_size,
                             .page_format = runtime_page_format(c),
                             .max_running = (int)r->max_running,
                             .team = r->team,
                             .block_tokens = r->block_tokens,
                             .ctx_tokens = r->ctx_size};
    char option[64];
    const err e = cache_open(&r->cache, r->weights, &r->kern, &o);

    if (e == ERR_MODE || e == ERR_MODEMODEL)
        snprintf(option, sizeof option, "--cache %.40s", o.mode);
    else if (e == ERR_NOROOM)
        snprintf(option, sizeof option, "--cache-size holds no block");
    else
        return e;
    return fault_name(why, e, option);
}

/* Rows of prompts in a step: a block at least, for those who step alone. */
static size_t step_rows(const config *c, size_t block_tokens)
{
    const size_t rows = c->step_tokens > 0 ? (size_t)c->step_tokens : 0;

    return rows > block_tokens ? rows : block_tokens;
}

static err open_model(runtime *r, const config *c, fault *why)
{
    kern_init(&r->kern, cpu_flags());
    TRY(open_file(r, c, why));
    TRY(threads_open(&r->team, c->threads > 0 ? (int)c->threads : threads_usable_cores()));
    r->block_tokens = (size_t)atoi(c->block_tokens ? c->block_tokens : "128");
    r->max_running = c->max_running > 0 ? (size_t)c->max_running : 1;
    return forward_open(&r->forward, r->weights, &r->kern, r->team,
                        step_rows(c, r->block_tokens) + r->max_running, r->block_tokens);
}

/* The plan of twice the ratio. */
static err open_degraded_plan(runtime *r, const config *c, fault *why)
{
    const double ratio = r->plan ? 2 * plan_read_about(r->plan).ratio : 0;
    char text[sizeof why->field];

    if (!r->plan || ratio > PLAN_RATIO_MAX) {
        snprintf(text, sizeof text, "--degrade with --cache %.40s", c->cache);
        return fault_name(why, ERR_DEGRADE, text);
    }
    snprintf(r->wanted_mode, sizeof r->wanted_mode, "klt%g", ratio);
    return plans_open(r->model_path, r->wanted_mode, r->file, &r->degraded_plan, why);
}

static err open_all(runtime *r, const config *c, fault *why)
{
    TRY(open_model(r, c, why));
    if (strcmp(c->cache, "auto") == 0)
        TRY(plans_best(r->model_path, r->file, c->max_kl > 0 ? c->max_kl : PLANS_MAX_KL,
                       &r->plan));
    else
        TRY(plans_open(r->model_path, c->cache, r->file, &r->plan, why));
    if (c->degrade) TRY(open_degraded_plan(r, c, why));
    return open_cache(r, c, why);
}

/* `open` on the model that the options name; on failure `what` says what is at fault. */
static err open_named(runtime *r, const config *c,
                      err (*open)(runtime *, const config *, fault *), char *what,
                      size_t what_bytes)
{
    char path[4200];
    fault why = {{0}};
    err e;

    *r = (runtime){0};
    if (c->model && *c->model)
        snprintf(path, sizeof path, "%s", c->model);
    else
        runtime_default_model(path, sizeof path);
    snprintf(r->wanted_mode, sizeof r->wanted_mode, "%s", c->cache ? c->cache : "");
    r->model_path = strdup(path);
    r->model_name = name_model(c, path);
    e = r->model_path && r->model_name ? open(r, c, &why) : ERR_NOMEM;
    if (e == ERR_OK) return e;
    if (e == ERR_NOPLAN)
        plans_explain(path, r->wanted_mode, what, what_bytes);
    else if (why.field[0] == '-') /* an option is at fault, not the file */
        snprintf(what, what_bytes, "%s", why.field);
    else
        snprintf(what, what_bytes, "%s%s%s", path, why.field[0] ? ": " : "", why.field);
    return e;
}

err runtime_open(runtime *r, const config *c, char *what, size_t what_bytes)
{
    return open_named(r, c, open_all, what, what_bytes);
}

err runtime_open_model(runtime *r, const config *c, char *what, size_t what_bytes)
{
    return open_named(r, c, open_model, what, what_bytes);
}

void runtime_close(runtime *r)
{
    forward_close(r->forward);
    cache_close(r->cache);
    plan_close(r->plan);
    plan_close(r->degraded_plan);
    threads_close(r->team);
    model_close(r->weights);
    tokenizer_free(r->tokens);
    gguf_close(r->file);
    free(r->model_path);
    free(r->model_name);
    *r = (runtime){0};
}
