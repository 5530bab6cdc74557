/* cmd_complete.c - one prompt on the command line, to stdout.
 *
 * The same runtime, batch and generation as the daemon's, so that a prompt gives the tokens
 * here that it gives there: what this prints is a way to test the others. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "config/config.h"
#include "engine/clock.h"
#include "server/cmd/command.h"
#include "server/document.h"
#include "server/runtime.h"
#include "server/sched/batch.h"
#include "server/text.h"

/* Why the command failed, for one line on stderr. */
typedef struct complaint {
    char about[4400];
    const char *text;
} complaint;

/* "0,17,4" -> ids, each below V. */
static bool parse_ids(const char *list, size_t V, generation_in *in)
{
    /* an id and its comma take two letters at least */
    in->ids = malloc((strlen(list) / 2 + 1) * sizeof *in->ids);
    if (!in->ids) return false;
    for (const char *at = list; *at;) {
        char *end;
        const unsigned long id = strtoul(at, &end, 10);

        /* strtoul alone would take a sign or blanks, and -1 is an id then. */
        if (end == at || *at < '0' || *at > '9' || id >= V || (*end && *end != ','))
            return false;
        in->ids[in->n_ids++] = (int32_t)id;
        at = end + (*end == ',');
    }
    return true;
}

/* The prompt's text, for the caller to free; NULL: why says what failed. */
static char *read_text(const config *c, size_t *n, complaint *why)
{
    char *text = *c->prompt_file ? document_read(c->prompt_file, n) : strdup(c->prompt);

    if (text && !*c->prompt_file) *n = strlen(text);
    if (text) return text;
    snprintf(why->about, sizeof why->about, "%.4000s", c->prompt_file);
    why->text = errno == EFBIG ? "a prompt file holds at most 256 MiB"
                               : strerror(errno ? errno : ENOMEM);
    return NULL;
}

/* --prompt-ids, --prompt-file, --prompt: the most exact one that is given. */
static bool read_prompt(const config *c, const runtime *r, generation_in *in, complaint *why)
{
    char *text;
    size_t n = 0;
    err e;

    why->about[0] = '\0';
    if (*c->prompt_ids) {
        why->text = "--prompt-ids wants token ids below the vocabulary's size: 0,17,4";
        return parse_ids(c->prompt_ids, r->weights->V, in);
    }
    text = read_text(c, &n, why);
    if (!text) return false;
    e = document_encode(r->tokens, text, n, TOKENIZER_SPECIALS, &in->ids, &in->n_ids);
    free(text);
    why->text = err_text(e);
    return e == ERR_OK;
}

static void fill_sampling(const config *c, generation_in *in)
{
    in->max_tokens = (size_t)c->n_predict;
    in->top = c->logprobs > 0 ? (int)c->logprobs : -1;
    in->sample = sample_usual;
    in->sample.temperature = (float)c->temp;
    in->sample.top_k = (int)c->top_k;
    in->sample.top_p = (float)c->top_p;
    in->sample.min_p = (float)c->min_p;
    in->sample.repetition_penalty = (float)c->repetition_penalty;
    in->sample.seed = (uint64_t)c->seed;
}

/* --- output --- */

/* 0 where the end was never reached: an answer without a token has no time of its first one. */
static double milliseconds(uint64_t from, uint64_t to)
{
    return to > from ? (double)(to - from) * 1e-6 : 0;
}

static void add_top(text_builder *t, const generation *g)
{
    const size_t k = (size_t)g->in.top;

    text_add_string(t, ",\"top_logprobs\":[");
    for (size_t i = 0; i < g->out.n_tokens; i++) {
        text_add_string(t, i ? ",[" : "[");
        for (size_t j = 0; j < k; j++) {
            const sample_top *top = &g->out.top[i * k + j];

            text_addf(t, "%s{\"id\":%d,\"logprob\":", j ? "," : "", top->id);
            text_add_float(t, top->logprob);
            text_add_string(t, "}");
        }
        text_add_string(t, "]");
    }
    text_add_string(t, "]");
}

/* The first token ends the prefill, so decode has one token less than the answer. */
static void add_timings(text_builder *t, const generation *g)
{
    const generation_out *o = &g->out;
    const uint64_t first = o->first_ns ? o->first_ns : o->ended_ns;
    const double decode = milliseconds(first, o->ended_ns);
    const double rate = o->n_tokens > 1 && decode > 0
                            ? (double)(o->n_tokens - 1) * 1000 / decode
                            : 0;

    text_addf(t, ",\"timings\":{\"prefill_ms\":%.3f,\"decode_ms\":%.3f,\"tokens_per_s\":%.3f}",
              milliseconds(o->started_ns, first), decode, rate);
}

