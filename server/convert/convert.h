/* convert.h - a Hugging Face folder becomes a model file.
 *
 * hf_tensors.def says which tensor becomes which; one that is missing, has another shape, or
 * is in no row is an error that names it. Matrices are written as a row of mixes.def says;
 * vectors, biases and routers stay F32. */
#ifndef SERVER_CONVERT_CONVERT_H
#define SERVER_CONVERT_CONVERT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "engine/gguf/gguf.h"
#include "server/convert/hf_config.h"
#include "server/convert/hf_tokens.h"
#include "server/convert/mix.h"

typedef struct convert_wish {
    const char *folder;
    const char *out; /* the file; NULL: FOLDER/NAME-TYPE.gguf */
    gguf_type type;  /* where there is no mix: a type of mixes.def */
    const mix_row *mix;
    const struct importance *weights; /* which numbers count; NULL: all alike */
    uint64_t weights_id;              /* tells them from others */
    int threads;
} convert_wish;

typedef struct convert_made {
    char path[4352];
    uint64_t bytes;
    size_t tensors, matrices;
    size_t resumed; /* tensors that were there from a conversion which was interrupted */
    size_t other;   /* matrices whose rows do not fill blocks of the type */
    size_t window;
    size_t towers, guessing; /* tensors of pictures and sound, of layers that guess: left out */
    hf_tokens_about tokens;
} convert_made;

/* Read, convert, write; a bar on stderr meanwhile. SIGINT and SIGTERM end it. What ends it
 * leaves OUT.part where a tensor is whole in it and its values were good, and the same wish
 * goes on from there, if the folder is what it was; else nothing is left. False: a sentence,
 * which begins with the file at fault. Main thread; it blocks these two signals while it runs.
 */
bool convert_run(const convert_wish *w, convert_made *made, fault *why);

/* Where the file of a wish goes. False: a sentence about the folder. */
bool convert_name(const convert_wish *w, char *path, size_t n, fault *why);

#endif
