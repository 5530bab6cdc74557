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

/* Tokens that prose must have where it is all there is. */
size_t corpus_text_tokens(const tokenizer *t, size_t ctx);

#endif
