/* regex_set.c - \d \w \s and the dot, of ECMA-262. */
#include "engine/grammar/regex_set.h"

#include <string.h>

static const charset_range digits[] = {{'0', '9'}};
static const charset_range word[] = {{'0', '9'}, {'A', 'Z'}, {'_', '_'}, {'a', 'z'}};
/* WhiteSpace and LineTerminator: category Zs, and these controls. */
static const charset_range space[] = {
    {'\t', '\r'},     {' ', ' '},       {0xa0, 0xa0},     {0x1680, 0x1680}, {0x2000, 0x200a},
    {0x2028, 0x2029}, {0x202f, 0x202f}, {0x205f, 0x205f}, {0x3000, 0x3000}, {0xfeff, 0xfeff}};
static const charset_range line_ends[] = {{'\n', '\n'}, {'\r', '\r'}, {0x2028, 0x2029}};

typedef struct named_set {
    char letter, opposite;
    const charset_range *at;
    size_t n;
} named_set;

#define SET(letter, opposite, ranges)                            \
    {                                                            \
        letter, opposite, ranges, sizeof ranges / sizeof *ranges \
    }
static const named_set sets[] = {SET('d', 'D', digits), SET('w', 'W', word),
                                 SET('s', 'S', space), SET('\0', '.', line_ends)};
#undef SET

err regex_set_add(charset *s, char letter)
{
    const named_set *x = sets;
    charset found = {0};
    err e = ERR_OK;

    while (x < sets + sizeof sets / sizeof *sets && x->letter != letter &&
           x->opposite != letter)
        x++;
    if (!letter || x == sets + sizeof sets / sizeof *sets) return ERR_INVALID;
    for (size_t i = 0; i < x->n && e == ERR_OK; i++)
        e = charset_add(&found, x->at[i].lo, x->at[i].hi);
    if (e == ERR_OK && letter == x->opposite) e = charset_negate(&found);
    if (e == ERR_OK) e = charset_add_all(s, &found);
    charset_free(&found);
    return e;
}
