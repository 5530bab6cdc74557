/* plan_maker.c - calibrates a loaded model on a text, with a bar.
 *
 *   rows   |<---- learn: 16,384 tokens ---->|<- held: 2 rows ->|  text behind is not read
 *
 * Plans are made for blocks of CACHE_BLOCK_TOKENS whatever the runtime's are: what is learned
 * does not depend on them, and a plan would record another KL for each. */
#include "server/cmd/plan_maker.h"

#include <stdlib.h>

#include "server/document.h"
#include "server/folders.h"
#include "server/plans.h"
#include "server/progress.h"
#include "xcache/calibrate/calibrate.h"
#include "xcache/codec/codec.h"

/* Rows to learn from and to measure on, of a length the model knows. */
static void split_rows(const model *m, const int32_t *rows, reader_text *learn,
                       reader_text *held)
{
    const size_t most = m->ctx < CALIBRATE_ROW ? m->ctx : CALIBRATE_ROW;
    const size_t row = most / CACHE_BLOCK_TOKENS * CACHE_BLOCK_TOKENS;

    *learn = (reader_text){rows, row ? CALIBRATE_TOKENS / row : 0, row};
    *held = (reader_text){rows ? rows + learn->rows * row : NULL, CALIBRATE_HELD_ROWS, row};
}

static document_shape shape_of(const model *m)
{
    reader_text learn, held;

    split_rows(m, NULL, &learn, &held);
    return (document_shape){learn.rows + held.rows, learn.row_tokens, 0};
}

size_t plan_maker_text_tokens(const runtime *r)
{
    const document_shape all = shape_of(r->weights);

    return all.rows * document_row_text(r->tokens, all.row_tokens);
}

static void show(void *arg, double share)
{
    progress_show(arg, share);
}

static err calibrate_rows(const runtime *r, const plan_maker_wish *w, const int32_t *rows,
                          plan **out, size_t *memory)
{
    const reader_model parts = {r->weights, &r->kern, r->team, CACHE_BLOCK_TOKENS};
    /* share of the time, for the bar: a search makes several plans after one reading */
    const double opening = w->max_kl > 0 ? 0.05 : 0.25;
    progress bar = {0};
    const stage all = {show, &bar, 0, 1}, first = stage_part(&all, 0, opening),
                rest = stage_part(&all, opening, 1 - opening);
    reader_text learn, held;
    calibration *c = NULL;
    err e;

    split_rows(r->weights, rows, &learn, &held);
    e = calibrate_open(&c, r->file, &parts, &learn, &held, &first);
    if (e == ERR_OK)
        e = w->max_kl > 0 ? calibrate_search(c, w->max_kl, w->predictor, &rest, out)
                          : calibrate_make(c, w->ratio, w->predictor, &rest, out);
    if (e == ERR_OK && memory) *memory = calibrate_bytes(c);
    calibrate_close(c);
    progress_clear(&bar);
    return e;
}

/* Calibrate on n ids of a text, if they are enough. */
static err calibrate_ids(const runtime *r, const plan_maker_wish *w, const int32_t *ids,
                         size_t n, plan **out, size_t *memory)
{
    const document_shape all = shape_of(r->weights);
    int32_t *rows = NULL;
    err e;

    if (document_count_rows(r->tokens, n, all.row_tokens) < all.rows) return ERR_EMPTY;
    TRY(document_cut(r->tokens, ids, &all, &rows));
    e = calibrate_rows(r, w, rows, out, memory);
    free(rows);
    return e;
}

err plan_maker_run(const runtime *r, const plan_maker_wish *w, plan **out, size_t *memory)
{
    char path[4200], *text;
    int32_t *ids = NULL;
    size_t n = 0, count = 0;
    err e;

    folders_find_shipped("models/calibration.txt", path, sizeof path);
    text = document_read(w->text ? w->text : path, &n);
    if (!text) return ERR_READ;
    e = document_encode(r->tokens, text, n, TOKENIZER_PLAIN, &ids, &count);
    free(text);
    if (e == ERR_OK && r->weights->ctx < CACHE_BLOCK_TOKENS) e = ERR_MODEMODEL;
    if (e == ERR_OK) e = calibrate_ids(r, w, ids, count, out, memory);
    free(ids);
    return e;
}

err plan_maker_open(const runtime *r, const char *mode, plan_predictor form, plan **out,
                    fault *why)
{
    const plan_maker_wish w = {.ratio = codec_ratio(mode), .predictor = form};
    char *path;
    err e = plans_open_with(r->model_path, mode, &form, r->file, out, why);

    if (e != ERR_NOPLAN) return e;
    e = plan_maker_run(r, &w, out, NULL);
    if (e != ERR_OK) return err_blame(why, e, mode);
    path = plans_cached(r->model_path, r->weights->D, w.ratio, w.predictor);
    if (path) (void)plan_write(*out, path); /* the next run makes it again */
    free(path);
    return ERR_OK;
}
