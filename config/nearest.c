/* nearest.c - the edit distance of names, and how far is too far.
 *
 * A wrong guess is worse than none: it sends a person to another option. So a third of the
 * letters may be wrong, three at most, and a word of one or two letters is near nothing. */
#include "config/nearest.h"

#include <stdbool.h>
#include <string.h>

static size_t smaller(size_t a, size_t b)
{
    return a < b ? a : b;
}

static char folded(char c)
{
    return c == '_' ? '-' : c;
}

/* Optimal string alignment: insertions, deletions, substitutions, and swaps of neighbours,
 * which look two rows back: three rows are kept, not the whole matrix. */
static size_t distance(const char *a, const char *b)
{
    const size_t n = strlen(b);
    size_t rows[3][NEAREST_MAX_BYTES + 1];
    size_t *older = rows[0], *old = rows[1], *row = rows[2];

    for (size_t j = 0; j <= n; j++) old[j] = j;
    for (size_t i = 1; a[i - 1]; i++) {
        size_t *const spare = older;

        row[0] = i;
        for (size_t j = 1; j <= n; j++) {
            const bool equal = folded(a[i - 1]) == folded(b[j - 1]);

            row[j] = smaller(smaller(old[j], row[j - 1]) + 1, old[j - 1] + !equal);
            if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1])
                row[j] = smaller(row[j], older[j - 2] + 1);
        }
        older = old;
        old = row;
        row = spare;
    }
    return old[n];
}

const char *nearest_name(const char *word, const char *const *names, size_t n)
{
    const size_t length = strlen(word);
    size_t best = 1 + smaller(length / 3 + 1, 3); /* at this distance nothing is near */
    const char *nearest = NULL;

    if (length > NEAREST_MAX_BYTES) return NULL;
    for (size_t i = 0; i < n; i++) {
        const size_t common = smaller(length, strlen(names[i]));
        size_t d;

        if (strlen(names[i]) > NEAREST_MAX_BYTES) continue;
        d = distance(word, names[i]);
        if (common >= 3 && strncmp(word, names[i], common) == 0) d = smaller(d, 2);
        if (d < best && d < length + !length) {
            best = d;
            nearest = names[i];
        }
    }
    return nearest;
}
