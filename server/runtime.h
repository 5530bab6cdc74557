/* runtime.h - everything a command needs to run a model: opened once, from the options.
 *
 * `serve` hands it to the scheduler, `complete` steps it itself. */
#ifndef SERVER_RUNTIME_H
#define SERVER_RUNTIME_H

#include "config/config.h"
#include "engine/err.h"
#include "engine/gguf/gguf.h"
#include "engine/kern/kern.h"
#include "engine/model/encoder.h"
#include "engine/model/forward.h"
#include "engine/model/model.h"
#include "engine/model/sample.h"
#include "engine/team.h"
#include "engine/tokenizer/tokenizer.h"
#include "server/chat_setup.h"
#include "server/memory_report.h"
#include "server/mode_choice.h"
#include "server/plans.h"
#include "xcache/cache.h"
#include <stdatomic.h>

typedef struct runtime {
    char *model_path;
    char *model_name; /* what the API calls it: --model-name, else the file's base name */
    gguf *file;
    uint64_t file_id[2]; /* device and inode that model_path led to */
    tokenizer *tokens;
    chat_setup chat; /* how conversations are written */
    model *weights;
    bool exact_products; /* weights multiply floats: --products exact */
    team *team;
    mode_choice cache_mode;
    sample_params sampling; /* where a request is silent: the file's wish, or sample_usual */
    cache *cache;
    forward *forward;
    encoder *encoder;  /* makes vectors of texts, by the buffers of `forward` */
    bool cuts_vectors; /* the model was trained for vectors of fewer dimensions, too */
    kern kern;
    size_t ctx_size; /* longest context served: --ctx-size or the model's own */
    size_t block_tokens;
    size_t max_running;              /* contexts at once */
    atomic_uint packed_permille;     /* of the weights; any thread may read it while it rises */
    memory_needs needs;              /* of memory, from runtime_begin on */
    char memory[MEMORY_REPORT_TEXT]; /* the same in a sentence */
} runtime;

/* Open all of it, the model from the file at `path`: --model of the options is not looked at,
 * so whoever calls has resolved it. `what` names the part at fault for a message:
 * "models/x.gguf: field". The caller closes, also after a failure. */
err runtime_open(runtime *r, const config *c, const char *path, char *what, size_t what_bytes);
void runtime_close(runtime *r);

/* The same in two halves. The first opens what is small, finds out what all will take, and says
 * so in r->memory; ERR_NOFIT: more than there is. The second packs weights and opens the cache;
 * it is left out after a failure of the first. r begins as zeros, which the caller wrote, for
 * another thread may already be asking how far the weights are. */
err runtime_begin(runtime *r, const config *c, const char *path, char *what, size_t what_bytes);
err runtime_finish(runtime *r, const config *c, char *what, size_t what_bytes);

/* Contexts of so many tokens are counted in r->needs, or of ctx_size if that is less. */
enum { RUNTIME_COUNTED_TOKENS = 4096 };

/* The same without a cache, for a command that opens its own: r->cache stays NULL. */
err runtime_open_model(runtime *r, const config *c, const char *path, char *what,
                       size_t what_bytes);

/* The same, to multiply as --products says. ERR_NOMEM: there is no room for weights as floats.
 */
err runtime_open_measured(runtime *r, const config *c, const char *path, char *what,
                          size_t what_bytes);

/* Is the model's file another than what was opened: by size, time, inode, or because a read
 * found no file any more? What is computed since then is worth nothing. True stays true. A few
 * stat: for a timer. */
bool runtime_file_changed(const runtime *r);

/* What --workspace-format says, of a model. */
kv_format runtime_page_format(const config *c, const model *m);

#endif
