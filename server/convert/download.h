/* download.h - models by their names: of the catalogue, and of the Hugging Face hub.
 *
 *   hf:OWNER/REPO:FILE   a file of the hub, at CACHE/models/OWNER/REPO/FILE. Of a model in
 * several files (x-00001-of-00003.gguf) all are fetched NAME                 of catalog.h: with
 * the program, or at CACHE/models/FILE, else from the first of its sources that has it anything
 * else        a path CACHE is ${XDG_CACHE_HOME:-~/.cache}/xquantd. What is there is used
 * without network. HF_ENDPOINT is another hub than https://huggingface.co, HF_TOKEN is
 * presented to it. */
#ifndef SERVER_CONVERT_DOWNLOAD_H
#define SERVER_CONVERT_DOWNLOAD_H

#include <stdbool.h>
#include <stddef.h>

#include "engine/err.h"
#include "server/convert/catalog.h"

/* Where a model that a person names is: fetched first where it is not here. A word that is
 * neither a file nor a name of the catalogue is refused (ERR_OPEN).
 *   seconds              after which a download is given up; 0: never
 *   path  [n]            out  of the file, or of the first of several
 *   what  [what_bytes]   out  on failure: the name, and why
 * ERR_DOWNLOAD, ERR_OPEN. May take long. */
err download_locate(const char *model, unsigned seconds, char *path, size_t n, char *what,
                    size_t what_bytes);

/* Where a name's file lies in the cache folder, whether it is there or not; false: it is no
 * name, or there is no such folder. */
bool download_place(const char *model, const catalog *c, char *path, size_t n);

#endif
