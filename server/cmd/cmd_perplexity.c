/* cmd_perplexity.c - `xquantd perplexity`: the quality of cache modes on a text.
 *
 *   model -> text, long enough? -> modes, tuning -> plan -> evaluate_modes -> table or JSON
 *
 * A figure that is not what was asked for is worse than none: a text that is too short, an
 * option that no mode looks at and a mode that this model cannot have are errors before
 * anything runs. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "config/config.h"
#include "server/cmd/command.h"
#include "server/cmd/corpus.h"
#include "server/cmd/evaluate.h"
#include "server/cmd/plan_maker.h"
#include "server/cmd/tuning.h"
#include "server/document.h"
#include "server/plans.h"
#include "server/progress.h"
#include "server/runtime.h"
#include "server/text.h"
#include "xcache/calibrate/similarity.h"

extern char **environ;

enum { PROMPTS = 32 /* of the greedy comparison */ };

/* What the command holds while it runs, and what is at fault if it fails. */
typedef struct session {
    const config *c;
    runtime runtime;
    char *list;         /* --cache, cut into names */
    reader_mode *modes; /* [n], kv32 not among them */
    plan *plan;         /* of the klt modes among them; NULL: there is none */
    size_t n;
    int32_t *ids; /* [n_ids] the whole text */
    size_t n_ids;
    int32_t *rows, *prompts; /* [chunks,ctx], [PROMPTS,EVALUATE_PROMPT_TOKENS] cut from it */
    codec_tuning tuning;
    plan_predictor predictor; /* by --predict; else the one that suits the model */
    evaluate_result *results; /* [1 + n] */
    double floor;             /* KL of kv16 as served, on the first row */
    similarity *alike;        /* [L-1]; NULL: not asked for */
    progress bar;
    double shown, share; /* of the bar: what is done, and what the part at work is */
    bool told;           /* about is all there is to say */
    char about[4400];
} session;

/* --- output --- */

static void add_result(text_builder *t, const evaluate_result *r, bool greedy)
{
    text_addf(t, "{\"mode\":\"%s\",\"ppl\":%.9g,\"kl\":%.6g,\"kl_p99\":%.6g,\"kl_max\":%.6g",
              r->mode, r->ppl, r->kl, r->kl_p99, r->kl_max);
    text_addf(t, ",\"top1\":%.6g,\"kl_at\":[", r->top1);
    for (size_t d = 0; d < r->n_at; d++) text_addf(t, "%s%.6g", d ? "," : "", r->kl_at[d]);
    text_add_string(t, "]");
    text_addf(t, ",\"bits_per_element\":%.6g,\"bytes_per_token\":%.9g,\"ratio\":%.6g",
              r->bits_per_element, r->bytes_per_token, r->ratio);
    text_addf(t, ",\"rebuild_us_per_token\":%.4g", r->rebuild_us);
    if (greedy)
        text_addf(t, ",\"greedy_equal\":%.6g,\"greedy_first_differs\":%.6g", r->greedy_equal,
                  r->greedy_first);
    text_add_string(t, "}");
}

/* Of neighbouring layers: what cross-layer modes live on. */
static void add_similarity(text_builder *t, const session *s)
{
    static const char *const names[] = {"x", "k", "v"};
    const size_t pairs = s->runtime.weights->L - 1;

    text_add_string(t, ",\"similarity\":{");
    for (int i = 0; i < 3; i++) {
        text_addf(t, "%s\"%s\":[", i ? "," : "", names[i]);
        for (size_t l = 0; l < pairs; l++) {
            const similarity *a = &s->alike[l];

            text_addf(t, "%s%.6g", l ? "," : "", i == 0 ? a->x : i == 1 ? a->k : a->v);
        }
        text_add_string(t, "]");
    }
    text_add_string(t, "}");
}

/* How rebuilt keys and values were kept. */
static const char *workspace_word(const session *s)
{
    static const char *const words[] = {
        [KV_FLOAT] = "fp32", [KV_HALF] = "fp16", [KV_INT8] = "int8"};

    if (s->c->workspace_size == 0) return "off";
    if (strcmp(s->c->window, "served") != 0) return "fp32";
    return words[runtime_page_format(s->c, s->runtime.weights)];
}

