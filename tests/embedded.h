/* embedded.h - the embedded model as it is served, for tests that fill its batches. */
#ifndef TESTS_EMBEDDED_H
#define TESTS_EMBEDDED_H

#include "server/sched/batch.h"

enum { EMBEDDED_CROWD = 32 }; /* requests that may run at once */

/* The model in a mode of the cache, on so many threads; c keeps the options that r reads. */
void embedded_open(runtime *r, config *c, const char *mode, const char *threads);
void embedded_close(runtime *r, config *c);

/* The answers to one prompt, for batch_add; its members are taken. */
generation_group *embedded_group(generation *const *members, size_t n);

#endif
