/* importance.h - how large the numbers are that each column of a model's matrices is multiplied
 * with: the mean of their squares over a text. A quantizer that knows it puts its errors where
 * they count least (an "importance matrix").
 *
 * Columns of a matrix share what it is multiplied with, and matrices that read the same rows
 * share all of it; each expert is multiplied with the rows of tokens that chose it. */
#ifndef XCACHE_CALIBRATE_IMPORTANCE_H
#define XCACHE_CALIBRATE_IMPORTANCE_H

#include "xcache/calibrate/reader.h"

typedef struct importance importance;

/* Read the text with the model. ERR_NOMEM, ERR_SYSTEM. The caller closes. */
err importance_open(importance **out, const reader_model *r, const reader_text *text,
                    const stage *p);
void importance_close(importance *i);

/* The numbers [columns] of a tensor of the model's file, of one of its planes; NULL: there are
 * none (an expert that no token chose, or no matrix). Owned by i. */
const float *importance_find(const importance *i, const char *tensor, size_t plane);

#endif
