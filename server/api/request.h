/* request.h - the body of a generation request, read into what a generation needs.
 *
 * Reads the members that both endpoints share; the prompt is the endpoint's own. Touches
 * neither loop nor HTTP, so a worker thread runs it: a body may have megabytes. Which members
 * there are, and what is done with the others, is the table fields.def. */
#ifndef SERVER_API_REQUEST_H
#define SERVER_API_REQUEST_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "engine/err.h"
#include "engine/tokenizer/tokenizer.h"
#include "server/api/sessions.h"
#include "server/api/tenant.h"
#include "server/api/tool_format.h"
#include "server/json.h"
#include "server/random.h"
#include "server/sched/generation.h"
#include "server/schema/guides.h"

enum { REQUEST_MAX_TOP = GENERATION_MAX_TOP, REQUEST_MAX_CHOICES = 128 };

struct chat;
struct tool_setup;
struct tool_parser;

/* What a request is read against. */
typedef struct request_env {
    const tokenizer *tokens;
    const struct chat *chat;       /* how conversations are written */
    const cJSON *chat_kwargs;      /* what its template is always given: an object, or NULL */
    const sample_params *sampling; /* where the request is silent; NULL: sample_usual */
    const char *model_name;
    const char *more_names;    /* of the model, with commas; or NULL */
    bool any_model;            /* whatever it is called */
    size_t ctx_size;           /* longest context served */
    size_t default_max_tokens; /* where neither the request nor its endpoint sets one */
    struct key *key;           /* that it came with, or NULL: its limits count (keys.h) */
    uint64_t tenant;           /* whose API key it came with, keys_tenant or TENANT_OF_ALL */
    const char *session;       /* X-Session-ID, or NULL */
    bool share_prefixes;       /* between keys */
    const atomic_bool *cancel; /* the client has left; or NULL */
    guides *guides;            /* grammars that are kept */
    struct response_store *responses; /* answers that may be gone on from; or NULL */
    const struct tool_setup *tools;   /* how the model calls tools, or NULL: it cannot */
} request_env;

typedef struct request_prompt {
    int32_t *ids; /* [n] malloc'd */
    size_t n;
    bool began; /* ids[0] is a BOS that its text did not spell */
} request_prompt;

/* What a dialect's answer says of its request, as JSON; malloc'd, or NULL. */
typedef struct request_said {
    char *echo;  /* members of the answer */
    char *items; /* the conversation so far, an array */
    bool store;  /* the answer is kept */
} request_said;
/* What a request says of tools and thoughts (request_tools.c). */
typedef struct request_tools {
    const tool_format *format;   /* that calls are looked for in; NULL: there are none */
    const tool_format *channels; /* of a model whose answers have channels, tools or not */
    cJSON *list;                 /* as the template is given them; owned, as are these two: */
    cJSON *functions;            /* [{name, parameters, path, strict}] that may be called */
    cJSON *document;             /* the schema of an answer that calls none, or NULL */
    tool_thoughts thoughts;      /* that are told apart; open NULL: they are text */
    bool opened;                 /* the prompt ends within thoughts */
    bool forced, off, parallel, silent, twice;
} request_tools;

typedef struct request {
    generation_in in;        /* what its generations have in common: no ids */
    request_prompt *prompts; /* [n_prompts] */
    size_t n_prompts;
    size_t body_bytes;   /* that it was read from */
    size_t n, told;      /* answers to each, and how many of them are told: the likeliest */
    bool echo;           /* the prompt is told with its answers */
    int prompt_logprobs; /* of the so many best at each of its tokens, in vLLM's form; -1: none
                          */
    bool stream, include_usage, return_token_ids;
    bool wants_tokens; /* max_tokens was given, and is no default */
    bool raw;          /* a chat's kind, but the prompt is a text */
    bool truncates;    /* the oldest messages go where the context is too short for all */
    char id[RANDOM_ID_BYTES]; /* of its answer; empty: any */
    request_said said;
    tenant who;
    bool retained;                        /* its session's blocks are kept for a day */
    char session[SESSION_NAME_BYTES + 1]; /* whose turn it is; empty: nobody's */
    char guided_by[64];                   /* the member that in.program came from */
    request_tools tools;
} request;

/* A member of a chat completion, and what a dialect's clients know it by. */
typedef struct request_rename {
    const char *inner, *outer;
} request_rename;

