/* jinja.c - templates from outside: compile, open, render.
 *
 * What goes wrong inside returns an err and has left its sentence in the fault; here what it
 * says is made fit to be read, and memory that ran into the run's own bound becomes an error of
 * the template, which memory that the machine has not is none. */
#include "engine/template/jinja.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/template/jinja_parse.h"
#include "engine/template/jinja_state.h"
#include "engine/utf8.h"

enum { COMPILED_BYTES = 64 << 20 };

/* What is said is a whole text, whatever was cut off, of one line. */
static err finish(jinja_fault *why, const jinja_arena *a, err e)
{
    if (e == ERR_NOMEM && a->full) {
        snprintf(why->text, sizeof why->text,
                 "the template takes more than %zu bytes of memory", a->limit);
        e = ERR_TEMPLATE;
    }
    why->text[utf8_prefix(why->text, strlen(why->text))] = '\0';
    return e;
}

err jinja_compile(jinja **out, const char *source, size_t n, jinja_fault *why)
{
    jinja *t = calloc(1, sizeof *t);
    err e;

    *why = (jinja_fault){0};
    if (!t) return ERR_NOMEM;
    t->arena.limit = COMPILED_BYTES;
    if (n > JINJA_MOST_SOURCE) {
        snprintf(why->text, sizeof why->text, "a template may have %d bytes at most",
                 (int)JINJA_MOST_SOURCE);
        e = ERR_TEMPLATE;
    } else
        e = finish(why, &t->arena, jinja_parse(t, source, n, why));
    if (e == ERR_OK)
        *out = t;
    else
        jinja_free(t);
    return e;
}

void jinja_free(jinja *t)
{
    if (!t) return;
    jinja_arena_close(&t->arena);
    free(t);
}

bool jinja_names(const jinja *t, const char *name)
{
    return jinja_dict_get(t->names, name) != NULL;
}

err jinja_open(jinja_run **out, size_t bytes, const atomic_bool *cancel)
{
    jinja_run *r = calloc(1, sizeof *r);

    if (!r) return ERR_NOMEM;
    r->arena.limit = bytes;
    r->most_output = bytes / 8; /* a buffer that grows leaves its smaller selves behind */
    r->now = time(NULL);
    r->cancel = cancel;
    *out = r;
    return ERR_OK;
}

void jinja_close(jinja_run *r)
{
    if (!r) return;
    jinja_arena_close(&r->arena);
    free(r);
}

jinja_arena *jinja_arena_of(jinja_run *r)
{
    return &r->arena;
}

err jinja_render(jinja_run *r, const jinja *t, const jinja_dict *given, jinja_text *out,
                 jinja_fault *why)
{
    jinja_scope *before;
    err e;

    *why = (jinja_fault){0};
    r->t = t;
    r->given = given;
    r->why = why;
    e = jinja_open_scope(r, NULL, &before);
    if (e == ERR_OK) e = jinja_run_captured(r, t->body, r->scope, out);
    return finish(why, &r->arena, e);
}
