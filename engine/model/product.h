/* product.h - rows of a step through matrices, and what is done to each row by itself. Internal
 * to forward.
 *
 * A product's tasks are runs of panels of a matrix, not rows: a weight is then read by one
 * core, once a step, whatever the number of rows. */
#ifndef ENGINE_MODEL_PRODUCT_H
#define ENGINE_MODEL_PRODUCT_H

#include <stdbool.h>
#include <stddef.h>

#include "engine/model/matrix.h"
#include "engine/model/model.h"
#include "engine/model/step.h"
#include "engine/team.h"

typedef struct product {
    const matrix *m;
    float *y; /* [T,m->rows] */
} product;

/* Rows that a product reads. */
typedef struct product_source {
    float *x; /* [T,D] */
    size_t T;
    bool coded; /* q8 is x already */
} product_source;

/* y = x W^T of all of a list, to be run in shares. */
typedef struct product_job {
    struct forward *f;
    matrix_input in;
    const product *list;
    int n;
    size_t panels; /* of all of them */
    size_t share;  /* panels a task */
} product_job;

/* What is done to each row by itself, in this order; what is not asked for is left out. */
typedef struct product_rows {
    size_t T, width;        /* of x */
    bool add;               /* h += what was deferred */
    const model_norm *norm; /* x = norm of h */
    const model_ffn *bend;  /* x = its activation, of x and f->up */
    float *x;
    bool codes; /* q8 = x in eight bits */
} product_rows;

/* Does a product of the list read int8? Weight types may differ between matrices that share an
 * input; each reads the form it knows. */
bool product_wants_codes(const product *list, int n);

/* y = x W^T for up to three matrices that share their input x. */
void product_run(struct forward *f, product_source from, const product *list, int n);

/* The same in two steps: a job, and its shares, each of which a task runs. */
product_job product_open(struct forward *f, product_source from, const product *list, int n);
void product_share(void *job, int i, int slot);
void product_run_shares(const product_job *job, team_task *task, void *arg);

/* What is done to rows, shared out. */
void product_do_rows(struct forward *f, const product_rows *rows);

/* What half a layer makes is added to h where the next one begins, behind what was deferred
 * before it. */
void product_defer(struct forward *f, step_residual r);

/* h += what was deferred; x = norm of h, and its codes for the products of the list. Without a
 * norm x is left alone: after the last layer only rows whose logits are wanted have one. */
product_source product_add_norm(struct forward *f, const model_norm *norm, const product *list,
                                int n);

#endif
