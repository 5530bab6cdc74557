/* nearest.h - what a person may have meant by a name that is none. */
#ifndef CONFIG_NEAREST_H
#define CONFIG_NEAREST_H

#include <stddef.h>

enum { NEAREST_MAX_BYTES = 64 }; /* longer words are near none */

/* The name in names[n] closest to `word` (edit distance, a swap counts once; - and _ are
 * the same), or one that begins it or that it begins; NULL if none is near. */
const char *nearest_name(const char *word, const char *const *names, size_t n);

#endif
