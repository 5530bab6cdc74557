/* plan_file.c - draws, writes and reads it. */
#include "tests/plan_file.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "tests/drawn.h"
#include "tests/read_file.h"
#include "tests/test.h"
#include "tests/tiny.h"

void plan_file_open(plan_file *f, plan_predictor r)
{
    const plan_measured list[PLAN_FILE_MEASURED] = {
        drawn_measured(8, .001), drawn_measured(12, .002), drawn_measured(20, .006)};
    tiny *t = tiny_new();
    size_t n;

    snprintf(f->path, sizeof f->path, "/tmp/xquantd-test-plan-%d.xplan", (int)getpid());
    f->model = tiny_write(t, &n, NULL, NULL);
    tiny_free(t);
    CHECK(gguf_open_memory(&f->g, f->model, n, NULL) == ERR_OK);
    f->made = drawn_plan(f->g, PLAN_FILE_L, r, list, PLAN_FILE_MEASURED);
    CHECK(plan_write(f->made, f->path) == ERR_OK);
    f->bytes = (unsigned char *)read_file(f->path, &f->n);
    CHECK(f->bytes && f->n == plan_bytes(f->made));
}

void plan_file_close(plan_file *f)
{
    unlink(f->path);
    free(f->bytes);
    plan_close(f->made);
    gguf_close(f->g);
    free(f->model);
}
