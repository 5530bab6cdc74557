/* fault.h - which member of an input is wrong and why, for a person to read.
 *
 * The one carrier of blame: a check fills a fault and returns false, everything above passes it
 * on, and one place makes an answer, a line or an exit code of it. `e` says what kind of wrong
 * it is, which is all that status and code on the wire depend on (wire_error.c); `field` names
 * the member, `sentence` says it in words. A failure that is nobody's fault, as NOMEM, has e
 * alone. The struct is the engine's (err.h), which names parts of files so, but writes no
 * sentences. */
#ifndef SERVER_FAULT_H
#define SERVER_FAULT_H

#include <stdbool.h>

#include "engine/err.h"

/* Fill why and return false. field NULL: the input as a whole. */
bool fault_refuse(fault *why, err e, const char *field, const char *format, ...)
    __attribute__((format(printf, 4, 5)));

/* The same without a field or a sentence of its own: err_text(e) says it. */
bool fault_fail(fault *why, err e);

#endif
