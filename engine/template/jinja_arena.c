/* jinja_arena.c - chunks in a chain, the last one filled from its front.
 *
 *   last -> [ taken | taken | left     ]     small things, CHUNK bytes
 *   before  [ one large thing          ]     a chunk of its own, behind the last
 *   before  [ taken | taken | lost     ]     what was left when the next did not fit
 *
 * Chunks are zeroed when they come, so whoever takes some need not clear it. */
#include "engine/template/jinja_arena.h"

#include <stdalign.h>
#include <stdlib.h>
#include <string.h>

enum { CHUNK = 16 << 10, ALIGN = alignof(max_align_t) };

typedef struct jinja_chunk {
    struct jinja_chunk *before;
    size_t n;
    alignas(max_align_t) char at[];
} jinja_chunk;

/* What is large gets a chunk of its own, or the rest of the one before would be lost. */
static jinja_chunk *add_chunk(jinja_arena *a, size_t n, bool own)
{
    jinja_chunk *c;

    if (a->limit - a->bytes < n) {
        a->full = true;
        return NULL;
    }
    c = calloc(1, sizeof *c + n);
    if (!c) return NULL;
    c->n = n;
    a->bytes += n;
    if (own && a->last) { /* behind the last, which goes on being filled */
        c->before = a->last->before;
        a->last->before = c;
        return c;
    }
    c->before = a->last;
    a->last = c;
    a->left = n;
    return c;
}

void *jinja_arena_take(jinja_arena *a, size_t n)
{
    jinja_chunk *c;

    if (n > a->limit) {
        a->full = true;
        return NULL;
    }
    n = (n + ALIGN - 1) / ALIGN * ALIGN;
    if (n > a->left) {
        c = add_chunk(a, n > CHUNK / 4 ? n : CHUNK, n > CHUNK / 4);
        if (!c) return NULL;
        if (c != a->last) return c->at;
    }
    a->left -= n;
    return a->last->at + (a->last->n - a->left - n);
}

char *jinja_arena_copy(jinja_arena *a, const char *text, size_t n)
{
    char *copy = jinja_arena_take(a, n + 1);

    if (copy && n) memcpy(copy, text, n);
    return copy;
}

void jinja_arena_close(jinja_arena *a)
{
    while (a->last) {
        jinja_chunk *before = a->last->before;

        free(a->last);
        a->last = before;
    }
    *a = (jinja_arena){.limit = a->limit};
}
