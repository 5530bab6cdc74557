/* hf_source.h - finds a tensor of a folder by its name, with the scales that its type needs,
 * and holds both against the shape that they must have. */
#ifndef SERVER_CONVERT_HF_SOURCE_H
#define SERVER_CONVERT_HF_SOURCE_H

#include "server/convert/hf_folder.h"
#include "server/convert/hf_quant.h"
#include "server/convert/hf_rows.h"

/* The shape: its dimensions in the folder's order, and what it must be read as. */
typedef struct hf_shape {
    uint64_t dim[3];
    int n;
    bool turned;
} hf_shape;

/* *found false: there is no tensor of that name, nor blocks of one. *turned false: it is stored
 * row by row after all, as blocks always are. False: a sentence that names the tensor. */
bool hf_source_find(hf_source *out, const hf_folder *f, const hf_quant *q, const char *name,
                    const hf_shape *shape, bool *found, fault *why);

/* The one number of a tensor; *found false: there is none of that name. */
bool hf_source_number(const hf_folder *f, const char *name, float *out, bool *found,
                      fault *why);

#endif
