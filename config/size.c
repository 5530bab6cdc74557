/* size.c - a number and its unit. The whole of both must be understood: "2 gigs" is refused,
 * for a size that is read wrong is memory that is not there. */
#include "config/size.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>

/* 1024 or 1000 to the power that a unit names; 0 for what is none. */
static long double unit_factor(const char *unit)
{
    static const char prefixes[] = "KMGT";
    const char *prefix = *unit ? strchr(prefixes, toupper((unsigned char)*unit)) : NULL;
    const bool decimal = prefix && strcasecmp(unit + 1, "b") == 0;
    long double factor = 1;

    if (!prefix) return *unit && strcasecmp(unit, "b") != 0 ? 0 : 1;
    if (!decimal && unit[1] && strcasecmp(unit + 1, "i") != 0 &&
        strcasecmp(unit + 1, "ib") != 0)
        return 0;
    for (const char *p = prefixes; p <= prefix; p++) factor *= decimal ? 1000 : 1024;
    return factor;
}

bool size_parse(const char *text, uint64_t *bytes)
{
    static const char digits[] = "0123456789";
    const char *end = text + strspn(text, digits);
    long double value;

    if (end == text) return false;
    if (*end == '.') {
        const size_t fraction = strspn(end + 1, digits);

        if (fraction == 0) return false;
        end += 1 + fraction;
    }
    /* long double has 64 bits of mantissa on x86-64 and more on arm64: 2^63 - 1 bytes are exact
     */
    value = strtold(text, NULL) * unit_factor(end + strspn(end, " "));
    if (unit_factor(end + strspn(end, " ")) < 1 || value > (long double)INT64_MAX) return false;
    *bytes = (uint64_t)value;
    return true;
}
