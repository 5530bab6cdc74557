/* arch.h - the table of architectures, and access to a file's keys by the one it has.
 *
 * An architecture is a row of arch.def: what it adds to the plain one, feature by feature.
 * The keys of its sizes begin with its name. */
#ifndef ENGINE_MODEL_ARCH_H
#define ENGINE_MODEL_ARCH_H

#include <stdbool.h>
#include <stddef.h>

#include "engine/err.h"
#include "engine/gguf/gguf.h"

typedef enum arch_feature_number {
#define FEATURE(id, text) ARCH_NUMBER_##id,
#include "engine/model/arch_features.def"
#undef FEATURE
    ARCH_FEATURES
} arch_feature_number;

/* Bits of arch.has. */
enum {
#define FEATURE(id, text) ARCH_##id = 1 << ARCH_NUMBER_##id,
#include "engine/model/arch_features.def"
#undef FEATURE
};

/* A row of arch.def, which says what its columns mean. */
typedef struct architecture {
    const char *name;
    unsigned has;
    size_t window, period, wide;
} architecture;

/* A file's keys, by the name of its architecture. */
typedef struct arch_keys {
    const gguf *g;
    const architecture *arch;
    fault *why; /* may be NULL */
} arch_keys;

/* The row of that name; NULL: none. */
const architecture *arch_named(gguf_text name);

/* The architecture of a file. ERR_MISSING, ERR_KEYTYPE, ERR_ARCH. */
err arch_of(const gguf *g, const architecture **out, fault *why);

/* Name of feature i as a person reads it, i < ARCH_FEATURES. Static. */
const char *arch_feature_text(size_t i);

/* e, about the key "<arch>.key". */
err arch_fault(const arch_keys *k, err e, const char *key);

/* The number "<arch>.key", 1 .. max; where it is absent `otherwise`, or ERR_MISSING if that is
 * 0. ERR_KEYTYPE, ERR_RANGE: `why` names the key. */
err arch_size(const arch_keys *k, const char *key, size_t otherwise, size_t max, size_t *out);

/* The same, where 0 means none and so does its absence. */
err arch_count(const arch_keys *k, const char *key, size_t max, size_t *out);

/* A real number above 0, at most max. */
err arch_real(const arch_keys *k, const char *key, double otherwise, double max, double *out);

/* A real number that may be 0, -max .. max. */
err arch_plain(const arch_keys *k, const char *key, double otherwise, double max, double *out);

/* ERR_PART about the key if it has another value than `plain`, a list's numbers each. */
err arch_refuse(const arch_keys *k, const char *key, double plain);

/* Yes or no; untouched where the key is absent. ERR_KEYTYPE. */
err arch_bool(const arch_keys *k, const char *key, bool *out);

/* A text; n is 0 where it is absent. ERR_KEYTYPE. */
err arch_text(const arch_keys *k, const char *key, gguf_text *out);

/* Is there such a key? */
bool arch_has_key(const arch_keys *k, const char *key);

#endif
