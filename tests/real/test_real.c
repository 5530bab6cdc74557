/* test_real.c - one real model against figures of llama.cpp; see record.py for what they are.
 *
 *   XQUANTD_REAL_MODEL=FILE.gguf XQUANTD_REAL_FIGURES=NAME.json test_real
 *
 * Both engines round activations to 8 bits before they multiply, each in its own way, and a
 * flip in one layer moves all that comes after it. So ids are equal, and logits as near as two
 * such roundings are: llama.cpp with and without flash attention differs from itself by as
 * much. */
#include <cjson/cJSON.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/kern/cpu.h"
#include "engine/model/model_load.h"
#include "engine/model/sample.h"
#include "server/plans.h"
#include "server/threads.h"
#include "tests/lab.h"
#include "tests/read_file.h"
#include "tests/test.h"
#include "xcache/calibrate/comparison.h"

enum { TEXT_BYTES = 300000, LOGPROBS = 512, KL_TOKENS = 1024, GREEDY = 64, PROMPTS = 4 };

/* --- the model's file and its figures --- */

typedef struct figures {
    const char *path;
    cJSON *all;
    char *json;
    gguf *file;
    tokenizer *tokens;
    int32_t *ids; /* of the text */
    size_t n;
} figures;

static const cJSON *figure(const figures *f, const char *name)
{
    return cJSON_GetObjectItemCaseSensitive(f->all, name);
}

static uint32_t fnv(const void *data, size_t n)
{
    const uint8_t *bytes = data;
    uint32_t h = 0x811c9dc5;

    for (size_t i = 0; i < n; i++) h = (h ^ bytes[i]) * 0x01000193;
    return h;
}

static int32_t *encode(const figures *f, const char *text, size_t n, size_t before,
                       size_t *count)
{
    int32_t *ids = malloc((tokenizer_most_ids(f->tokens, n) + before + 1) * sizeof *ids);

    CHECK(ids &&
          tokenizer_encode(f->tokens, text, n, TOKENIZER_PLAIN, ids + before, count) == ERR_OK);
    return ids;
}

/* The text as a prompt: behind BOS where the model wants one. */
static void encode_text(figures *f)
{
    const size_t before = tokenizer_adds_bos(f->tokens);
    char *text = read_file("models/calibration.txt", NULL);
    size_t n;

    f->ids = encode(f, text, TEXT_BYTES, before, &n);
    if (before) f->ids[0] = tokenizer_bos(f->tokens);
    f->n = n + before;
    free(text);
}

static void open_figures(figures *f)
{
    const char *path = getenv("XQUANTD_REAL_MODEL"), *json = getenv("XQUANTD_REAL_FIGURES");
    fault why = {0};

    *f = (figures){.path = path};
    if (!path || !json) SKIP("no real model is named");
    f->json = read_file(json, NULL);
    f->all = cJSON_Parse(f->json);
    CHECK(f->all != NULL);
    CHECK(gguf_open(&f->file, path, &why) == ERR_OK);
    CHECK(tokenizer_new(&f->tokens, f->file, &why) == ERR_OK);
    encode_text(f);
}

static void close_figures(figures *f)
{
    tokenizer_free(f->tokens);
    gguf_close(f->file);
    cJSON_Delete(f->all);
    free(f->json);
    free(f->ids);
}

/* --- ids --- */

TEST(real_ids_of_hard_strings_are_the_peers)
{
    char *lines = read_file("tests/real/strings.txt", NULL), *rest = lines, *line;
    const cJSON *want;
    size_t wrong = 0;
    figures f;

    open_figures(&f);
    cJSON_ArrayForEach (want, figure(&f, "strings")) {
        cJSON *text;
        int32_t *ids;
        size_t n;

        line = strsep(&rest, "\n");
        CHECK(line && *line);
        text = cJSON_Parse(line);
        ids = encode(&f, cJSON_GetStringValue(text), strlen(cJSON_GetStringValue(text)), 0, &n);
        if (!cJSON_IsNull(want) && fnv(ids, n * sizeof *ids) != (uint32_t)want->valuedouble &&
            wrong++ < 20)
            fprintf(stderr, "other ids: %s\n", line);
        free(ids);
        cJSON_Delete(text);
    }
    CHECK(cJSON_GetArraySize(figure(&f, "strings")) > 500 && rest && !*rest && !wrong);
    free(lines);
    close_figures(&f);
}

TEST(real_ids_of_a_long_text_are_the_peers)
{
    const cJSON *text;
    figures f;

    open_figures(&f);
    text = figure(&f, "text");
    CHECK((double)f.n == cJSON_GetObjectItemCaseSensitive(text, "count")->valuedouble);
    CHECK(fnv(f.ids, f.n * sizeof *f.ids) ==
          (uint32_t)cJSON_GetObjectItemCaseSensitive(text, "fnv")->valuedouble);
    close_figures(&f);
}

/* --- logits, as served --- */

/* Log-probabilities of the next token: their mean difference is no bias, and the usual one that
 * of rounding. */
