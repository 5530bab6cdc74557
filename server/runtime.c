/* runtime.c - opens the model, the threads and the cache, in the order they need.
 *
 *   begin    file, tokenizer -> team -> plan -> sizes of what is to come: do they fit?
 *   finish   weights packed -> step buffers -> cache -> file let go -> prefault -> lock
 *
 * What is large is measured before it is taken: model_measure knows the packed weights by their
 * shapes, a forward that never steps touches no page of its buffers, and cache_measure makes
 * cache_open's checks without its memory. So a model that does not fit is refused within a
 * moment and with the sum, not by the kernel's killer after minutes of packing.
 *
 * Packing reads the whole file once. Only after that is it known that nobody wrote to it
 * meanwhile, and only then are its pages given back: embedding rows alone are read later.
 * --mlock is last: by then all is mapped, and the sum it names for `ulimit -l` is the whole.
 *
 * Each half runs as a part, under one function that turns an err and its fault into the
 * sentence of the command; the parts themselves know only err. */
#include "server/runtime.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "engine/grammar/token_tree.h"
#include "engine/kern/cpu.h"
#include "engine/model/arch.h"
#include "engine/model/model_load.h"
#include "engine/model/sample_file.h"
#include "engine/pages.h"
#include "server/log.h"
#include "server/plans.h"
#include "server/threads.h"
#include "server/torn_file.h"
#include "server/vectors.h"
#include "xcache/codec/codec.h"

/* The file's base name without .gguf, or --model-name. Of a model in several files the name is
 * that of the first, "-00001-of-00003" and all: that is the file that was asked for. */
static char *name_model(const config *c, const char *path)
{
    const char *base = strrchr(path, '/');
    char *name = strdup(c->model_name && *c->model_name ? c->model_name
                                                        : (base ? base + 1 : path));
    char *end = name ? strstr(name, ".gguf") : NULL;

    if (end && !end[5] && !(c->model_name && *c->model_name)) *end = '\0';
    return name;
}

kv_format runtime_page_format(const config *c, const model *m)
{
    static const struct {
        const char *word;
        kv_format format;
    } formats[] = {{"int8", KV_INT8}, {"fp16", KV_HALF}, {"fp32", KV_FLOAT}};
    size_t i = 0;

    if (strcmp(c->workspace_format, "auto") == 0) return cache_choose_page_format(m);
    /* the option's words are these, so the loop ends */
    while (strcmp(formats[i].word, c->workspace_format) != 0) i++;
    return formats[i].format;
}

/* --- the first half: what can be known before anything large is taken --- */

/* False: there is none of that name. */
static bool identify_file(const char *path, uint64_t id[2])
{
    struct stat st;

    if (stat(path, &st) != 0) return false;
    id[0] = st.st_dev;
    id[1] = st.st_ino;
    return true;
}

static err open_file(runtime *r, const config *c, fault *why)
{
    identify_file(r->model_path, r->file_id); /* what was replaced until gguf_open is seen */
    kern_init(&r->kern, cpu_flags());
    TRY(gguf_open(&r->file, r->model_path, why));
    TRY(tokenizer_new(&r->tokens, r->file, why));
    return chat_setup_open(&r->chat, c, r->file, r->tokens, why);
}

/* The team is opened this early because buffers are counted by its slots. */
static err open_team(runtime *r, const config *c)
{
    r->block_tokens = (size_t)atoi(c->block_tokens ? c->block_tokens : "128");
    r->max_running = c->max_running > 0 ? (size_t)c->max_running : 1;
    return threads_open(&r->team, c->threads > 0 ? (int)c->threads : threads_usable_cores());
}

static err choose_mode(runtime *r, const config *c, fault *why)
{
    const mode_model of = {r->model_path, r->file};

    return mode_choice_open(&r->cache_mode, &of, c, why);
}

/* The same for the measurement and for the opening, or the sum would be of another cache. */
static cache_options read_cache_options(const runtime *r, const config *c, const model *m)
{
    if (m->both_ways) return vectors_cache(m, r->team, r->block_tokens);
    return (cache_options){.mode = r->cache_mode.mode,
                           .plan = r->cache_mode.plan,
                           .degraded_plan = c->degrade ? r->cache_mode.plan : NULL,
                           .budget_bytes = r->needs.pool,
                           .workspace_bytes = c->workspace_size,
                           .page_format = runtime_page_format(c, m),
                           .max_running = (int)r->max_running,
                           .team = r->team,
                           .block_tokens = r->block_tokens,
                           .ctx_tokens = m->ctx};
}

