/* hf_rows.h - the rows of one tensor of the file that is made, read from where a folder has
 * them.
 *
 * A folder's tensor may be the rows side by side, or column by column; hold two tensors, one
 * behind the other or in turns; be one of all experts or one of each; and be numbers of several
 * types, of which some need the scales of a second tensor. */
#ifndef SERVER_CONVERT_HF_ROWS_H
#define SERVER_CONVERT_HF_ROWS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "server/convert/safetensors.h"

typedef enum hf_number { HF_F32, HF_F16, HF_BF16, HF_E4M3, HF_MXFP4 } hf_number;

/* A tensor of the folder. MXFP4: blocks of 32 numbers, 16 bytes each, low halves of bytes
 * first; scale: an exponent each. E4M3: scale has rows and columns. */
typedef struct hf_source {
    const safetensor *t, *scale; /* scale: NULL where the type has none */
    hf_number type, scale_type;
    size_t block[2], scale_cols; /* E4M3: what a scale is for; numbers in a row of scales */
} hf_source;

typedef struct hf_rows {
    hf_source *source;    /* [1], of all planes, or [planes]; owned. NULL: numbers */
    const float *numbers; /* a vector */
    size_t sources, planes, rows, cols; /* as the file that is made has them */
    size_t all, first,
        step;     /* row r of a plane is row first + step * r of the source's `all` */
    size_t heads; /* whose rows change their order; 0: none */
    bool turned;  /* the source has [cols,all] */
    bool gain;    /* plus 1 */
} hf_rows;

/* Row r of all planes counted through, as floats [cols]. Threads may call it at once. */
void hf_rows_read(const hf_rows *s, size_t r, float *out);

/* The same as blocks of GGUF's MXFP4, to the bit; only where hf_rows_is_mxfp4. */
void hf_rows_copy(const hf_rows *s, size_t r, uint8_t *out);
bool hf_rows_is_mxfp4(const hf_rows *s);

/* What a message calls it. */
const char *hf_rows_name(const hf_rows *s, const char *otherwise);

#endif
