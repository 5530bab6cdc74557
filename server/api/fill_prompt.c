/* fill_prompt.c - the parts in their order, each behind its token. As llama-server does, what
 * has no name gets one: models were taught with names. */
#include "server/api/fill_prompt.h"

#include <stdlib.h>
#include <string.h>

static const char repository[] = "myproject\n", own_file[] = "filename\n", other_file[] = "tmp",
                  snippet[] = "\n\n--- snippet ---\n\n";

typedef struct filler {
    request *q;
    const request_env *env;
    token_ids ids;
    fault *why;
} filler;

static int32_t token(const filler *f, tokenizer_gap part)
{
    return tokenizer_fill(f->env->tokens, part);
}

static bool add_token(filler *f, int32_t id)
{
    if (f->ids.n >= f->ids.most)
        return request_refuse_text(f->env, ERR_TOOLONG, "prompt", f->why);
    f->ids.at[f->ids.n++] = id;
    return true;
}

static bool add_text(filler *f, const char *text, tokenizer_specials how)
{
    const err e = tokenizer_append(f->env->tokens, text, strlen(text), how, &f->ids);

    return e == ERR_OK ? true : request_refuse_text(f->env, e, "prompt", f->why);
}

/* A file's name and text, or behind a line of dashes where files have no token. */
static bool add_file(filler *f, const cJSON *file)
{
    const char *name = other_file, *text = "";
    const int32_t mark = token(f, TOKENIZER_FILL_FILE);

    if (!cJSON_IsObject(file))
        return fault_refuse(f->why, ERR_INVALID, "input_extra",
                            "'input_extra' must be an array of objects.");
    if (!json_get_string(file, "filename", &name, f->why) ||
        !json_get_string(file, "text", &text, f->why))
        return false;
    if (mark == TOKENIZER_NONE)
        return add_text(f, snippet, TOKENIZER_INSIDE) && add_text(f, text, TOKENIZER_INSIDE);
    return add_token(f, mark) && add_text(f, name, TOKENIZER_INSIDE) &&
           add_text(f, "\n", TOKENIZER_INSIDE) && add_text(f, text, TOKENIZER_INSIDE);
}

static bool add_extra(filler *f, const cJSON *list)
{
    const int32_t repo = token(f, TOKENIZER_FILL_REPO), mark = token(f, TOKENIZER_FILL_FILE);
    const cJSON *file;

    if (list && !cJSON_IsArray(list))
        return fault_refuse(f->why, ERR_INVALID, "input_extra",
                            "'input_extra' must be an array of objects.");
    if (!list || !list->child) return true;
    if (repo != TOKENIZER_NONE &&
        !(add_token(f, repo) && add_text(f, repository, TOKENIZER_INSIDE)))
        return false;
    cJSON_ArrayForEach (file, list)
        if (!add_file(f, file)) return false;
    return mark == TOKENIZER_NONE ||
           (add_token(f, mark) && add_text(f, own_file, TOKENIZER_INSIDE));
}

/* The suffix goes on where other text stops: it gets no space of its own. */
static bool add_part(filler *f, tokenizer_gap part, const char *text)
{
    return add_token(f, token(f, part)) &&
           add_text(f, text,
                    part == TOKENIZER_FILL_PREFIX ? TOKENIZER_PLAIN : TOKENIZER_INSIDE);
}

static bool add_all(filler *f, const cJSON *body, const char *prefix, const char *suffix)
{
    const int32_t bos = tokenizer_bos(f->env->tokens);
    bool swapped = false;

    f->q->prompts[0].began = tokenizer_adds_bos(f->env->tokens);
    if (!json_get_bool(body, "spm_infill", &swapped, f->why)) return false;
    if (f->q->prompts[0].began && !add_token(f, bos)) return false;
    if (!add_extra(f, json_get(body, "input_extra"))) return false;
    if (swapped && !add_part(f, TOKENIZER_FILL_SUFFIX, suffix)) return false;
    if (!add_part(f, TOKENIZER_FILL_PREFIX, prefix)) return false;
    if (!swapped && !add_part(f, TOKENIZER_FILL_SUFFIX, suffix)) return false;
    return add_token(f, token(f, TOKENIZER_FILL_MIDDLE));
}

static bool refuse_missing(const filler *f)
{
    static const char *const part[] = {"prefix", "suffix", "middle"};
    static const tokenizer_gap of[] = {TOKENIZER_FILL_PREFIX, TOKENIZER_FILL_SUFFIX,
                                       TOKENIZER_FILL_MIDDLE};

    for (size_t i = 0; i < sizeof of / sizeof *of; i++)
        if (token(f, of[i]) == TOKENIZER_NONE)
            return fault_refuse(f->why, ERR_UNSUPPORTED, "suffix",
                                "'suffix' is not supported by this model: its vocabulary has "
                                "no token for the %s of a text that is to be filled in.",
                                part[i]);
    return true;
}

/* No more ids than bytes, and what files get that are not named. */
static bool make_room(filler *f, int n_files)
{
    const size_t bytes = f->q->body_bytes + ((size_t)n_files + 4) * sizeof snippet;
    const size_t most = tokenizer_most_ids(f->env->tokens, bytes);

    f->ids = request_room(f->env);
    if (f->ids.most > most) f->ids.most = most;
    f->ids.at = calloc(f->ids.most + 1, sizeof *f->ids.at);
    f->q->prompts[0].ids = f->ids.at;
    f->q->n_prompts = f->ids.at != NULL;
    return f->ids.at ? true : fault_fail(f->why, ERR_NOMEM);
}

bool fill_prompt_read(request *q, const cJSON *body, const request_env *env, fault *why)
{
    const cJSON *extra = json_get(body, "input_extra");
    const char *prefix = "", *suffix = "";
    filler f = {.q = q, .env = env, .why = why};

    if (!json_get_string(body, "prompt", &prefix, why) ||
        !json_get_string(body, "suffix", &suffix, why) || !refuse_missing(&f))
        return false;
    if (q->echo)
        return fault_refuse(why, ERR_UNSUPPORTED, "echo",
                            "'echo' is not supported beside 'suffix'.");
    if (!request_make_room(q, 1, why) || !make_room(&f, cJSON_GetArraySize(extra)) ||
        !add_all(&f, body, prefix, suffix))
        return false;
    q->prompts[0].n = f.ids.n;
    return true;
}
