/* lab.h - a model and a cache for tests: run ids, get the logits of every position. */
#ifndef TESTS_LAB_H
#define TESTS_LAB_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "engine/gguf/gguf.h"
#include "engine/kern/kern.h"
#include "engine/model/forward.h"
#include "engine/model/model.h"
#include "engine/team.h"
#include "engine/tokenizer/tokenizer.h"
#include "xcache/cache.h"

#define LAB_EMBEDDED "models/seedling-32m-mha-q8_0.gguf"

typedef struct lab {
    gguf *file;
    tokenizer *tokens;
    model *m;
    kern kern;
    team *team;
    struct plan *plan; /* of a klt mode, found as the program does */
    cache *cache;
    forward *forward;
} lab;

/* Open a model with a cache of `mode` and 256 MiB. Aborts with a message when it cannot. */
void lab_open(lab *l, const char *path, const char *mode, int threads);
/* The same for contexts of ctx tokens; 0: as long as the model was trained for. */
void lab_open_for(lab *l, const char *path, const char *mode, int threads, size_t ctx);
void lab_close(lab *l);

/* How a prompt is cut into pieces; anything else is the seed of random cuts. */
enum { LAB_BLOCKS = 0, LAB_SINGLES = 1, LAB_LONGEST_CUT = 20 };

/* A fresh context reads ids [n]; logits [n,V] of every position (NULL: none). The context
 * is left running for the caller to end. */
context *lab_read(lab *l, const int32_t *ids, size_t n, uint32_t cuts, float *logits);

/* One more piece for a context; logits of its last row. */
void lab_step(lab *l, context *c, const int32_t *ids, size_t T, float *logits);

/* Let the table of first tokens forget all that no running context holds. */
void lab_forget_sinks(cache *c);

/* Mean over rows of KL(softmax a || softmax b), a and b [n,V]; share of equal best ids. */
double lab_kl(const float *a, const float *b, size_t n, size_t V);
double lab_agreement(const float *a, const float *b, size_t n, size_t V);

/* The first n ids of a text file, BOS first. False when the file is too short. */
bool lab_text_ids(const lab *l, const char *path, int32_t *ids, size_t n);

#endif
