/* download.h - models by their name on the Hugging Face hub: hf:OWNER/REPO:FILE.
 *
 * They lie in the user's cache folder as models/OWNER/REPO/FILE; what is there is used
 * without network. Of a model in several files (x-00001-of-00003.gguf) all are fetched.
 * HF_ENDPOINT is another hub than https://huggingface.co, HF_TOKEN is presented to it. */
#ifndef SERVER_CONVERT_DOWNLOAD_H
#define SERVER_CONVERT_DOWNLOAD_H

#include <stddef.h>

#include "engine/err.h"

/* Where a model that --model names is: a path is itself; a name of the hub is fetched first.
 *   path  [n]            out  of the file, or of the first of several
 *   what  [what_bytes]   out  on failure: the name, and why
 * ERR_DOWNLOAD. May take long. */
err download_locate(const char *model, char *path, size_t n, char *what, size_t what_bytes);

#endif
