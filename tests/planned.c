/* planned.c - calibration of the tiny model. */
#include "tests/planned.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/kern/cpu.h"
#include "engine/model/model_load.h"
#include "server/threads.h"
#include "tests/random.h"
#include "tests/tiny.h"

enum { ROWS = 6, ROW = 256, HELD = 2 /* rows, one of each kind */ };

static void must(err e)
{
    if (e == ERR_OK) return;
    fprintf(stderr, "planned: %s\n", err_text(e));
    abort();
}

/* A third layer with the weights of the second. */
static void add_layer(tiny *t)
{
    const size_t n = t->tensors;

    tiny_set_u32(t, "llama.block_count", 3);
    for (size_t i = 0; i < n; i++) {
        tiny_tensor copy = t->tensor[i];

        if (strncmp(copy.name, "blk.1.", 6) != 0) continue;
        copy.name[4] = '2';
        t->tensor[t->tensors++] = copy;
        t->n_tensors++;
    }
}

/* Calibrate what is in p->file. */
static void learn(planned *p, int threads)
{
    const stage none = {0};
    reader_model parts;
    reader_text text;
    uint32_t state = 1;

    kern_init(&p->kern, cpu_flags());
    must(model_open(&p->m, p->file, 0, NULL));
    must(threads_open(&p->team, threads));
    p->ids = malloc((ROWS + HELD) * ROW * sizeof *p->ids);
    for (size_t i = 0; p->ids && i < (ROWS + HELD) * ROW; i++) {
        state = state * 1664525u + 1013904223u;
        p->ids[i] = (int32_t)((state >> 8) % p->m->V);
    }
    parts = (reader_model){p->m, &p->kern, p->team, CACHE_BLOCK_TOKENS};
    text = (reader_text){p->ids, ROWS, ROW};
    p->held[PLAN_PROSE] = (reader_text){p->ids + ROWS * ROW, 1, ROW};
    p->held[PLAN_DIALOGUE] = (reader_text){p->ids + (ROWS + 1) * ROW, 1, ROW};
    must(calibrate_open(&p->calibration, p->file, &parts, &text, p->held, &none));
}

void planned_open(planned *p, int threads)
{
    tiny *t = tiny_new();
    size_t n;

    *p = (planned){0};
    add_layer(t);
    p->bytes = tiny_write(t, &n, NULL, NULL);
    tiny_free(t);
    must(gguf_open_memory(&p->file, p->bytes, n, NULL));
    learn(p, threads);
}

void planned_open_random(planned *p, const char *arguments, int threads)
{
    char *path = random_make(arguments);

    *p = (planned){0};
    must(gguf_open(&p->file, path, NULL));
    random_remove(path); /* it stays mapped */
    learn(p, threads);
}

void planned_close(planned *p)
{
    calibrate_close(p->calibration);
    threads_close(p->team);
    model_close(p->m);
    gguf_close(p->file);
    free(p->bytes);
    free(p->ids);
}

plan *planned_make(planned *p, plan_predictor r)
{
    const stage none = {0};
    plan *out = NULL;

    must(calibrate_make(p->calibration, r, &none, &out));
    return out;
}

const plan_measured *planned_measured(const plan *p, double ratio)
{
    const size_t n = plan_read_about(p).measured;
    const plan_measured *list = plan_read_measured(p);

    for (size_t i = 0; i < n; i++)
        if ((double)list[i].ratio == ratio) return &list[i];
    return NULL;
}
