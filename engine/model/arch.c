/* arch.c - rows of arch.def, and keys that begin with their names.
 *
 * Every number of a file passes one of these calls, with its bounds beside it: a width of 2^40
 * or an epsilon of NaN is refused with the key's name before anything is allocated by it.
 * Comparisons are written so that a NaN fails them. */
#include "engine/model/arch.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

/* The names of features as the table writes them. */
enum {
#define FEATURE(id, text) id = ARCH_##id,
#include "engine/model/arch_features.def"
#undef FEATURE
};

static const architecture rows[] = {
#define ARCH(name, has, window, period, wide) {#name, (has), (window), (period), (wide)},
#include "engine/model/arch.def"
#undef ARCH
};

static const char *const texts[] = {
#define FEATURE(id, text) text,
#include "engine/model/arch_features.def"
#undef FEATURE
};

typedef char key_name[128];

const architecture *arch_named(gguf_text name)
{
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
        if (strlen(rows[i].name) == name.n && memcmp(rows[i].name, name.at, name.n) == 0)
            return &rows[i];
    return NULL;
}

/* An architecture that has no row is refused: its tensors may have the names and shapes that
 * we know and mean something else. */
err arch_of(const gguf *g, const architecture **out, fault *why)
{
    static const char key[] = "general.architecture";
    const architecture *row;
    gguf_text name;
    const err e = gguf_get_text(g, key, &name);

    if (e != ERR_OK) return err_blame(why, e, key);
    row = arch_named(name);
    if (!row) return err_blame_bytes(why, ERR_ARCH, name.at, name.n);
    *out = row;
    return ERR_OK;
}

const char *arch_feature_text(size_t i)
{
    return texts[i];
}

/* Both parts are ours and short: no key is cut. */
static const char *full(const arch_keys *k, const char *key, key_name out)
{
    snprintf(out, sizeof(key_name), "%s.%s", k->arch->name, key);
    return out;
}

err arch_fault(const arch_keys *k, err e, const char *key)
{
    key_name name;

    return err_blame(k->why, e, full(k, key, name));
}

/* Where 0 stands for "there is no default", it is no valid size either. */
err arch_size(const arch_keys *k, const char *key, size_t otherwise, size_t max, size_t *out)
{
    key_name name;
    uint64_t v = otherwise;
    const err e = gguf_get_u64(k->g, full(k, key, name), &v);

    if (e == ERR_MISSING && !otherwise) return err_blame(k->why, ERR_MISSING, name);
    if (e != ERR_OK && e != ERR_MISSING) return err_blame(k->why, e, name);
    if (v < 1 || v > max) return err_blame(k->why, ERR_RANGE, name);
    *out = v;
    return ERR_OK;
}

err arch_count(const arch_keys *k, const char *key, size_t max, size_t *out)
{
    key_name name;
    uint64_t v = 0;
    const err e = gguf_get_u64(k->g, full(k, key, name), &v);

    if (e != ERR_OK && e != ERR_MISSING) return err_blame(k->why, e, name);
    if (v > max) return err_blame(k->why, ERR_RANGE, name);
    *out = v;
    return ERR_OK;
}

err arch_real(const arch_keys *k, const char *key, double otherwise, double max, double *out)
{
    key_name name;
    double v = otherwise;
    const err e = gguf_get_f64(k->g, full(k, key, name), &v);

    if (e != ERR_OK && e != ERR_MISSING) return err_blame(k->why, e, name);
    if (!(v > 0 && v <= max)) return err_blame(k->why, ERR_RANGE, name);
    *out = v;
    return ERR_OK;
}

err arch_plain(const arch_keys *k, const char *key, double otherwise, double max, double *out)
{
    key_name name;
    double v = otherwise;
    const err e = gguf_get_f64(k->g, full(k, key, name), &v);

    if (e != ERR_OK && e != ERR_MISSING) return err_blame(k->why, e, name);
    if (!(fabs(v) <= max)) return err_blame(k->why, ERR_RANGE, name);
    *out = v;
    return ERR_OK;
}

/* A list, or a word, is not read: that it is there is enough to refuse it. */
err arch_refuse(const arch_keys *k, const char *key, double plain)
{
    key_name name;
    double v = plain;
    bool yes = plain != 0;
    const err number = gguf_get_f64(k->g, full(k, key, name), &v);
    const err word = number == ERR_KEYTYPE ? gguf_get_bool(k->g, name, &yes) : ERR_OK;

    if (word != ERR_OK || v != plain || yes != (plain != 0))
        return err_blame(k->why, ERR_PART, name);
    return ERR_OK;
}

err arch_bool(const arch_keys *k, const char *key, bool *out)
{
    key_name name;
    const err e = gguf_get_bool(k->g, full(k, key, name), out);

    return e == ERR_MISSING || e == ERR_OK ? ERR_OK : err_blame(k->why, e, name);
}

err arch_text(const arch_keys *k, const char *key, gguf_text *out)
{
    key_name name;
    gguf_text v = {"", 0};
    const err e = gguf_get_text(k->g, full(k, key, name), &v);

    if (e != ERR_OK && e != ERR_MISSING) return err_blame(k->why, e, name);
    *out = v;
    return ERR_OK;
}

/* A list or a number has the wrong type for a text, so only ERR_MISSING says that there is
 * none. */
bool arch_has_key(const arch_keys *k, const char *key)
{
    key_name name;
    gguf_text v;

    return gguf_get_text(k->g, full(k, key, name), &v) != ERR_MISSING;
}
