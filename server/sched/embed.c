/* embed.c - which texts make a group, and whose vectors they are.
 *
 * A group is at hand from its first piece to its last; runs that come meanwhile wait for the
 * next one. That is at most ENCODER_GROUP_ROWS rows, or one text that is longer. */
#include "server/sched/embed.h"

#include <stdlib.h>
#include <string.h>

#include "engine/clock.h"

err embed_open(embed *m, encoder *e)
{
    *m = (embed){.encoder = e, .parts = calloc(ENCODER_GROUP_ROWS, sizeof *m->parts)};
    return m->parts ? ERR_OK : ERR_NOMEM;
}

void embed_close(embed *m)
{
    free(m->parts);
    *m = (embed){0};
}

/* Texts of x that are in no group yet; false: the group is full. */
static bool take_texts(embed *m, run *x)
{
    const generation_in *in = &x->generation->in;

    while (x->texts_taken < in->n_texts) {
        const size_t i = x->texts_taken, first = i ? in->ends[i - 1] : 0;

        if (m->n == ENCODER_GROUP_ROWS ||
            !encoder_add(m->encoder, in->ids + first, in->ends[i] - first))
            return false;
        m->parts[m->n++] = (embed_part){x, i};
        x->texts_taken++;
    }
    return true;
}

static bool is_wanted(const embed *m)
{
    for (size_t i = 0; i < m->n; i++)
        if (m->parts[i].run && !m->parts[i].run->over) return true;
    return false;
}

/* Do all that want the group stand back? */
static bool stands_back(const embed *m)
{
    for (size_t i = 0; i < m->n; i++)
        if (m->parts[i].run && !m->parts[i].run->over && !m->parts[i].run->behind) return false;
    return true;
}

bool embed_begin(embed *m, run *const *runs, size_t n, bool everybody)
{
    bool room = true;

    if (!m->encoder) return false;
    if (m->n && is_wanted(m)) return everybody || !stands_back(m);
    m->n = 0; /* nobody is left who wants it */
    encoder_clear(m->encoder);
    for (size_t i = 0; i < 2 * n && room; i++) {
        run *x = runs[i % n];

        if (x->behind != (i >= n) || (x->behind && !everybody) || x->over) continue;
        room = take_texts(m, x);
    }
    return m->n > 0;
}

/* The vectors that its generation has room for; the last one ends it. */
static void give(embed *m, size_t i)
{
    const size_t width = encoder_width(m->encoder);
    run *x = m->parts[i].run;

    if (!x || x->over) return;
    memcpy(x->generation->out.vectors + m->parts[i].text * width, encoder_vector(m->encoder, i),
           width * sizeof(float));
    if (++x->texts_done < x->generation->in.n_texts) return;
    generation_end(x->generation, FINISH_STOP);
    x->over = true;
}

/* By texts: those of a group are alike in length, or one is alone. */
static void charge(const embed *m, share *to, double seconds)
{
    const double now = clock_seconds();

    for (size_t i = 0; i < m->n; i++)
        if (m->parts[i].run)
            share_charge(to, m->parts[i].run->generation->in.tenant, seconds / (double)m->n,
                         now);
}

double embed_step(embed *m, size_t rows, share *to)
{
    const double start = clock_seconds();
    const bool through = encoder_step(m->encoder, rows);
    const double seconds = clock_seconds() - start;

    charge(m, to, seconds);
    if (!through) return seconds;
    for (size_t i = 0; i < m->n; i++) give(m, i);
    m->texts += m->n;
    m->tokens += encoder_rows(m->encoder);
    m->n = 0;
    return seconds;
}

void embed_forget(embed *m, const run *x)
{
    for (size_t i = 0; i < m->n; i++)
        if (m->parts[i].run == x) m->parts[i].run = NULL;
}
