/* accepts.h - grammars of tests: compiled from their source, run byte by byte. */
#ifndef TESTS_ACCEPTS_H
#define TESTS_ACCEPTS_H

#include <stdbool.h>
#include <stddef.h>

#include "engine/grammar/matcher.h"
#include "server/fault.h"

typedef enum accepts_kind { ACCEPTS_GBNF, ACCEPTS_REGEX, ACCEPTS_SCHEMA } accepts_kind;

/* A vocabulary whose tokens are the 256 bytes, some longer ones, an end token (id 0) and a
 * control token "<call>" (id 1). Never fails; kept until the process ends. */
const token_tree *accepts_tree(void);

/* Compile; NULL: why says what is wrong. Freed by program_free. */
program *accepts_open(accepts_kind kind, const char *source, fault *why);
program *accepts_open_behind(accepts_kind kind, const char *source, const char *trigger);

/* Is the text one of the grammar's? And the beginning of one? */
bool accepts_text(program *p, const char *text);
bool accepts_prefix(program *p, const char *text);

/* Compile, ask, free. A source that does not compile fails the test. */
bool accepts(accepts_kind kind, const char *source, const char *text);

#endif