/* All that a figure depends on, so that two files of results can be compared. */
static void add_conditions(text_builder *t, const session *s)
{
    char name[32];

    text_add_string(t, "{\"model\":");
    text_add_json_string(t, s->runtime.model_name);
    text_add_string(t, ",\"file\":");
    text_add_json_string(t, s->c->file);
    text_addf(t,
              ",\"ctx\":%zu,\"chunks\":%zu,\"window\":\"%s\",\"block_tokens\":%zu,"
              "\"workspace\":\"%s\",\"products\":\"%s\",\"predict\":\"%s\",\"tuning\":",
              (size_t)s->c->ctx, (size_t)s->c->chunks, s->c->window, s->runtime.block_tokens,
              workspace_word(s), s->c->products, plans_predictor_name(s->predictor, name));
    tuning_add_json(t, &s->tuning);
}

static bool print_json(const session *s)
{
    text_builder t = {0};
    char *text;

    add_conditions(&t, s);
    text_add_string(&t, ",\"results\":[");
    for (size_t i = 0; i <= s->n; i++) {
        if (i) text_add_string(&t, ",");
        add_result(&t, &s->results[i], s->c->greedy);
    }
    text_add_string(&t, "]");
    /* Beside the table, not in it: it has other products than the rows. */
    text_addf(&t, ",\"served_floor\":{\"mode\":\"kv16\",\"kl\":%.6g,\"chunks\":1}", s->floor);
    if (s->alike) add_similarity(&t, s);
    text_add_string(&t, "}\n");
    text = text_take(&t, NULL);
    if (text) fputs(text, stdout);
    free(text);
    return text && fflush(stdout) == 0;
}

static void print_similarity(const session *s)
{
    printf("\nmean cosine of neighbouring layers\n%-8s %8s %8s %8s\n", "layers", "x", "k", "v");
    for (size_t l = 0; l + 1 < s->runtime.weights->L; l++)
        printf("%3zu,%3zu  %8.4f %8.4f %8.4f\n", l, l + 1, s->alike[l].x, s->alike[l].k,
               s->alike[l].v);
}

static void print_conditions(const session *s)
{
    printf(
        "%s on %s, ctx %zu, chunks %zu, workspace %s, %s products\n"
        "KL in nats and top-1 against kv32; as served, kv16 has KL %.3g on the first row\n\n",
        s->runtime.model_name, s->c->file, (size_t)s->c->ctx, (size_t)s->c->chunks,
        workspace_word(s), s->c->products, s->floor);
}

static bool print_table(const session *s)
{
    print_conditions(s);
    printf("%-8s %8s %9s %9s %9s %7s %7s %9s %6s%s\n", "mode", "ppl", "KL", "p99", "max",
           "top-1", "bits", "bytes/tok", "ratio", s->c->greedy ? "  greedy  first" : "");
    for (size_t i = 0; i <= s->n; i++) {
        const evaluate_result *r = &s->results[i];

        printf("%-8s %8.3f %9.3g %9.3g %9.3g", r->mode, r->ppl, r->kl, r->kl_p99, r->kl_max);
        printf(" %7.4f %7.4f %9.1f %6.2f", r->top1, r->bits_per_element, r->bytes_per_token,
               r->ratio);
        if (s->c->greedy) printf("  %6.4f %6.1f", r->greedy_equal, r->greedy_first);
        putchar('\n');
    }
    if (s->alike) print_similarity(s);
    return fflush(stdout) == 0;
}

/* --- the run --- */

static bool is_listed(const session *s, const char *name)
{
    for (size_t i = 0; i < s->n; i++)
        if (strcmp(s->modes[i].name, name) == 0) return true;
    return strcmp(name, "kv32") == 0; /* a row in any case */
}

/* "kivi4,xq4" -> modes, each once. There are no more names than letters, so rooms need no
 * count. */
static err split_modes(session *s)
{
    const size_t most = strlen(s->c->cache) + 1;
    char *at, *name;

    s->list = strdup(s->c->cache);
    s->modes = calloc(most, sizeof *s->modes);
    s->results = calloc(most + 1, sizeof *s->results);
    if (!s->list || !s->modes || !s->results) return ERR_NOMEM;
    for (at = s->list; (name = strsep(&at, ","));)
        if (!is_listed(s, name)) s->modes[s->n++].name = name;
    return ERR_OK;
}

