/* jinja_arena.h - memory of one template, or of one time that it runs: taken bit by bit, given
 * back at once.
 *
 * No value is freed while a template runs, so none needs an owner or a count; what a template
 * may take in all is bounded instead. */
#ifndef ENGINE_TEMPLATE_JINJA_ARENA_H
#define ENGINE_TEMPLATE_JINJA_ARENA_H

#include <stdbool.h>
#include <stddef.h>

typedef struct jinja_arena {
    struct jinja_chunk *last;
    size_t left;         /* bytes of the last chunk that are not taken */
    size_t bytes, limit; /* of all chunks */
    bool full;           /* what failed wanted more than the limit */
} jinja_arena;

/* n zero bytes, aligned for anything; NULL: no memory, or a->full. */
void *jinja_arena_take(jinja_arena *a, size_t n);

/* A NUL-terminated copy. */
char *jinja_arena_copy(jinja_arena *a, const char *text, size_t n);

/* Everything that was taken is gone; a is as new. */
void jinja_arena_close(jinja_arena *a);

#endif