/* The option that is at fault when a cache cannot be opened. */
static err name_cache_fault(const config *c, err e, fault *why)
{
    char option[64];

    if (e == ERR_MODE || e == ERR_MODEMODEL)
        snprintf(option, sizeof option, "--cache %.40s", c->cache);
    else if (e == ERR_NOROOM)
        snprintf(option, sizeof option, "--cache-size holds no block");
    else
        return e;
    return err_blame(why, e, option);
}

/* Rows of prompts in a step: a block at least, for those who step alone. */
static size_t step_rows(const config *c, size_t block_tokens)
{
    const size_t rows = c->step_tokens > 0 ? (size_t)c->step_tokens : 0;

    return rows > block_tokens ? rows : block_tokens;
}

static err open_forward(runtime *r, const config *c, const model *m, forward **out)
{
    return forward_open(out, m, &r->kern, r->team,
                        step_rows(c, r->block_tokens) + r->max_running, r->block_tokens);
}

/* Bytes of a step's buffers and of the positions. A forward that never steps touches none. */
static err measure_steps(runtime *r, const config *c, const model *m, uint64_t *out)
{
    forward *f = NULL;

    TRY(open_forward(r, c, m, &f));
    *out = forward_bytes(f) + 2 * m->ctx * m->C * sizeof(float) +
           encoder_measure(m, vectors_longest(c, m), r->block_tokens);
    forward_close(f);
    return ERR_OK;
}

static err measure_cache(runtime *r, const config *c, const model *m, uint64_t steps)
{
    const cache_options o = read_cache_options(r, c, m);
    memory_needs *b = &r->needs;
    cache_sizes s;

    TRY(cache_measure(m, &o, &s));
    /* "contexts of 4k tokens": a number that can be compared between models */
    b->context_tokens = m->ctx < RUNTIME_COUNTED_TOKENS ? m->ctx : RUNTIME_COUNTED_TOKENS;
    if (m->both_ways) b->context_tokens = 0;
    b->contexts = m->both_ways ? 0 : s.pool_bytes / cache_bytes_of(m, &s, b->context_tokens);
    b->workspace = s.workspace_bytes;
    /* the tree is made when somebody first wants an answer in a form (server/schema/guides.h)
     */
    b->scratch = steps + s.scratch_bytes + token_tree_measure(r->tokens);
    *(r->cache_mode.plan ? &b->plan : &b->factors) = s.weight_bytes;
    return ERR_OK;
}

/* `auto`: half of what is left after the weights, less where all the rest would not fit.
 * Measured again after it shrank, for workspace and index grow with the pool. */
static err choose_pool(runtime *r, const config *c, const model *m, uint64_t steps,
                       uint64_t free_bytes)
{
    memory_needs *b = &r->needs;
    const uint64_t left = free_bytes > b->weights ? free_bytes - b->weights : 0;
    uint64_t rest;

    b->pool = left / 2;
    TRY(measure_cache(r, c, m, steps));
    rest = b->workspace + b->scratch + b->plan + b->factors;
    if (rest + b->pool <= left) return ERR_OK;
    b->pool = left > rest ? left - rest : 0;
    return measure_cache(r, c, m, steps);
}

static err measure(runtime *r, const config *c, fault *why)
{
    const memory_limit limit = memory_report_limit("");
    uint64_t steps;
    model sizes;

    TRY(model_measure(&sizes, r->file, &(model_options){.ctx = (size_t)c->ctx_size}, why));
    TRY(measure_steps(r, c, &sizes, &steps));
    r->needs = (memory_needs){.weights = sizes.weight_bytes, .pool = c->cache_size};
    if (sizes.both_ways) r->needs.pool = vectors_least_pool(&sizes, r->block_tokens);
    TRY(name_cache_fault(c,
                         r->needs.pool == CONFIG_AUTO
                             ? choose_pool(r, c, &sizes, steps, limit.free)
                             : measure_cache(r, c, &sizes, steps),
                         why));
    return memory_report_write(&r->needs, &limit, r->memory) ? ERR_OK : ERR_NOFIT;
}

/* Served all the same: some models reach further than they were trained, many do not. */
static void warn_of_context(const runtime *r, const config *c)
{
    arch_keys keys = {.g = r->file};
    size_t trained = 0;

    if (arch_of(r->file, &keys.arch, NULL) != ERR_OK ||
        arch_count(&keys, "context_length", SIZE_MAX, &trained) != ERR_OK)
        return;
    if (trained && c->ctx_size > 0 && (uint64_t)c->ctx_size > trained)
        log_line(LOG_WARN, "--ctx-size is beyond the context the model was trained on",
                 "ctx_size", LOG_INT(c->ctx_size), "trained", LOG_INT(trained), NULL);
}

