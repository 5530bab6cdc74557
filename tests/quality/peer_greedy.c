/* peer_greedy.c - greedy answers of llama.cpp with a type of keys and values:
 *   peer_greedy MODEL TYPE CTX THREADS MOST
 *
 *   stdin    a prompt's bytes as a number in a line, then the prompt; and so on
 *   stdout   for each, the first line of at most MOST tokens that follow
 *
 * What two prompts in a row begin with is computed once, as its server does. Built by peers.py
 * against the libraries of a package; LLBIN names their folder. */
#include <ggml-backend.h>
#include <llama.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { STEP = 512, ROOM = 1 << 16 };

typedef struct peer {
    struct llama_context *context;
    const struct llama_vocab *vocab;
    int32_t past[ROOM]; /* what the context holds */
    int n;
} peer;

static void fail(const char *what)
{
    fprintf(stderr, "peer_greedy: %s\n", what);
    exit(1);
}

static void log_nothing(enum ggml_log_level level, const char *text, void *arg)
{
    (void)arg;
    if (level >= GGML_LOG_LEVEL_ERROR) fputs(text, stderr);
}

static enum ggml_type type_of(const char *name)
{
    if (strcmp(name, "f16") == 0) return GGML_TYPE_F16;
    if (strcmp(name, "q8_0") == 0) return GGML_TYPE_Q8_0;
    if (strcmp(name, "q4_0") == 0) return GGML_TYPE_Q4_0;
    fail("TYPE is none of f16 q8_0 q4_0");
    return GGML_TYPE_F16;
}

static struct llama_context *open_context(struct llama_model *m, char **argv)
{
    struct llama_context_params p = llama_context_default_params();
    struct llama_context *c;

    p.n_ctx = (uint32_t)atoi(argv[3]);
    p.n_batch = p.n_ubatch = STEP;
    p.n_seq_max = 1;
    p.n_threads = p.n_threads_batch = atoi(argv[4]);
    p.flash_attn_type = LLAMA_FLASH_ATTN_TYPE_ENABLED;
    p.type_k = p.type_v = type_of(argv[2]);
    p.swa_full = true; /* else a beginning could not be kept */
    c = llama_init_from_model(m, p);
    if (!c) fail("no context");
    return c;
}

/* Compute ids [n] behind what is there; the logits of the last stay. */
static void read_ids(peer *p, int32_t *ids, int n)
{
    for (int at = 0, T; at < n; at += T) {
        T = n - at < STEP ? n - at : STEP;
        if (llama_decode(p->context, llama_batch_get_one(ids + at, T))) fail("decode");
        memcpy(p->past + p->n, ids + at, (size_t)T * sizeof *ids);
        p->n += T;
    }
}

/* Keep what both begin with, less one token, for something must be computed. */
static void read_prompt(peer *p, int32_t *ids, int n)
{
    llama_memory_t memory = llama_get_memory(p->context);
    int same = 0;

    while (same < p->n && same < n - 1 && p->past[same] == ids[same]) same++;
    if (!llama_memory_seq_rm(memory, 0, same, -1)) {
        llama_memory_clear(memory, true);
        same = 0;
    }
    p->n = same;
    read_ids(p, ids + same, n - same);
}

static int32_t best_id(const peer *p)
{
    const float *logits = llama_get_logits_ith(p->context, -1);
    const int V = llama_vocab_n_tokens(p->vocab);
    int best = 0;

    for (int i = 1; i < V; i++)
        if (logits[i] > logits[best]) best = i;
    return best;
}

static void answer(peer *p, int most)
{
    for (int i = 0; i < most; i++) {
        char piece[256];
        int32_t id = best_id(p);
        int n = llama_token_to_piece(p->vocab, id, piece, sizeof piece, 0, false);
        const char *end = n > 0 ? memchr(piece, '\n', (size_t)n) : NULL;

        if (llama_vocab_is_eog(p->vocab, id)) break;
        if (end) n = (int)(end - piece);
        if (n > 0) fwrite(piece, 1, (size_t)n, stdout);
        if (end) break;
        read_ids(p, &id, 1);
    }
    putchar('\n');
    fflush(stdout);
}

int main(int argc, char **argv)
{
    static peer p;
    static char text[ROOM * 8];
    static int32_t ids[ROOM];
    struct llama_model *m;
    int bytes;

    if (argc != 6) fail("MODEL TYPE CTX THREADS MOST");
    llama_log_set(log_nothing, NULL);
    ggml_backend_load_all_from_path(getenv("LLBIN"));
    llama_backend_init();
    m = llama_model_load_from_file(argv[1], llama_model_default_params());
    if (!m) fail("no model");
    p.vocab = llama_model_get_vocab(m);
    p.context = open_context(m, argv);
    while (scanf("%d", &bytes) == 1) {
        int n;

        if (getchar() != '\n' || bytes < 1 || bytes > (int)sizeof text) fail("a length");
        if (fread(text, 1, (size_t)bytes, stdin) != (size_t)bytes) fail("a prompt");
        n = llama_tokenize(p.vocab, text, bytes, ids, ROOM, true, true);
        if (n < 1 || n + atoi(argv[5]) > atoi(argv[3]))
            fail("a prompt is longer than the context");
        read_prompt(&p, ids, n);
        answer(&p, atoi(argv[5]));
    }
    return 0;
}
