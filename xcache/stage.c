/* stage.c - shares of shares. */
#include "xcache/stage.h"

#include <stddef.h>

void stage_tell(const stage *s, double share)
{
    if (s->tell) s->tell(s->arg, s->from + s->span * share);
}

stage stage_part(const stage *s, double from, double span)
{
    return (stage){s->tell, s->arg, s->from + s->span * from, s->span * span};
}
