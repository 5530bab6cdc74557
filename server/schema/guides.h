/* guides.h - the grammars of guides that were asked for last.
 *
 * Compiling a guide takes a worker milliseconds, and its states and masks are learned while it
 * runs: so programs are kept, by their guides' text, within a fixed number of bytes. */
#ifndef SERVER_SCHEMA_GUIDES_H
#define SERVER_SCHEMA_GUIDES_H

#include "engine/grammar/program.h"
#include "engine/tokenizer/tokenizer.h"
#include "server/schema/guide.h"

/* Bytes that kept grammars may take; those that run take theirs besides. */
enum { GUIDES_BYTES = 64 << 20, GUIDES_KEPT = 32 };

typedef struct guides guides;

/* For the tokens of t, which must outlive it. The caller closes, behind all programs.
 * ERR_NOMEM. */
err guides_open(guides **out, const tokenizer *t);
void guides_close(guides *all);

/* The program of a guide, held for the caller, who frees it. Any thread; compiles where it is
 * not kept. False: why. */
bool guides_find(guides *all, const guide *g, program **out, fault *why);

/* For tests: those that are kept. */
size_t guides_kept(guides *all);

#endif