/* An option that changes no row of the table would be taken for one that does not matter. */
static err check_tuning(session *s)
{
    const model *m = s->runtime.weights;
    const char *idle = tuning_idle_option(s->c, s->modes, s->n, m);

    s->tuning = tuning_read(s->c);
    s->predictor = plan_maker_default(&s->runtime);
    if (idle)
        snprintf(s->about, sizeof s->about,
                 "%s: no mode of --cache %.64s has it with this model", idle, s->c->cache);
    else if (*s->c->predict && !plans_parse_predictor(s->c->predict, m->D, &s->predictor))
        snprintf(s->about, sizeof s->about,
                 "--predict %.64s: is none of: full none rank:N, N up to %zu", s->c->predict,
                 m->D);
    else
        return ERR_OK;
    s->told = true;
    return ERR_RANGE;
}

/* A plan that is missing is made, for a table with a hole would be read as a mode that fails.
 */
static err open_plan(session *s)
{
    const plan_predictor *named = *s->c->predict ? &s->predictor : NULL;

    for (size_t i = 0; i < s->n; i++) {
        reader_mode *m = &s->modes[i];
        fault why = {0};
        err e = ERR_OK;

        /* One plan serves klt at every ratio: the first such mode opens it. */
        if (codec_ratio(m->name) == 0) continue;
        if (!s->plan) e = plan_maker_open(&s->runtime, m->name, named, &s->plan, &why);
        snprintf(s->about, sizeof s->about, "%s", why.field);
        TRY(e);
        m->plan = s->plan;
    }
    return ERR_OK;
}

/* A text, or by its name dialogues, which are written as the model's chat template does. */
static err encode_text(session *s, char *text, size_t n)
{
    const runtime *r = &s->runtime;
    const char *end = strrchr(s->c->file, '.');

    if (end && strcmp(end, ".jsonl") == 0)
        return corpus_read_dialogues(r->tokens, r->chat.templates, text, n, &s->ids, &s->n_ids);
    return document_encode(r->tokens, text, n, TOKENIZER_PLAIN, &s->ids, &s->n_ids);
}

/* ERR_SYSTEM leaves errno to `fail`; a stream that failed may not have set it. */
static err read_file(session *s)
{
    size_t n = 0;
    char *text;
    err e;

    snprintf(s->about, sizeof s->about, "%.4000s", s->c->file);
    /* document_read says by errno what a file lacks; where it only had no memory it sets none.
     */
    errno = ENOMEM;
    text = document_read(s->c->file, &n);
    if (!text) return ERR_SYSTEM;
    e = encode_text(s, text, n);
    free(text);
    return e;
}

/* Is there as much text as was asked for? A shorter measurement is never passed off as it. */
static err check_length(session *s)
{
    const size_t ctx = (size_t)s->c->ctx;
    const size_t rows = document_count_rows(s->runtime.tokens, s->n_ids, ctx);
    char *end = s->about + strlen(s->about);
    const size_t room = sizeof s->about - strlen(s->about);

    if (s->c->greedy && s->n_ids < EVALUATE_PROMPT_TOKENS + PROMPTS) {
        snprintf(end, room, ": %zu tokens; --greedy wants %d", s->n_ids,
                 EVALUATE_PROMPT_TOKENS + PROMPTS);
        s->told = true;
        return ERR_EMPTY;
    }
    if (rows >= (size_t)s->c->chunks) return ERR_OK;
    snprintf(end, room, ": %zu tokens hold %zu rows of --ctx %zu; --chunks wants %zu", s->n_ids,
             rows, ctx, (size_t)s->c->chunks);
    s->told = true;
    return ERR_EMPTY;
}

/* Prompts come from the whole text, at even distances: an answer should not depend on where
 * --chunks ends. */
static err cut_text(session *s)
{
    const tokenizer *t = s->runtime.tokens;
    const document_shape rows = {(size_t)s->c->chunks, (size_t)s->c->ctx, 0},
                         prompts = {PROMPTS, EVALUATE_PROMPT_TOKENS,
                                    (s->n_ids - EVALUATE_PROMPT_TOKENS) / PROMPTS};

    TRY(document_cut(t, s->ids, &rows, &s->rows));
    return s->c->greedy ? document_cut(t, s->ids, &prompts, &s->prompts) : ERR_OK;
}

static reader_text text_of(const session *s)
{
    return (reader_text){s->rows, (size_t)s->c->chunks, (size_t)s->c->ctx};
}

