/* err.h - how a call says that it failed.
 *
 * A call that can fail returns err; results leave through trailing out pointers,
 * which stay untouched on failure. An assert is a bug of ours; an err is the world.
 * Where one input has many parts, a fault beside it names the part that is wrong. */
#ifndef ENGINE_ERR_H
#define ENGINE_ERR_H

#include <stddef.h>

typedef enum err {
#define ERR(name, text) ERR_##name,
#include "engine/err.def"
#undef ERR
    ERR_COUNT
} err;

/* The part of an input that an err is about: a key, a tensor, a header field. What the engine
 * writes there is printable ASCII, whatever the file holds; empty where the whole is meant. */
typedef struct fault {
    char field[256];
    char sentence[384]; /* server/fault.h's; the engine writes none */
    err e;              /* OK: nothing is wrong */
} fault;

/* The sentence for e, without a full stop. Static. */
const char *err_text(err e);

/* The symbol of e, as in err.def. Static. */
const char *err_name(err e);

/* Name the part: the n bytes at `name`, unprintable ones as '?', cut to fit. Returns e,
 * so that a check can `return err_blame_bytes(why, ERR_RANGE, ...)`. why may be NULL. */
err err_blame_bytes(fault *why, err e, const char *name, size_t n);

/* The same for a NUL-terminated name. */
err err_blame(fault *why, err e, const char *name);

/* Return from this function with the error of `call`, if it has one. */
#define TRY(call)                            \
    do {                                     \
        const err try_e_ = (call);           \
        if (try_e_ != ERR_OK) return try_e_; \
    } while (0)

#endif
