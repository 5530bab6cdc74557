/* fault.c - words for what is wrong. */
#include "server/fault.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "engine/utf8.h"

/* Both texts may hold what a client sent, and a cut may leave half a character, which would
 * make the answer invalid JSON. */
bool fault_refuse(fault *why, err e, const char *field, const char *format, ...)
{
    va_list args;

    why->e = e;
    snprintf(why->field, sizeof why->field, "%s", field ? field : "");
    va_start(args, format);
    vsnprintf(why->sentence, sizeof why->sentence, format, args);
    va_end(args);
    why->sentence[utf8_prefix(why->sentence, strlen(why->sentence))] = '\0';
    why->field[utf8_prefix(why->field, strlen(why->field))] = '\0';
    return false;
}

bool fault_fail(fault *why, err e)
{
    *why = (fault){.e = e};
    return false;
}
