/* hf_folder.h - a model as the Hugging Face hub has it: a folder of JSON files and weights.
 *
 * config.json, tokenizer.json and the weights must be there: model.safetensors, or the files
 * that model.safetensors.index.json names. Others may be absent. */
#ifndef SERVER_CONVERT_HF_FOLDER_H
#define SERVER_CONVERT_HF_FOLDER_H

#include "server/convert/safetensors.h"
#include "server/json.h"

typedef struct hf_folder {
    char *path, *name; /* as given; the folder's own name */
    cJSON *config, *tokenizer;
    cJSON *tokenizer_config, *generation; /* NULL: there is no such file */
    cJSON *chat_template;                 /* a text, from a file of its own; or NULL */
    safetensors **shard;
    uint8_t **taken; /* [shards][its tensors] was it asked for? */
    size_t shards;
    bool wrapped;       /* a model of text within another: config is the text's, completed */
    const char *prefix; /* what stands for "model." in names of its tensors; static */
} hf_folder;

/* Open and check all of it. False: a sentence that begins with the file at fault. The caller
 * closes, also after a failure. */
bool hf_folder_open(hf_folder *f, const char *path, fault *why);
void hf_folder_close(hf_folder *f);

/* A tensor by the name that a model of text alone would give it, in whichever file, and a mark
 * that it was asked for; NULL if absent. Owned by f. */
const safetensor *hf_folder_take(const hf_folder *f, const char *name);

/* The pages of t may go (safetensors.h). */
void hf_folder_drop(const hf_folder *f, const safetensor *t);

/* Put "FILE: " before why's sentence. False. */
bool hf_folder_blame(fault *why, const char *file);

#endif