/* How an endpoint reads its own part. false: why says it. */
typedef struct request_kind {
    /* Another dialect's body becomes a chat completion's, in place of *body; NULL: it is one.
     * What is found wrong later is said in the words of `renames`, which ends with NULL. */
    bool (*translate)(request *q, cJSON **body, const request_env *env, fault *why);
    const request_rename *renames;
    bool chat;                 /* logprobs is a flag, max_completion_tokens is preferred */
    size_t default_max_tokens; /* 0: request_env's */
    /* prompts from the document. */
    bool (*read_prompt)(request *q, const cJSON *body, const request_env *env, fault *why);
} request_kind;

/* Read the n bytes at text (text[n] == 0) into q. Returns false where it is no valid
 * request: why says which member is wrong, or has e alone (NOMEM, or the tokenizer's). The
 * caller frees q in any case. */
bool request_read(request *q, const request_kind *kind, const request_env *env,
                  const char *text, size_t n, fault *why);
void request_free(request *q);

/* For read_prompt: room for so many prompts, the caller counts those it has filled. False: they
 * ask for too many answers, or NOMEM. */
bool request_make_room(request *q, size_t n_prompts, fault *why);

/* Where a member is found, for the rows of fields.def. */
enum { REQUEST_CHAT = 1, REQUEST_TEXT = 2, REQUEST_MESSAGE = 4, REQUEST_OPTIONS = 8 };
enum {
    REQUEST_RESPONSES = 16,
    REQUEST_ANTHROPIC = 32,
    REQUEST_CHATS = 64, /* Ollama's */
    REQUEST_GENERATES = 128,
    REQUEST_KNOBS = 256,
    REQUEST_INFILL = 512,
    REQUEST_EMBEDS = 1024 /* of texts that become vectors, in every dialect */
};

/* Refuse what the table refuses there; `path` precedes the member's name in the fault. */
bool request_check_members(const cJSON *object, unsigned where, const char *path, fault *why);

/* For translate: what dialects.def lets through goes from one object to the other, what it
 * refuses is refused, and what a translator reads stays behind. */
bool request_move_members(cJSON *from, cJSON *to, unsigned where, const char *path, fault *why);

/* The members that hold many (request_lists.c), into what generation_in_free frees. */
bool request_read_stop(generation_in *in, const cJSON *body, fault *why);
bool request_read_bias(generation_in *in, const cJSON *body, const tokenizer *t, fault *why);

/* How many answers there are, and what is told of them (request_told.c); once all is read,
 * whether it can be. */
bool request_read_counts(request *q, const cJSON *body, fault *why);
bool request_read_told(request *q, bool chat, const cJSON *body, fault *why);
bool request_check_told(const request *q, fault *why);

/* The members that hold the answer to a form (request_guide.c), into in.program; and, where
 * there is one, whether each prompt leaves room for its shortest answer. */
bool request_read_guide(request *q, const cJSON *body, const request_env *env, fault *why);
bool request_check_guide(const request *q, const request_env *env, fault *why);

/* The members about tools and thoughts: read; then, behind the prompt, made the grammar that
 * the answer is held to. Calls of answers are looked for by the parser, NULL where nothing is
 * to be told apart; the request must outlive it. */
bool request_read_tools(request *q, const cJSON *body, const request_env *env, fault *why);
bool request_hold_tools(request *q, const request_env *env, fault *why);
err request_parser(const request *q, struct tool_parser **out);
void request_free_tools(request_tools *t);

/* Log the name of an unknown member; true the first time. A bounded number of names is kept,
 * of which the first bytes count. Any thread. */
bool request_note_unknown(const char *name);

/* Tokens that an answer to this prompt may have: what was asked for, or what the context has
 * left. More than is left only where nothing is. */
size_t request_max_tokens(const request *q, const request_env *env, const request_prompt *p);

/* What generation number i of n_prompts * n is made of, `n` to a prompt; they draw from seeds
 * that follow each other. The caller frees it. ERR_NOMEM. */
err request_choice(const request *q, const request_env *env, size_t i, generation_in *out);

/* Let its only prompt keep the ids that its session was computed with (resume.h), if what was
 * asked for still fits the context then. ERR_NOMEM. */
err request_resume(request *q, const request_env *env, const int32_t *old, size_t n_old);

/* Room for the ids of a prompt: of one that is somewhat too long, all, so that its client can
 * be told by how much. The text of a longer one is not encoded to its end, which would take a
 * worker for seconds. */
token_ids request_room(const request_env *env);

/* A prompt's text could not be encoded with that room: e, and what it says of the member. */
bool request_refuse_text(const request_env *env, err e, const char *member, fault *why);

#endif
