/* jinja.h - templates in Jinja as chat templates use it: compiled once, run many times.
 *
 *   jinja_compile(source)  ->  jinja, read-only, shared by threads
 *   jinja_open             ->  jinja_run, one thread's: values are made in it, then
 *   jinja_render           ->  text whose every byte is known to be the template's or a
 * request's
 *
 * The language is Jinja 2 as transformers runs it: trim_blocks, lstrip_blocks, break and
 * continue, generation tags, tojson, strftime_now, raise_exception, nothing that changes a list
 * or a dict. What a template may take is bounded: steps, bytes of output and of memory, depth.
 * It reads and writes nothing but its values. Python's whole numbers end at 64 bits here, and
 * letters have an upper and a lower case of one character each. */
#ifndef ENGINE_TEMPLATE_JINJA_H
#define ENGINE_TEMPLATE_JINJA_H

#include <stdatomic.h>
#include <stddef.h>

#include "engine/err.h"
#include "engine/template/jinja_fault.h"
#include "engine/template/jinja_value.h"

typedef struct jinja jinja;
typedef struct jinja_run jinja_run;

enum { JINJA_MOST_SOURCE = 1 << 20 };

/* Compile the n bytes at source, which need not stay. The caller frees. Errors: NOMEM;
 * TEMPLATE: why says what is not understood, and in which line. */
err jinja_compile(jinja **out, const char *source, size_t n, jinja_fault *why);
void jinja_free(jinja *t);

/* Does the template name this variable anywhere? */
bool jinja_names(const jinja *t, const char *name);

/* Where values are made and a template is run, once. `bytes` is what they may take beside what
 * they hold of others; cancel may be NULL. The caller closes. ERR_NOMEM. */
err jinja_open(jinja_run **out, size_t bytes, const atomic_bool *cancel);
void jinja_close(jinja_run *r);
jinja_arena *jinja_arena_of(jinja_run *r);

/* Run t with the variables of `given`. *out lies in r, its bytes with their marks. Errors:
 * NOMEM, CANCELED; TEMPLATE: why says what the template says, or what went wrong in it. */
err jinja_render(jinja_run *r, const jinja *t, const jinja_dict *given, jinja_text *out,
                 jinja_fault *why);

#endif
