/* token_ids.h - where ids go, and how many there may be.
 *
 * A text has megabytes and a context a few thousand tokens: whoever writes ids learns at once
 * that there is no room for more, and what is too long costs no more than what fits. */
#ifndef ENGINE_TOKENIZER_TOKEN_IDS_H
#define ENGINE_TOKENIZER_TOKEN_IDS_H

#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>

#include "engine/err.h"

typedef struct token_ids {
    int32_t *at; /* [most] the caller's */
    size_t n, most;
    const atomic_bool *cancel; /* looked at once in a while; NULL: nobody cancels */
} token_ids;

/* One more. ERR_TOOLONG: there is no room for it. */
static inline err token_ids_put(token_ids *to, int32_t id)
{
    if (to->n == to->most) return ERR_TOOLONG;
    to->at[to->n++] = id;
    return ERR_OK;
}

static inline err token_ids_go_on(const token_ids *to)
{
    return to->cancel && atomic_load(to->cancel) ? ERR_CANCELED : ERR_OK;
}

#endif
