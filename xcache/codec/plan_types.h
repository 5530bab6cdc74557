/* plan_types.h - what a plan is made of, in memory: see plan.h for the file. */
#ifndef XCACHE_CODEC_PLAN_TYPES_H
#define XCACHE_CODEC_PLAN_TYPES_H

#include <stddef.h>
#include <stdint.h>

enum { PLAN_RATIO_MIN = 4, PLAN_RATIO_MAX = 64 };
enum { PLAN_TABLES = 40, PLAN_SYMBOLS = 34 }; /* of rans.h */
enum { PLAN_MAX_STEPS = 64, PLAN_MAX_MEASURED = 64, PLAN_MAX_PLAIN = 16 };

typedef enum plan_kind { PLAN_NONE, PLAN_FULL, PLAN_RANK, PLAN_KINDS } plan_kind;

typedef struct plan_predictor {
    plan_kind kind;
    size_t rank; /* N of PLAN_RANK, else 0 */
} plan_predictor;

typedef struct plan_hash {
    uint8_t bytes[16];
} plan_hash;

/* Kinds of text that divergence is measured on. */
typedef enum plan_text { PLAN_PROSE, PLAN_DIALOGUE, PLAN_CODE, PLAN_TEXTS } plan_text;

/* One ratio, held-out text of each kind, own block exact: mean KL in nats, its 99th percentile,
 * share of positions with the same best token. kl < 0: not measured. */
typedef struct plan_measured {
    float ratio;
    float kl[PLAN_TEXTS], p99[PLAN_TEXTS], top1[PLAN_TEXTS];
} plan_measured;

/* The same of a mode that needs no plan; its ratio is fp16 keys and values over its blocks. */
typedef struct plan_plain {
    char mode[16]; /* "kivi4" */
    plan_measured measured;
} plan_plain;

/* What a plan says about itself. */
typedef struct plan_about {
    plan_hash model;
    size_t D, L, E, C;
    plan_predictor predictor;
    size_t steps, measured, plain;
    size_t kl_tokens; /* positions measured, of each kind */
} plan_about;

/* Rows of int8: of value (r, i) are code (r, i), times the share of its group of 32 columns,
 * times the row's scale. */
typedef struct plan_matrix {
    size_t rows;    /* [rows,D] */
    float *scale;   /* [rows] */
    uint8_t *share; /* [rows,plan_groups(D)] */
    int8_t *code;   /* [rows,D] */
} plan_matrix;

enum { PLAN_GROUP = 32 };

static inline size_t plan_groups(size_t D)
{
    return (D + PLAN_GROUP - 1) / PLAN_GROUP;
}

/* The metric's form: a block [C,C] for each head of K, then of V. */
typedef struct plan_form {
    size_t rows; /* 2E */
    float *scale;
    uint16_t *half; /* [2E,C] */
} plan_form;

/* One layer's bytes. Of an open plan they are read-only. */
typedef struct plan_layer {
    size_t n;        /* components stored */
    float *c;        /* [D] */
    float *diagonal; /* [D] of P - I, what down and up leave to it */
    float *salience; /* [D+1] log2 of a token's salience is this times [x, 1] */
    float *floor;    /* [1] what a direction weighs that neither K nor V sees, 0 or more */
    float *sigma;    /* [n] deviation of a component, falling */
    plan_form form;
    plan_matrix down, up, q;
} plan_layer;

/* The entropy coder's statistics. */
typedef struct plan_tables {
    uint16_t (*frequency)[PLAN_SYMBOLS]; /* [PLAN_TABLES] */
    float *bias;                         /* [PLAN_TABLES] */
} plan_tables;

/* Bits a token of each layer by step. */
typedef struct plan_rates {
    float *step; /* [steps] log2, ascending */
    float *bits; /* [steps,L], falling with the step */
} plan_rates;

/* What plan_make copies. */
typedef struct plan_parts {
    plan_about about; /* measured and plain count what plan_record can add */
    plan_rates rates;
    plan_tables tables;
    const size_t *n;     /* [L] */
    void *const *layers; /* [L] layers 1 .. L-1 laid out */
} plan_parts;

typedef struct plan plan;

#endif
