/* request.c - the members that both generation endpoints share. */
#include "server/api/request.h"

#include <assert.h>
#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "server/api/model_names.h"
#include "server/api/resume.h"
#include "server/random.h"

/* --- model --- */

/* No name means ours: there is only one model. */
static bool read_model(const cJSON *body, const request_env *env, fault *why)
{
    const char *name = env->model_name;
    const model_names names = {env->model_name, env->more_names, env->any_model};

    if (!json_get_string(body, "model", &name, why)) return false;
    if (model_names_serve(&names, name)) return true;
    return fault_refuse(why, ERR_NOMODEL, "model", "The model `%.128s` does not exist.", name);
}

/* --- numbers --- */

#define get_NUM json_get_number
#define get_INT json_get_int
typedef double field_NUM;
typedef int64_t field_INT;

/* Plain numbers are rows of a table: a new one is a line there, and nothing here. */
static bool read_fields(sample_params *sample, const request_env *env, const cJSON *body,
                        fault *why)
{
    *sample = env->sampling ? *env->sampling : sample_usual;
    if (!sample->repeat_last_n) sample->repeat_last_n = -1; /* as clients spell it */
#define NUMBER(kind, name, member, min, max)                               \
    {                                                                      \
        field_##kind value = (field_##kind)sample->member;                 \
                                                                           \
        if (!get_##kind(body, #name, min, max, &value, why)) return false; \
        sample->member = (__typeof__(sample->member))value;                \
    }
#include "server/api/fields.def"
    if (sample->top_k < 0) sample->top_k = 0; /* -1 is a peer's word for all */
    sample_look_back(sample, sample->repeat_last_n);
    return true;
}

/* cJSON keeps doubles, which lose digits beyond 2^53; a seed may have 64 bits. -1 is a peer's
 * word for any. */
static bool read_seed(uint64_t *seed, const cJSON *body, const char *text, fault *why)
{
    int64_t given = 0;

    if (!json_get_int64(body, text, "seed", &given, why)) return false;
    *seed = json_get(body, "seed") && given != -1 ? (uint64_t)given : random_number();
    return true;
}

/* Every number is an upper bound, cut to what a prompt leaves of the context: see
 * request_max_tokens. -1, a peer's word for no limit, is the largest. */
static bool read_max_tokens(request *q, const request_kind *kind, const cJSON *body,
                            const request_env *env, fault *why)
{
    int64_t n = (int64_t)(kind->default_max_tokens ? kind->default_max_tokens
                                                   : env->default_max_tokens);

    if (!json_get_int(body, "max_tokens", -1, INT32_MAX, &n, why) ||
        !json_get_int(body, "max_completion_tokens", -1, INT32_MAX, &n, why))
        return false;
    q->in.max_tokens = n < 0 ? INT32_MAX : (size_t)n;
    q->wants_tokens = json_get(body, "max_tokens") || json_get(body, "max_completion_tokens");
    return true;
}

/* --- whose it is, and how urgent --- */

/* Any int: it is compared with the tenant's own only (queue.h). */
static bool read_priority(generation_in *in, const cJSON *body, fault *why)
{
    int64_t priority = 0;

    if (!json_get_int(body, "priority", INT32_MIN, INT32_MAX, &priority, why)) return false;
    in->priority = (int)priority;
    return true;
}

/* A salt is hashed at once and never kept. */
static bool read_tenant(request *q, const cJSON *body, const request_env *env, fault *why)
{
    const char *salt = "";

    if (!json_get_string(body, "cache_salt", &salt, why)) return false;
    if (strlen(salt) > TENANT_SALT_BYTES)
        return fault_refuse(why, ERR_INVALID, "cache_salt",
                            "'cache_salt' may have %d bytes at most.", (int)TENANT_SALT_BYTES);
    q->who = tenant_make(env->tenant, salt, env->share_prefixes);
    q->in.tenant = env->tenant == TENANT_OF_ALL ? GENERATION_ANYBODY : q->who.id;
    memcpy(q->in.scope, q->who.scope, sizeof q->in.scope);
    return true;
}

/* How long a conversation without a name is kept nobody could say. */
static bool read_retention(request *q, const cJSON *body, fault *why)
{
    static const char name[] = "prompt_cache_retention";
    const char *how = "in_memory";

    if (!json_get_string(body, name, &how, why)) return false;
    q->retained = strcmp(how, "24h") == 0;
    if (q->retained || strcmp(how, "in_memory") == 0 || strcmp(how, "in-memory") == 0)
        return true;
    return fault_refuse(why, ERR_INVALID, name, "'%s' must be 'in_memory' or '24h'.", name);
}

/* The body's word counts more than the header's, and prompt_cache_key is but a hint: one that
 * is too long to be a name is none. */
static bool read_session(request *q, const cJSON *body, const request_env *env, fault *why)
{
    const char *name = "", *hint = "", *param = "session_id";

    if (!json_get_string(body, "session_id", &name, why)) return false;
    if (!json_get_string(body, "prompt_cache_key", &hint, why)) return false;
    if (!name[0] && env->session) {
        name = env->session;
        param = "X-Session-ID";
    }
    if (!name[0] && strlen(hint) <= SESSION_NAME_BYTES) name = hint;
    if (strlen(name) > SESSION_NAME_BYTES)
        return fault_refuse(why, ERR_INVALID, param, "'%s' may have %d bytes at most.", param,
                            (int)SESSION_NAME_BYTES);
    snprintf(q->session, sizeof q->session, "%s", name);
    return read_retention(q, body, why);
}

/* --- stream --- */

/* include_usage without a stream is no error: libraries send it with every request. */
static bool read_stream(request *q, const cJSON *body, fault *why)
{
    const cJSON *options = json_get(body, "stream_options");

    if (!json_get_bool(body, "stream", &q->stream, why)) return false;
    if (!options) return true;
    if (!cJSON_IsObject(options))
        return fault_refuse(why, ERR_INVALID, "stream_options",
                            "'stream_options' must be an object.");
    if (!request_check_members(options, REQUEST_OPTIONS, "stream_options.", why)) return false;
    if (!json_get_bool(options, "include_usage", &q->include_usage, why)) return false;
    if (!q->stream) q->include_usage = false;
    return true;
}

/* Before the prompts are tokenized: refusing is cheap, 128 tokenized prompts are not. */
bool request_make_room(request *q, size_t n_prompts, fault *why)
{
    if (n_prompts > REQUEST_MAX_CHOICES / q->n)
        return fault_refuse(
            why, ERR_INVALID, "prompt",
            "A request may ask for %d answers at most; this one asks for %zu to "
            "each of %zu prompts.",
            (int)REQUEST_MAX_CHOICES, q->n, n_prompts);
    q->prompts = calloc(n_prompts, sizeof *q->prompts);
    return q->prompts ? true : fault_fail(why, ERR_NOMEM);
}

/* The prompt last: it costs most, and whatever else is wrong is said first. */
static bool read_body(request *q, const request_kind *kind, const request_env *env,
                      const cJSON *body, const char *text, fault *why)
{
    const bool chat = kind->chat && !q->raw;

    if (!cJSON_IsObject(body))
        return fault_refuse(why, ERR_INVALID, NULL, "The body must be a JSON object.");
    if (!read_model(body, env, why) || !request_read_counts(q, body, why) ||
        !request_check_members(body, chat ? REQUEST_CHAT : REQUEST_TEXT, "", why) ||
        !read_fields(&q->in.sample, env, body, why) ||
        !read_seed(&q->in.sample.seed, body, text, why) ||
        !read_max_tokens(q, kind, body, env, why) || !request_read_told(q, chat, body, why) ||
        !request_read_stop(&q->in, body, why) ||
        !request_read_bias(&q->in, body, env->tokens, why) || !read_stream(q, body, why) ||
        !request_check_told(q, why) || !read_tenant(q, body, env, why) ||
        !read_session(q, body, env, why) || !read_priority(&q->in, body, why) ||
        !json_get_bool(body, "ignore_eos", &q->in.ignore_eos, why) ||
        !json_get_bool(body, "return_token_ids", &q->return_token_ids, why) ||
        (kind->chat && !request_read_tools(q, body, env, why)) ||
        !request_read_guide(q, body, env, why) || !kind->read_prompt(q, body, env, why) ||
        (kind->chat && !request_hold_tools(q, env, why)) || !request_check_guide(q, env, why))
        return false;
    return true;
}

/* --- other dialects --- */

static bool translate(request *q, const request_kind *kind, const request_env *env,
                      cJSON **body, fault *why)
{
    if (!kind->translate) return true;
    if (!cJSON_IsObject(*body))
        return fault_refuse(why, ERR_INVALID, NULL, "The body must be a JSON object.");
    return kind->translate(q, body, env, why);
}

/* The first member that the fault is about, in its name and where its sentence quotes it. */
static void rename_fault(fault *why, const request_rename *names)
{
    const fault said = *why;
    char field[sizeof said.field];

    for (; names->inner; names++) {
        const size_t n = strlen(names->inner);
        char quoted[64];
        const char *at;

        if (strncmp(said.field, names->inner, n) != 0 || !strchr("[.", said.field[n])) continue;
        snprintf(field, sizeof field, "%s%.200s", names->outer, said.field + n);
        snprintf(quoted, sizeof quoted, "'%s", names->inner);
        at = strstr(said.sentence, quoted);
        if (at)
            fault_refuse(why, said.e, field, "%.*s'%s%s", (int)(at - said.sentence),
                         said.sentence, names->outer, at + n + 1);
        else
            fault_refuse(why, said.e, field, "%s", said.sentence);
        return;
    }
}

bool request_read(request *q, const request_kind *kind, const request_env *env,
                  const char *text, size_t n, fault *why)
{
    cJSON *body;
    bool good;

    *q = (request){.in.top = -1, .prompt_logprobs = -1, .body_bytes = n};
    *why = (fault){0};
    if (!json_parse(&body, text, n, why)) return false;
    good = translate(q, kind, env, &body, why) && read_body(q, kind, env, body, text, why);
    cJSON_Delete(body);
    if (!good && kind->renames) rename_fault(why, kind->renames);
    assert(good == (why->e == ERR_OK));
    return good;
}

/* Safe after a failed read: everything that was taken is counted before it is filled. */
void request_free(request *q)
{
    for (size_t i = 0; i < q->n_prompts; i++) free(q->prompts[i].ids);
    free(q->prompts);
    free(q->said.echo);
    free(q->said.items);
    generation_in_free(&q->in);
    request_free_tools(&q->tools);
    *q = (request){0};
}

/* --- what generations are made of --- */

/* Where the prompt leaves no room, the smallest wish that is refused with the sum. */
size_t request_max_tokens(const request *q, const request_env *env, const request_prompt *p)
{
    const size_t left = p->n < env->ctx_size ? env->ctx_size - p->n : 0;

    if (q->in.max_tokens <= left) return q->in.max_tokens;
    return left ? left : 1;
}

/* n things of `size` bytes once more; NULL if there are none, or no memory. */
static void *copy(const void *from, size_t n, size_t size)
{
    void *to = n ? malloc(n * size) : NULL;

    if (to) memcpy(to, from, n * size);
    return to;
}

/* Each generation owns its ids and lists: they end one by one, in any order. */
static err copy_owned(const request *q, const request_prompt *p, generation_in *out)
{
    out->ids = copy(p->ids, p->n, sizeof *p->ids);
    out->n_ids = p->n;
    if (p->n && !out->ids) return ERR_NOMEM;
    out->bias = copy(q->in.bias, q->in.sample.n_bias, sizeof *q->in.bias);
    out->sample.bias = out->bias;
    if (q->in.sample.n_bias && !out->bias) return ERR_NOMEM;
    if (q->in.n_stop) out->stop = calloc(q->in.n_stop, sizeof *out->stop);
    if (q->in.n_stop && !out->stop) return ERR_NOMEM;
    for (; out->n_stop < q->in.n_stop; out->n_stop++) {
        out->stop[out->n_stop] = strdup(q->in.stop[out->n_stop]);
        if (!out->stop[out->n_stop]) return ERR_NOMEM;
    }
    return ERR_OK;
}

/* Seeds follow each other, so answer i of n is the one that seed + i gives alone. */
err request_choice(const request *q, const request_env *env, size_t i, generation_in *out)
{
    const request_prompt *p = &q->prompts[i / q->n];
    err e;

    *out = q->in;
    out->bias = NULL;
    out->stop = NULL;
    out->n_stop = 0;
    out->program = program_hold(q->in.program);
    out->sample.seed += i % q->n;
    out->max_tokens = request_max_tokens(q, env, p);
    e = copy_owned(q, p, out);
    if (e != ERR_OK) generation_in_free(out);
    return e;
}

/* --- the ids of its session --- */

/* The old ids may be more than the new text gives: they must not push out what was asked for
 * and had room. */
static bool fits(const request *q, const request_env *env, size_t n_ids)
{
    const size_t now = request_max_tokens(q, env, &q->prompts[0]);
    size_t more = q->wants_tokens && now == q->in.max_tokens ? now : 1;

    if (q->in.program && !q->in.may_be_cut && more < program_shortest(q->in.program) &&
        q->in.max_tokens)
        more = program_shortest(q->in.program);
    return n_ids <= env->ctx_size && more <= env->ctx_size - n_ids;
}

err request_resume(request *q, const request_env *env, const int32_t *old, size_t n_old)
{
    request_prompt *p = &q->prompts[0];
    int32_t *ids = malloc((p->n + 1) * sizeof *ids);
    size_t n = p->n;
    err e;

    assert(q->n_prompts == 1);
    if (!ids) return ERR_NOMEM;
    memcpy(ids, p->ids, n * sizeof *ids);
    e = resume_ids(env->tokens, old, n_old, &ids, &n);
    if (e != ERR_OK || !fits(q, env, n)) {
        free(ids);
        return e;
    }
    free(p->ids);
    *p = (request_prompt){ids, n, p->began};
    return ERR_OK;
}

/* Beside a context of any length the rest is milliseconds of a worker. */
token_ids request_room(const request_env *env)
{
    enum { COUNTED_BEYOND = 8192 };

    return (token_ids){.most = env->ctx_size + COUNTED_BEYOND, .cancel = env->cancel};
}

bool request_refuse_text(const request_env *env, err e, const char *member, fault *why)
{
    if (e != ERR_TOOLONG) return fault_fail(why, e);
    return fault_refuse(why, e, member,
                        "This model's maximum context length is %zu tokens. However, you "
                        "requested more than %zu tokens in '%s'. Please reduce its length.",
                        env->ctx_size, request_room(env).most, member);
}
