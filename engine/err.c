/* err.c - the texts of err.def, and the name of the part that is wrong. */
#include "engine/err.h"

#include <assert.h>
#include <string.h>

const char *err_text(err e)
{
    static const char *const text[] = {
#define ERR(name, text) text,
#include "engine/err.def"
#undef ERR
    };
    assert((unsigned)e < ERR_COUNT);
    return text[e];
}

const char *err_name(err e)
{
    static const char *const name[] = {
#define ERR(name, text) #name,
#include "engine/err.def"
#undef ERR
    };
    assert((unsigned)e < ERR_COUNT);
    return name[e];
}

/* In ASCII a cut never leaves half a character, and what a hostile file names its tensors
 * cannot steer the terminal that prints it. */
err err_blame_bytes(fault *why, err e, const char *name, size_t n)
{
    /* Who only wants to know whether it works passes NULL. */
    if (!why) return e;
    why->e = e;
    if (n > sizeof why->field - 1) n = sizeof why->field - 1;
    for (size_t i = 0; i < n; i++)
        why->field[i] = (name[i] >= 0x20 && name[i] < 0x7f) ? name[i] : '?';
    why->field[n] = '\0';
    return e;
}

err err_blame(fault *why, err e, const char *name)
{
    return err_blame_bytes(why, e, name, strlen(name));
}
