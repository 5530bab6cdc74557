/* corpus.h - the text that a plan is learned from and measured on, as rows of token ids.
 *
 *   learn   prose | dialogue | prose | dialogue | code | ...   kinds interleaved
 *   held    prose | dialogue | code                            text that learn has not
 *
 * Mixed, for a plan from prose alone loses six times as much on dialogues, and these are what a
 * server reads. */
#ifndef SERVER_CMD_CORPUS_H
#define SERVER_CMD_CORPUS_H

#include <stddef.h>
#include <stdint.h>

#include "engine/err.h"
#include "engine/template/chat.h"
#include "engine/tokenizer/tokenizer.h"
#include "xcache/calibrate/reader.h"
#include "xcache/codec/plan.h"

typedef struct corpus {
    int32_t *ids;                        /* of all rows */
    reader_text learn, held[PLAN_TEXTS]; /* rows 0: none of that kind */
} corpus;

/* Files of text; of dialogues one a line, {"messages": [{"role": ..., "content": ...}, ...]}.
 * With prose alone, the others NULL, all rows are prose. */
typedef struct corpus_files {
    const char *path[PLAN_TEXTS];
    const chat *chat; /* how dialogues are written */
} corpus_files;

/* Read the files and cut them for contexts of ctx tokens. Rows begin with BOS where the model
 * wants one. `why` names the file at fault. ERR_READ: errno says why; ERR_EMPTY: too short;
 * ERR_JSON: dialogues that are none; ERR_MODEMODEL: ctx holds no block; ERR_NOMEM. The caller
 * closes. */
err corpus_open(corpus *out, const tokenizer *t, size_t ctx, const corpus_files *files,
                fault *why);
void corpus_close(corpus *c);

/* The ids of n bytes of dialogues, as those of a plan's: one behind the other in the model's
 * own chat template, BOS first where the model wants one. Line ends in text are overwritten.
 * The caller frees *ids. ERR_JSON: no dialogues; ERR_NOMEM; what chat_encode_messages says. */
err corpus_read_dialogues(const tokenizer *t, const chat *how, char *text, size_t n,
                          int32_t **ids, size_t *n_ids);

/* Tokens that prose must have where it is all there is. */
size_t corpus_text_tokens(const tokenizer *t, size_t ctx);

#endif