static err begin(runtime *r, const config *c, fault *why)
{
    TRY(open_file(r, c, why));
    warn_of_context(r, c);
    TRY(open_team(r, c));
    TRY(choose_mode(r, c, why));
    return measure(r, c, why);
}

/* --- the second half --- */

static model_options read_model_options(runtime *r, const config *c)
{
    return (model_options){.ctx = (size_t)c->ctx_size,
                           .exact_products = r->exact_products,
                           .permille = &r->packed_permille};
}

/* A number that makes no sense is worth a warning, not the model. */
static void read_sampling(runtime *r)
{
    char passed[64];

    r->sampling = sample_usual;
    sample_read_file(r->file, &r->sampling, passed, sizeof passed);
    if (*passed)
        log_line(LOG_WARN, "a default of sampling in the model's file is passed over", "key",
                 LOG_TEXT(passed), NULL);
}

static err open_weights(runtime *r, const config *c, fault *why)
{
    const model_options o = read_model_options(r, c);

    TRY(model_open_with(&r->weights, r->file, &o, why));
    r->ctx_size = r->weights->ctx;
    read_sampling(r);
    if (tokenizer_size(r->tokens) != r->weights->V)
        return err_blame(why, ERR_SHAPE, "token_embd.weight");
    vectors_choose_pooling(r->weights, c);
    r->cuts_vectors = vectors_may_be_cut(r->file);
    TRY(open_forward(r, c, r->weights, &r->forward));
    return encoder_open(&r->encoder, r->forward, vectors_longest(c, r->weights));
}

/* The weights have been repacked; of the file embedding rows alone are read from now on. */
static err leave_file(runtime *r, fault *why)
{
    TRY(gguf_check_unchanged(r->file, why));
    gguf_drop_pages(r->file);
    return ERR_OK;
}

static err prefault(runtime *r, fault *why)
{
    const gguf_tensor *rows = &r->weights->embedding;

    pages_read(rows->data, rows->bytes);
    return cache_fill(r->cache) ? err_blame(why, ERR_NOMEM, "--prefault") : ERR_OK;
}

/* What is mapped, which is what counts against RLIMIT_MEMLOCK: not what is resident. */
static uint64_t mapped_bytes(void)
{
    FILE *f = fopen("/proc/self/statm", "r");
    unsigned long long pages = 0;

    if (f && fscanf(f, "%llu", &pages) != 1) pages = 0;
    if (f) fclose(f);
    return pages * (uint64_t)sysconf(_SC_PAGESIZE);
}

/* What is in memory stays, and so does what comes: of a file's pages only those in use. */
static err lock_memory(fault *why)
{
    struct rlimit limit = {0};
    char text[200], needed[24], most[24];
    uint64_t bytes;

    if (mlockall(MCL_CURRENT | MCL_ONFAULT) == 0) return ERR_OK;
    bytes = mapped_bytes();
    getrlimit(RLIMIT_MEMLOCK, &limit);
    snprintf(text, sizeof text,
             "--mlock: %s are mapped, RLIMIT_MEMLOCK is %s (`ulimit -l %llu`)",
             memory_report_bytes(bytes, needed), memory_report_bytes(limit.rlim_cur, most),
             (unsigned long long)(bytes / 1024 / 1024 + 64) * 1024);
    return err_blame(why, ERR_LOCK, text);
}

/* For the cache alone knows what it resolved `auto` to. */
static void tell_mode(runtime *r, const config *c)
{
    cache_stats s;

    if (r->weights->both_ways) r->cache_mode.plan_missing = false;
    if (r->weights->both_ways) return;
    cache_read_stats(r->cache, &s);
    mode_choice_tell(&r->cache_mode, s.mode, c->max_kl);
}

static err finish(runtime *r, const config *c, fault *why)
{
    cache_options o;

    TRY(open_weights(r, c, why));
    o = read_cache_options(r, c, r->weights);
    TRY(name_cache_fault(c, cache_open(&r->cache, r->weights, &r->kern, &o), why));
    tell_mode(r, c);
    TRY(leave_file(r, why));
    if (c->prefault) TRY(prefault(r, why));
    return c->mlock ? lock_memory(why) : ERR_OK;
}

/* A 4-bit model as floats is seven times as large: what `serve` has room for may not fit here,
 * and the kernel's killer says less than a sentence. */
