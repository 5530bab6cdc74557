/* sample_file.c - one table: a key, where it goes, and the bounds that requests have. */
#include "engine/model/sample_file.h"

#include <stddef.h>
#include <stdio.h>

typedef struct row {
    const char *key;
    size_t at;
    bool whole; /* an int, else a float */
    double least, most;
} row;

#define FLOAT(key, member, least, most)                                              \
    {                                                                                \
        "general.sampling." key, offsetof(sample_params, member), false, least, most \
    }
#define WHOLE(key, member, least, most)                                             \
    {                                                                               \
        "general.sampling." key, offsetof(sample_params, member), true, least, most \
    }

static const row table[] = {
    FLOAT("temp", temperature, 0, 2),
    WHOLE("top_k", top_k, -1, 1 << 30),
    FLOAT("top_p", top_p, 0, 1),
    FLOAT("min_p", min_p, 0, 1),
    FLOAT("xtc_probability", xtc_probability, 0, 1),
    FLOAT("xtc_threshold", xtc_threshold, 0, 1),
    FLOAT("penalty_repeat", repetition_penalty, 0.01, 100),
    WHOLE("penalty_last_n", repeat_last_n, -1, 1 << 20),
    WHOLE("mirostat", mirostat, 0, 2),
    FLOAT("mirostat_tau", mirostat_tau, 0, 100),
    FLOAT("mirostat_eta", mirostat_eta, 0, 1),
};

void sample_read_file(const gguf *g, sample_params *p, char *passed, size_t size)
{
    snprintf(passed, size, "%s", "");
    if (!p->repeat_last_n) p->repeat_last_n = -1; /* as the file spells it */
    for (size_t i = 0; i < sizeof table / sizeof *table; i++) {
        const row *r = &table[i];
        void *to = (char *)p + r->at;
        double x = 0;
        const err e = gguf_get_f64(g, r->key, &x);

        if (e == ERR_MISSING) continue;
        if (e != ERR_OK || !(x >= r->least && x <= r->most)) {
            if (!*passed) snprintf(passed, size, "%s", r->key);
            continue;
        }
        if (r->whole)
            *(int *)to = (int)x;
        else
            *(float *)to = (float)x;
    }
    if (p->top_k < 0) p->top_k = 0;
    sample_look_back(p, p->repeat_last_n);
}
