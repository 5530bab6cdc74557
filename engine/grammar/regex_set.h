/* regex_set.h - the sets that regular expressions have a letter for. */
#ifndef ENGINE_GRAMMAR_REGEX_SET_H
#define ENGINE_GRAMMAR_REGEX_SET_H

#include "engine/grammar/charset.h"

/* Add \d, \D, \s, \S, \w, \W or the dot to a set. ERR_INVALID: there is none of that letter. */
err regex_set_add(charset *s, char letter);

#endif