static err check_expanded(runtime *r, const config *c, fault *why)
{
    const model_options o = read_model_options(r, c);
    const memory_limit limit = memory_report_limit("");
    char text[sizeof why->field], needed[24], there[24];
    model sizes;

    if (!o.exact_products) return ERR_OK;
    TRY(model_measure(&sizes, r->file, &o, why));
    if (sizes.weight_bytes <= limit.free) return ERR_OK;
    snprintf(text, sizeof text,
             "--products exact: weights as floats take %s of %s free (--products served)",
             memory_report_bytes(sizes.weight_bytes, needed),
             memory_report_bytes(limit.free, there));
    return err_blame(why, ERR_NOMEM, text);
}

static err open_model(runtime *r, const config *c, fault *why)
{
    TRY(open_file(r, c, why));
    TRY(check_expanded(r, c, why));
    TRY(open_team(r, c));
    TRY(open_weights(r, c, why));
    return leave_file(r, why);
}

/* A config has the default of every option, so commands without --products must not end here.
 */
static err open_measured(runtime *r, const config *c, fault *why)
{
    r->exact_products = strcmp(c->products, "exact") == 0;
    return open_model(r, c, why);
}

/* --- all of it --- */

static err name_model_file(runtime *r, const config *c, const char *path)
{
    r->model_path = strdup(path);
    r->model_name = name_model(c, path);
    return r->model_path && r->model_name ? ERR_OK : ERR_NOMEM;
}

/* A part of opening. On failure `what` says what is at fault. */
static err do_part(runtime *r, const config *c, err (*part)(runtime *, const config *, fault *),
                   char *what, size_t what_bytes)
{
    fault why = {0};
    const err e = part(r, c, &why);

    if (e == ERR_OK) return e;
    if (e == ERR_NOPLAN)
        plans_explain(r->model_path, r->cache_mode.mode, what, what_bytes);
    else if (e == ERR_NOFIT)
        snprintf(what, what_bytes, "%s", r->memory);
    else if (why.field[0] == '-') /* an option is at fault, not the file */
        snprintf(what, what_bytes, "%s", why.field);
    else
        snprintf(what, what_bytes, "%s%s%s", r->model_path, why.field[0] ? ": " : "",
                 why.field);
    return e;
}

err runtime_begin(runtime *r, const config *c, const char *path, char *what, size_t what_bytes)
{
    TRY(name_model_file(r, c, path));
    return do_part(r, c, begin, what, what_bytes);
}

err runtime_finish(runtime *r, const config *c, char *what, size_t what_bytes)
{
    return do_part(r, c, finish, what, what_bytes);
}

/* Whoever has a context filled would get logits of a model that has none. */
static err check_generates(const runtime *r, char *what, size_t what_bytes)
{
    if (!r->weights->both_ways) return ERR_OK;
    snprintf(what, what_bytes, "%s", r->model_path);
    return ERR_ENCODER;
}

err runtime_open(runtime *r, const config *c, const char *path, char *what, size_t what_bytes)
{
    *r = (runtime){0};
    TRY(runtime_begin(r, c, path, what, what_bytes));
    TRY(runtime_finish(r, c, what, what_bytes));
    return check_generates(r, what, what_bytes);
}

err runtime_open_model(runtime *r, const config *c, const char *path, char *what,
                       size_t what_bytes)
{
    *r = (runtime){0};
    TRY(name_model_file(r, c, path));
    TRY(do_part(r, c, open_model, what, what_bytes));
    return check_generates(r, what, what_bytes);
}

err runtime_open_measured(runtime *r, const config *c, const char *path, char *what,
                          size_t what_bytes)
{
    *r = (runtime){0};
    TRY(name_model_file(r, c, path));
    TRY(do_part(r, c, open_measured, what, what_bytes));
    return check_generates(r, what, what_bytes);
}

/* A name that leads nowhere is no change, for a file may be removed once it is mapped, and one
 * that is removed before it is written anew comes back as another inode. */
bool runtime_file_changed(const runtime *r)
{
    uint64_t now[2];

    if (torn_file_met() || gguf_check_unchanged(r->file, NULL) != ERR_OK) return true;
    return identify_file(r->model_path, now) &&
           (now[0] != r->file_id[0] || now[1] != r->file_id[1]);
}

void runtime_close(runtime *r)
{
    encoder_close(r->encoder);
    forward_close(r->forward);
    cache_close(r->cache);
    mode_choice_close(&r->cache_mode);
    threads_close(r->team);
    model_close(r->weights);
    chat_setup_close(&r->chat);
    tokenizer_free(r->tokens);
    gguf_close(r->file);
    free(r->model_path);
    free(r->model_name);
    *r = (runtime){0};
}
