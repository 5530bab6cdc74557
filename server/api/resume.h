/* resume.h - a conversation that comes back as text, matched with what was cached of it.
 *
 * Clients send the whole history as text each turn. Tokenized anew it may differ from the ids
 * that were computed: a model may write a word in other tokens than the tokenizer does, and a
 * client may trim a reply. So the two are compared as bytes, control tokens as themselves: what
 * agrees keeps its old ids, up to the last boundary of an old token; the rest is tokenized from
 * there. */
#ifndef SERVER_API_RESUME_H
#define SERVER_API_RESUME_H

#include <stddef.h>
#include <stdint.h>

#include "engine/err.h"
#include "engine/tokenizer/tokenizer.h"

/* old [n_old]: ids that were computed; *ids [*n]: the new prompt, malloc'd. On ERR_OK *ids is
 * the same text, beginning with as many of the old ids as agree; it may have been replaced and
 * *n changed. ERR_NOMEM: nothing changed. Any thread. */
err resume_ids(const tokenizer *t, const int32_t *old, size_t n_old, int32_t **ids, size_t *n);

#endif