static void show_progress(void *arg, double done)
{
    session *s = arg;

    progress_show(&s->bar, s->shown + s->share * done);
}

static evaluate_in what_to_measure(session *s)
{
    const bool served = strcmp(s->c->window, "served") == 0;

    return (evaluate_in){.text = text_of(s),
                         .modes = s->modes,
                         .n_modes = s->n,
                         .tuning = &s->tuning,
                         .streaming = s->c->workspace_size == 0,
                         /* Without --window served, rebuilt keys stay floats: the figure is the
                          * codec's then, and not that of the pages' int8. */
                         .page_format = served ? runtime_page_format(s->c, s->runtime.weights)
                                               : KV_FLOAT,
                         .prompts = s->prompts,
                         .n_prompts = s->prompts ? PROMPTS : 0,
                         .progress = show_progress,
                         .arg = s};
}

/* The floor reads one row in two modes, the others all rows in theirs; answers aside, that is
 * their shares of the bar. */
static err measure(session *s)
{
    const evaluate_in in = what_to_measure(s);
    const double floor = 2 / (2 + (double)(in.text.rows * (1 + in.n_modes)));
    const char *mode;
    err e;

    s->share = 1 - floor;
    e = evaluate_modes(&s->runtime, &in, s->results, &mode);
    snprintf(s->about, sizeof s->about, "%s%.64s", mode ? "--cache " : "", mode ? mode : "");
    s->shown = s->share;
    s->share = floor;
    if (e == ERR_OK) e = evaluate_floor(&s->runtime, &in, &s->floor);
    progress_clear(&s->bar);
    return e;
}

/* In blocks of the usual length, whatever --block-tokens says: layer inputs are exact and need
 * no blocks. */
static err compare_layers(session *s)
{
    const runtime *r = &s->runtime;
    const reader_model parts = {r->weights, &r->kern, r->team, CACHE_BLOCK_TOKENS};
    const reader_text text = text_of(s);

    if (!s->c->similarity) return ERR_OK;
    s->alike = calloc(r->weights->L, sizeof *s->alike);
    return s->alike ? similarity_measure(&parts, &text, s->alike) : ERR_NOMEM;
}

/* Prints only when all is well. The cheap checks come first: a text that is too short should
 * not show after a plan was made. */
static err run_session(session *s)
{
    TRY(command_open_measured(&s->runtime, s->c, s->about, sizeof s->about));
    TRY(read_file(s));
    TRY(check_length(s));
    TRY(cut_text(s));
    TRY(split_modes(s));
    TRY(check_tuning(s));
    TRY(open_plan(s));
    TRY(measure(s));
    s->about[0] = '\0';
    TRY(compare_layers(s));
    errno = EIO;
    return (s->c->json ? print_json(s) : print_table(s)) ? ERR_OK : ERR_SYSTEM;
}

static void close_session(session *s)
{
    plan_close(s->plan);
    free(s->modes);
    free(s->list);
    free(s->results);
    free(s->alike);
    free(s->prompts);
    free(s->rows);
    free(s->ids);
    runtime_close(&s->runtime);
}

static int fail(const session *s, err e)
{
    const char *text = e == ERR_SYSTEM && errno ? strerror(errno) : err_text(e);

    fprintf(stderr, "xquantd: %s", s->about);
    if (!s->told) fprintf(stderr, "%s%s", *s->about ? ": " : "", text);
    fputc('\n', stderr);
    return 1;
}

static int run(const config *c)
{
    session s = {.c = c};
    const err e = run_session(&s);
    const int code = e == ERR_OK ? 0 : fail(&s, e);

    close_session(&s);
    return code;
}

int cmd_perplexity(int argc, char **argv)
{
    config c;
    char *wrong = config_load(&c, CONFIG_PERPLEXITY, argc, argv, environ);
    int code = 2;

    if (wrong || !*c.file) {
        fprintf(stderr, "xquantd: %s\n",
                wrong ? wrong : "perplexity needs a text: --file FILE");
    } else {
        c.ctx_size = c.ctx; /* positions that the model prepares */
        /* An answer needs room behind its prompt, however short --ctx makes the rows. */
        if (c.greedy && c.ctx_size < EVALUATE_GREEDY_CTX) c.ctx_size = EVALUATE_GREEDY_CTX;
        code = run(&c);
    }
    free(wrong);
    config_free(&c);
    return code;
}
