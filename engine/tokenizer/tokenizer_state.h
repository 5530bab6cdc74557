/* tokenizer_state.h - what a tokenizer is, for the files that read it and that ask it. */
#ifndef ENGINE_TOKENIZER_TOKENIZER_STATE_H
#define ENGINE_TOKENIZER_TOKENIZER_STATE_H

#include "engine/tokenizer/tok_kind.h"
#include "engine/tokenizer/tok_normal.h"
#include "engine/tokenizer/tok_special.h"
#include "engine/tokenizer/tok_swallow.h"
#include "engine/tokenizer/tokenizer.h"

/* Keys of a file, and names (markers.def), that end an answer. */
enum {
    TOKENIZER_END_KEYS = 3,
    TOKENIZER_MORE_ENDS = 8, /* of a list of ours */
#define MARKER(text, ends, always) +1
    TOKENIZER_ENDS = TOKENIZER_END_KEYS + TOKENIZER_MORE_ENDS
#include "engine/tokenizer/markers.def"
#undef MARKER
};

struct tokenizer {
    const tok_kind *kind;
    void *state; /* the kind's */
    tok_vocab v; /* views of the next two */
    gguf_text *piece;
    uint8_t *type;
    char *bytes;     /* what the pieces that the file spells otherwise lie in */
    gguf_text *text; /* as they are found in text; NULL once the special tokens are read */
    size_t longest;
    tok_specials special;
    bool user_tokens;   /* some are user-defined: found in plain text, too */
    tok_normal *normal; /* or NULL: text stays as it is */
    int32_t bos;
    int32_t end[TOKENIZER_ENDS];   /* what ends an answer, by key, by list, by name; or
                                      TOKENIZER_NONE */
    int32_t fill[TOKENIZER_FILLS]; /* or TOKENIZER_NONE */
    bool adds_bos, adds_eos;
    bool pads_first;  /* where the kind pads: only what begins a row of ids */
    bool pads_single; /* and only what has no space in front */
    tok_swallow swallows;
};

/* Ids of a list, `xquantd.tokenizer.ends`, that end an answer beside those that keys name. */
err tokenizer_ids_read_ends(tokenizer *t, const gguf *g, fault *why);

#endif
