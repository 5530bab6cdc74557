/* matcher.h - which tokens may come next in one answer.
 *
 * A matcher is where an answer stands in its program (program.h). A program and all its
 * matchers belong to one thread at a time: the one that samples.
 *
 * A token is allowed where its bytes lead to a state from which the text can still be closed
 * with the tokens that are left (a byte a token: grammar.h). Tokens that end an answer are
 * allowed where the text may end; control tokens only where the grammar waits for a trigger
 * (trigger.h), and there they are spelled by their names. */
#ifndef ENGINE_GRAMMAR_MATCHER_H
#define ENGINE_GRAMMAR_MATCHER_H

#include "engine/grammar/program.h"

typedef struct matcher matcher;

/* At the beginning of a text. `padded`: a space that its first token begins with is not shown.
 * The caller frees. ERR_NOMEM. */
err matcher_new(matcher **out, program *p, bool padded);
void matcher_free(matcher *m);

/* The tokens that may come next, a bit each [words of the vocabulary], if `left` tokens may
 * follow; NULL: none, which only happens where a bound of states.h is in the way, or no token
 * ends an answer. Valid until the next call for this program. Does not allocate. A look-up for
 * a state that was asked for before, else one walk over the vocabulary, or two. */
const uint64_t *matcher_mask(matcher *m, size_t left);

/* The same in pieces: works until a moment of clock_ns, at least by a few steps. False: the
 * mask is not made yet; call again, with the same `left`, before a token is taken. Where it is
 * cut changes nothing in the mask. */
bool matcher_prepare(matcher *m, size_t left, uint64_t until_ns, const uint64_t **mask);

/* Take a token. False: it was not allowed. */
bool matcher_accept(matcher *m, int32_t id);

/* The state it is in: a number of its program's states, until the next call for that. */
uint32_t matcher_state(const matcher *m);

/* May the text end here, and is it at its end, so that nothing can follow? */
bool matcher_may_end(const matcher *m);
bool matcher_is_complete(const matcher *m);

/* Ban all logits [V] that the mask does not allow. */
void matcher_apply(const uint64_t *mask, float *logits, size_t V);

/* Does it allow a token; and the first that it allows. */
static inline bool matcher_allows(const uint64_t *mask, int32_t id)
{
    return mask[id / 64] >> id % 64 & 1;
}
int32_t matcher_first(const uint64_t *mask, size_t V);

#endif
