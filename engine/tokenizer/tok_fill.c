/* tok_fill.c - keys first, then names: a file that says it knows better than a list does. */
#include "engine/tokenizer/tok_fill.h"

#include <string.h>

static const struct {
    const char *keys[2];
} roles[TOKENIZER_FILLS] = {
#define FILL(role, key, older) [TOKENIZER_FILL_##role] = {{key, older}},
#include "engine/tokenizer/gaps.def"
};

static const struct {
    tokenizer_gap role;
    const char *name;
} names[] = {
#define FILL_NAME(role, name) {TOKENIZER_FILL_##role, name},
#include "engine/tokenizer/gaps.def"
};

/* What a file calls "none" is UINT32_MAX. */
static err read_key(int32_t *id, const char *key, size_t V, const gguf *g, fault *why)
{
    uint64_t value;
    const err e = gguf_get_u64(g, key, &value);

    if (e == ERR_MISSING || (e == ERR_OK && value == UINT32_MAX)) return ERR_OK;
    if (e != ERR_OK) return err_blame(why, e, key);
    if (value >= V) return err_blame(why, ERR_RANGE, key);
    *id = (int32_t)value;
    return ERR_OK;
}

err tok_fill_read(int32_t *fill, const tok_specials *s, size_t V, const gguf *g, fault *why)
{
    for (int i = 0; i < TOKENIZER_FILLS; i++)
        for (int k = 0; k < 2 && fill[i] < 0; k++)
            if (roles[i].keys[k]) TRY(read_key(&fill[i], roles[i].keys[k], V, g, why));
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        int32_t *id = &fill[names[i].role];
        const tok_special *found = tok_special_find(s, names[i].name, strlen(names[i].name));

        if (*id < 0 && found) *id = found->id;
    }
    return ERR_OK;
}
