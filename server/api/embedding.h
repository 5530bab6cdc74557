/* embedding.h - the way of a request for embeddings, the same in every dialect.
 *
 *   loop: hold the request -> worker: read the body, tokenize -> loop: admit or refuse
 *   scheduler: all texts as one generation -> loop: the whole answer
 *
 * A dialect says where its texts are and how its answer is written; one generation carries all
 * texts of a request, so it takes one place in the queue whatever their number. */
#ifndef SERVER_API_EMBEDDING_H
#define SERVER_API_EMBEDDING_H

#include <stdatomic.h>

#include "server/api/keys.h"
#include "server/http/http.h"
#include "server/json.h"
#include "server/runtime.h"
#include "server/sched/generation.h"
#include "server/text.h"

enum { EMBEDDING_MOST_TEXTS = 2048 };

/* What a worker may read of the server; it never changes while requests run. */
typedef struct embedding_env {
    const runtime *runtime;
    const char *more_names; /* of the model; or NULL */
    bool any_model;
    uint64_t tenant;
    const atomic_bool *cancel; /* the client has left */
} embedding_env;

/* A body that has been read. */
typedef struct embedding_request {
    generation_in in;  /* ids of all texts, and where each ends */
    size_t dimensions; /* of what is answered, the model's at most */
    bool base64;       /* in place of lists of numbers */
    bool cut;          /* texts that are too long are cut, not refused */
    const char *name;  /* of the member that has the texts */
} embedding_request;

/* An answer at hand. */
typedef struct embedding_reply {
    const embedding_request *request;
    const runtime *runtime;
    const float *vectors; /* [n_texts,width] */
    size_t width;
    uint64_t arrived_ns;
} embedding_reply;

/* A dialect, one const struct each. */
typedef struct embedding_kind {
    bool (*read)(embedding_request *q, const cJSON *body, const embedding_env *env, fault *why);
    void (*write)(text_builder *t, const embedding_reply *a);
} embedding_kind;

/* A POST of this kind: takes r and answers it in the end. */
void embedding_start(http_request *r, const embedding_kind *kind);

/* For `read`. Is the member `model` ours? Names may end in a tag that none has here. */
bool embedding_read_model(const cJSON *body, const embedding_env *env, fault *why);

/* The member `dimensions`: the model's own, or fewer where its file says that they may be cut.
 */
bool embedding_read_dimensions(embedding_request *q, const cJSON *body,
                               const embedding_env *env, fault *why);

/* The member q->name: a text, ids of one, or an array of such. */
bool embedding_read_texts(embedding_request *q, const cJSON *body, const embedding_env *env,
                          fault *why);

#endif