TEST(real_logprobs_are_the_peers_but_for_rounding)
{
    double sum = 0, off = 0;
    const cJSON *want;
    float *logits;
    size_t t = 0, V;
    figures f;
    lab l;

    open_figures(&f);
    lab_open_for(&l, f.path, "kv16", 2, KL_TOKENS);
    V = l.m->V;
    logits = malloc(LOGPROBS * V * sizeof *logits);
    cache_end(lab_read(&l, f.ids, LOGPROBS, LAB_BLOCKS, logits));
    cJSON_ArrayForEach (want, figure(&f, "logprobs")) {
        const double ours = (double)sample_logprob(logits + t * V, V, f.ids[t + 1]);

        sum += ours - want->valuedouble;
        off += fabs(ours - want->valuedouble);
        t++;
    }
    fprintf(stderr, "log-probabilities: %.4f apart, biased by %.4f\n", off / (double)t,
            sum / (double)t);
    CHECK(t == LOGPROBS - 1 && fabs(sum / (double)t) < .02 && off / (double)t < .12);
    free(logits);
    lab_close(&l);
    close_figures(&f);
}

/* How far the peer's token is behind our best one, in nats. */
static double behind(const float *logits, size_t V, int32_t id)
{
    double best = (double)logits[0];

    for (size_t i = 1; i < V; i++) best = fmax(best, (double)logits[i]);
    return best - (double)logits[id];
}

/* The peer's answer, read token by token: each is our best one, or as good as that. */
static size_t follow(lab *l, const figures *f, size_t prompt, const cJSON *answer,
                     double *worst)
{
    const size_t V = l->m->V;
    float *logits = malloc(prompt * V * sizeof *logits), *last = logits + (prompt - 1) * V;
    context *c = lab_read(l, f->ids, prompt, LAB_BLOCKS, logits);
    size_t same = 0;
    const cJSON *id;

    cJSON_ArrayForEach (id, answer) {
        const int32_t next = (int32_t)id->valuedouble;
        const double off = behind(last, V, next);

        same += off == 0;
        *worst = fmax(*worst, off);
        lab_step(l, c, &next, 1, last);
    }
    cache_end(c);
    free(logits);
    return same;
}

TEST(real_greedy_answers_are_the_peers_where_the_choice_is_clear)
{
    size_t same = 0, prompt = 32;
    const cJSON *answer;
    double worst = 0;
    figures f;
    lab l;

    open_figures(&f);
    lab_open_for(&l, f.path, "kv16", 2, KL_TOKENS);
    cJSON_ArrayForEach (answer, figure(&f, "greedy")) {
        CHECK(cJSON_GetArraySize(answer) == GREEDY);
        same += follow(&l, &f, prompt, answer, &worst);
        prompt += 32;
    }
    fprintf(stderr, "greedy: %zu of %d tokens are the best, the others %.3f behind at most\n",
            same, PROMPTS * GREEDY, worst);
    CHECK(prompt == 32 * (PROMPTS + 1) && same >= PROMPTS * GREEDY * 95 / 100 && worst < .5);
    lab_close(&l);
    close_figures(&f);
}

/* --- the cache, with exact products --- */

/* A mode, and the peer's cache that it must be nearer to exact than. */
typedef struct rival {
    const char *mode, *peer;
} rival;

static const rival rivals[] = {{"kivi8", "q8_0"}, {"xq8", "q8_0"}, {"kivi4", "q4_0"},
                               {"xq4", "q4_0"},   {"cl4", "q4_0"}, {"klt12", "q4_0"}};
enum { RIVALS = sizeof rivals / sizeof rivals[0] };

static void check_rivals(comparison *c, const figures *f, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        const double ours = comparison_mean(c, i + 1).kl,
                     theirs = cJSON_GetObjectItemCaseSensitive(figure(f, "kl"), rivals[i].peer)
                                  ->valuedouble;

        fprintf(stderr, "%s: KL %.5f, %s %.5f\n", rivals[i].mode, ours, rivals[i].peer, theirs);
        CHECK(ours >= 0 && ours < theirs);
    }
}

TEST(real_modes_are_nearer_to_exact_than_the_peers_types)
{
    const model_options exact = {.ctx = KL_TOKENS, .exact_products = true};
    reader_model r = {.block_tokens = CACHE_BLOCK_TOKENS};
    reader_room room = {.tokens = KL_TOKENS};
    reader_mode modes[RIVALS];
    comparison *c = NULL;
    model *m = NULL;
    plan *p = NULL;
    const char *at;
    size_t n = 0;
    figures f;
    kern k;

    open_figures(&f);
    kern_init(&k, cpu_flags());
    r.kern = &k;
    CHECK(model_open_with(&m, f.file, &exact, NULL) == ERR_OK);
    r.m = m;
    CHECK(threads_open(&r.team, 2) == ERR_OK);
    room.page_format = cache_choose_page_format(m);
    /* without a plan klt12 is left out, which is last */
    if (plans_open(f.path, "klt12", f.file, &p, NULL) != ERR_OK) p = NULL;
    for (; n < RIVALS - !p; n++)
        modes[n] = (reader_mode){rivals[n].mode, n == RIVALS - 1 ? p : NULL};
    CHECK(comparison_open(&c, &r, modes, n, &room, &at) == ERR_OK);
    CHECK(comparison_read(c, &(reader_text){f.ids, 1, KL_TOKENS}, &(stage){0}) == ERR_OK);
    check_rivals(c, &f, n);
    comparison_close(c);
    plan_close(p);
    threads_close(r.team);
    model_close(m);
    close_figures(&f);
}
