/* jinja_parse.h - tokens to a tree. */
#ifndef ENGINE_TEMPLATE_JINJA_PARSE_H
#define ENGINE_TEMPLATE_JINJA_PARSE_H

#include <stddef.h>

#include "engine/err.h"
#include "engine/template/jinja_fault.h"
#include "engine/template/jinja_tree.h"

/* Parse the n bytes at source into t, whose arena is open. Errors: NOMEM; TEMPLATE, why says
 * what is not understood and in which line. */
err jinja_parse(struct jinja *t, const char *source, size_t n, jinja_fault *why);

#endif