static bool print_json(const runtime *r, const generation *g, const char *mode)
{
    text_builder t = {0};
    char *text;

    text_add_string(&t, "{\"model\":");
    text_add_json_string(&t, r->model_name);
    text_addf(&t, ",\"cache\":\"%s\",\"prompt_tokens\":%zu,\"ids\":[", mode, g->in.n_ids);
    for (size_t i = 0; i < g->out.n_tokens; i++)
        text_addf(&t, "%s%d", i ? "," : "", g->out.tokens[i].id);
    text_add_string(&t, "],\"text\":");
    text_add_json(&t, g->out.text, g->out.text_bytes);
    text_add_string(&t, ",\"finish_reason\":");
    text_add_json_string(&t, generation_finish_name(g->out.finish));
    if (g->in.top > 0) add_top(&t, g);
    add_timings(&t, g);
    text_addf(&t, ",\"cache_bytes\":%zu}\n", g->out.cache_bytes);
    text = text_take(&t, NULL);
    if (text) fputs(text, stdout);
    free(text);
    return text;
}

/* --- the run --- */

/* Show what there is of the answer beyond `shown` bytes; returns how much then is. */
static size_t show(const generation *g, bool over, size_t shown)
{
    const size_t n = generation_tokens(g);
    /* Up to the last token's end while it runs: bytes behind that may be the beginning of a
     * stop string, or of a character. */
    const size_t until = over ? g->out.text_bytes : n ? g->out.tokens[n - 1].text_end : 0;

    if (until <= shown) return shown;
    fwrite(g->out.text + shown, 1, until - shown, stdout);
    fflush(stdout);
    return until;
}

/* The scheduler's own batch, stepped by this thread: one generation, no queue. Step to the end;
 * unless `quiet`, text goes out as it comes. */
static err generate(runtime *r, generation *g, bool quiet)
{
    size_t shown = 0;
    bool over = false;
    batch b;
    err e;

    g->out.started_ns = clock_ns();
    TRY(batch_open(&b, r, 1));
    e = batch_add(&b, g->group);
    while (e == ERR_OK && !over) {
        batch_step(&b);
        over = batch_take(&b) != NULL;
        if (!quiet) shown = show(g, over, shown);
    }
    g->out.ended_ns = clock_ns();
    batch_close(&b);
    return e;
}

static err complete(const config *c, runtime *r, generation_in *in, complaint *why)
{
    const size_t room = in->n_ids < r->ctx_size ? r->ctx_size - in->n_ids : 0;
    generation_group *alone;
    generation *g = NULL;
    cache_stats stats;
    err e;

    /* the answer gives way, but a prompt that is too long is an error of run_check */
    if (in->max_tokens > room) in->max_tokens = room;
    snprintf(why->about, sizeof why->about, "prompt of %zu tokens, context of %zu", in->n_ids,
             r->ctx_size);
    TRY(run_check(r, in->n_ids, in->max_tokens, 1));
    TRY(generation_new(&g, r->tokens, in));
    e = generation_group_new(&alone, &g, 1);
    if (e == ERR_OK) e = generate(r, g, c->json);
    cache_read_stats(r->cache, &stats);
    why->about[0] = '\0';
    if (e == ERR_OK && c->json && !print_json(r, g, stats.mode)) e = ERR_NOMEM;
    /* The newline is the terminal's, not the model's: in JSON the text ends as it ended. */
    if (e == ERR_OK && !c->json) putchar('\n');
    generation_free(g);
    return e;
}

static int fail(const complaint *why)
{
    fprintf(stderr, "xquantd: %s%s%s\n", why->about, *why->about ? ": " : "", why->text);
    return 1;
}

static int run_config(config *c)
{
    char path[COMMAND_PATH];
    complaint why = {{0}, NULL};
    generation_in in = {0};
    runtime r = {0};
    err e = command_locate_model(c, path, sizeof path, why.about, sizeof why.about);
    int code = 1;

    if (e == ERR_OK) e = runtime_open(&r, c, path, why.about, sizeof why.about);
    why.text = err_text(e);
    if (e == ERR_OK && read_prompt(c, &r, &in, &why)) {
        fill_sampling(c, &in);
        e = complete(c, &r, &in, &why);
        why.text = err_text(e);
        code = e != ERR_OK;
    }
    if (code) fail(&why);
    free(in.ids);
    runtime_close(&r);
    return code;
}

int cmd_complete(int argc, char **argv)
{
    return command_run(CONFIG_COMPLETE, argc, argv, run_config);
}
