/* hf_folder.c - reads the files of a Hugging Face folder.
 *
 * JSON files are read whole, weights are mapped. An index of several weight files is checked in
 * both directions, index to files and files to index: a folder of which one file is from
 * another download would otherwise convert. File names in it are names within the folder and no
 * paths. */
#include "server/convert/hf_folder.h"

#include <errno.h>
#include <libgen.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "server/document.h"

static const char single[] = "model.safetensors";
static const char many[] = "model.safetensors.index.json";

/* Whoever reads a member does not know the file; the caller who does puts its name in front. */
bool hf_folder_blame(fault *why, const char *file)
{
    char said[sizeof why->sentence];

    memcpy(said, why->sentence, sizeof said);
    return fault_refuse(why, ERR_JSON, NULL, "%s: %s", file, said);
}

static bool no_memory(fault *why)
{
    return fault_refuse(why, ERR_JSON, NULL, "out of memory");
}

/* FOLDER/file; the caller frees. NULL: out of memory. Paths of our own making, without "..". */
static char *join(const hf_folder *f, const char *file)
{
    char *path;

    return asprintf(&path, "%s/%s", f->path, file) < 0 ? NULL : path;
}

/* A file's text; *text stays NULL where there is none, which is an error if it must be. */
static bool read_text(const hf_folder *f, const char *file, bool must, char **text, fault *why)
{
    char *path = join(f, file);
    size_t n = 0;

    if (!path) return no_memory(why);
    errno = 0;
    *text = document_read(path, &n);
    free(path);
    if (*text && strlen(*text) == n) return true; /* cJSON and templates are C strings */
    if (*text) {
        free(*text);
        *text = NULL;
        return fault_refuse(why, ERR_JSON, NULL, "%s: contains a NUL byte", file);
    }
    if (!must && errno == ENOENT) return true;
    return fault_refuse(why, ERR_JSON, NULL, "%s: %s", file,
                        errno ? strerror(errno) : "out of memory");
}

static bool read_json(const hf_folder *f, const char *file, bool must, cJSON **out, fault *why)
{
    char *text = NULL;
    bool read = read_text(f, file, must, &text, why);

    if (read && text) {
        read = json_parse_file(out, text, strlen(text), "it", why) ||
               hf_folder_blame(why, file);
        if (read && !cJSON_IsObject(*out))
            read = fault_refuse(why, ERR_JSON, NULL, "%s: is no JSON object", file);
    }
    free(text);
    return read;
}

/* The template has had three places; tokenizer_config.json is the oldest of them. */
static bool read_template(hf_folder *f, fault *why)
{
    cJSON *file = NULL;
    char *text = NULL;

    if (!read_text(f, "chat_template.jinja", false, &text, why)) return false;
    if (text) {
        f->chat_template = cJSON_CreateString(text);
        free(text);
        return f->chat_template || no_memory(why);
    }
    if (!read_json(f, "chat_template.json", false, &file, why)) return false;
    f->chat_template = cJSON_DetachItemFromObjectCaseSensitive(file, "chat_template");
    cJSON_Delete(file);
    return true;
}

/* --- weights --- */

/* Files stay open until the folder is closed: tensors point into their mappings. */
static bool open_shard(hf_folder *f, const char *file, fault *why)
{
    char *path = join(f, file);
    /* Grown one by one: there are tens of files at most, and mapping each costs far more. */
    safetensors **more = reallocarray(f->shard, f->shards + 1, sizeof *more);
    uint8_t **marks = reallocarray(f->taken, f->shards + 1, sizeof *marks);
    bool opened = false;

    if (more) f->shard = more;
    if (marks) f->taken = marks;
    if (!path || !more || !marks) {
        free(path);
        return no_memory(why);
    }
    opened = safetensors_open(&f->shard[f->shards], path, why);
    free(path);
    if (!opened) return hf_folder_blame(why, file);
    f->taken[f->shards] = calloc(safetensors_count(f->shard[f->shards]) + 1, 1);
    f->shards++;
    return f->taken[f->shards - 1] || no_memory(why);
}

static int by_text(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

/* The files that the map names, each once, as `files` [entries]; *n of them. */
static bool list_files(const cJSON *map, const char **files, size_t *n, fault *why)
{
    const cJSON *item;
    size_t count = 0;

    cJSON_ArrayForEach (item, map) {
        if (!cJSON_IsString(item) || !*item->valuestring || strchr(item->valuestring, '/') ||
            item->valuestring[0] == '.')
            return fault_refuse(why, ERR_JSON, NULL, "%s: %s has no file of this folder", many,
                                item->string);
        files[count++] = item->valuestring;
    }
    qsort(files, count, sizeof *files, by_text); /* equal ones side by side */
    for (size_t i = 0; i < count; i++)
        if (*n == 0 || strcmp(files[*n - 1], files[i]) != 0) files[(*n)++] = files[i];
    return true;
}

/* Each tensor is in the file that the map has for it, and the files hold no others. */
static bool check_map(const hf_folder *f, const cJSON *map, const char **files, fault *why)
{
    const cJSON *item;

    cJSON_ArrayForEach (item, map) {
        size_t i = 0;

        /* Ends: list_files has taken every name of the map into files. */
        while (strcmp(files[i], item->valuestring) != 0) i++;
        if (!safetensors_find(f->shard[i], item->string))
            return fault_refuse(why, ERR_JSON, NULL, "%s: tensor %s is missing", files[i],
                                item->string);
    }
    for (size_t i = 0; i < f->shards; i++)
        for (size_t t = 0; t < safetensors_count(f->shard[i]); t++) {
            const char *name = safetensors_at(f->shard[i], t)->name;
            const cJSON *file = json_get(map, name);

            if (!file || strcmp(file->valuestring, files[i]) != 0)
                return fault_refuse(why, ERR_JSON, NULL, "%s: tensor %s is not in %s", files[i],
                                    name, many);
        }
    return true;
}

static bool open_files(hf_folder *f, const cJSON *map, const char **files, fault *why)
{
    size_t n = 0;

    if (!list_files(map, files, &n, why)) return false;
    for (size_t i = 0; i < n; i++)
        if (!open_shard(f, files[i], why)) return false;
    return check_map(f, map, files, why);
}

/* The index is needed for its map alone: what is in which file each file says itself. */
static bool open_sharded(hf_folder *f, fault *why)
{
    cJSON *index = NULL;
    const cJSON *map;
    const char **files;
    bool opened;

    if (!read_json(f, many, true, &index, why)) return false;
    map = json_get(index, "weight_map");
    if (!cJSON_IsObject(map)) {
        cJSON_Delete(index);
        return fault_refuse(why, ERR_JSON, NULL, "%s: it has no weight_map", many);
    }
    files = malloc(((size_t)cJSON_GetArraySize(map) + 1) * sizeof *files);
    opened = files ? open_files(f, map, files, why) : no_memory(why);
    free(files);
    cJSON_Delete(index);
    return opened;
}

static bool open_weights(hf_folder *f, fault *why)
{
    char *path = join(f, single), *index = join(f, many);
    bool opened;

    if (!path || !index)
        opened = no_memory(why);
    else if (access(path, F_OK) == 0) /* the single file wins: an index may be a leftover */
        opened = open_shard(f, single, why);
    else if (access(index, F_OK) == 0)
        opened = open_sharded(f, why);
    else
        opened = fault_refuse(why, ERR_JSON, NULL, "neither %s nor %s is there", single, many);
    free(path);
    free(index);
    return opened;
}

/* --- models within models --- */

/* A model that also sees has its text's sizes in an object of their own; what is said of the
 * whole holds where the text says nothing else. Its class, and whether the output is the
 * embedding, are the whole's. */
static bool unwrap_config(hf_folder *f, fault *why)
{
    static const char *const whole[] = {"architectures", "tie_word_embeddings"};
    cJSON *text = cJSON_DetachItemFromObjectCaseSensitive(f->config, "text_config"), *item;

    if (!cJSON_IsObject(text)) {
        cJSON_Delete(text);
        return true;
    }
    f->wrapped = true;
    for (int i = 0; i < 2; i++)
        if (json_get(f->config, whole[i]))
            cJSON_DeleteItemFromObjectCaseSensitive(text, whole[i]);
    while ((item = f->config->child)) {
        cJSON_DetachItemViaPointer(f->config, item);
        if (json_get(text, item->string)) {
            cJSON_Delete(item);
            continue;
        }
        cJSON_DeleteItemFromObjectCaseSensitive(text, item->string); /* a null */
        if (!cJSON_AddItemToObject(text, item->string, item)) {
            cJSON_Delete(item);
            cJSON_Delete(text);
            return no_memory(why);
        }
    }
    cJSON_Delete(f->config);
    f->config = text;
    return true;
}

/* What the names of the text's tensors begin with, where others have "model." */
static void find_prefix(hf_folder *f)
{
    static const char *const prefixes[] = {"model.", "language_model.model.",
                                           "model.language_model.", "language_model.", ""};
    char name[128];

    f->prefix = prefixes[0];
    for (size_t i = 0; i < sizeof prefixes / sizeof prefixes[0]; i++) {
        snprintf(name, sizeof name, "%sembed_tokens.weight", prefixes[i]);
        for (size_t s = 0; s < f->shards; s++) {
            if (!safetensors_find(f->shard[s], name)) continue;
            f->prefix = prefixes[i];
            return;
        }
    }
}

/* --- all of it --- */

/* The folder's own name, also of ".": the model is called after it, and realpath follows links,
 * so a snapshot of the hub's cache is named by its revision. */
static char *name_folder(const char *path)
{
    char *whole = realpath(path, NULL), *name = whole ? strdup(basename(whole)) : NULL;

    free(whole);
    return name;
}

static bool open_all(hf_folder *f, fault *why)
{
    if (!open_weights(f, why)) return false;
    find_prefix(f);
    return true;
}

bool hf_folder_open(hf_folder *f, const char *path, fault *why)
{
    *f = (hf_folder){.path = strdup(path)};
    if (!f->path) return no_memory(why);
    f->name = name_folder(path);
    if (!f->name) return fault_refuse(why, ERR_JSON, NULL, "%s", strerror(errno));
    /* Small files first: what is wrong with them is said before gigabytes are mapped. */
    if (!read_json(f, "config.json", true, &f->config, why) || !unwrap_config(f, why))
        return false;
    return read_json(f, "tokenizer.json", true, &f->tokenizer, why) &&
           read_json(f, "tokenizer_config.json", false, &f->tokenizer_config, why) &&
           read_json(f, "generation_config.json", false, &f->generation, why) &&
           read_template(f, why) && open_all(f, why);
}

void hf_folder_close(hf_folder *f)
{
    for (size_t i = 0; i < f->shards; i++) {
        safetensors_close(f->shard[i]);
        free(f->taken[i]);
    }
    free(f->shard);
    free(f->taken);
    cJSON_Delete(f->config);
    cJSON_Delete(f->tokenizer);
    cJSON_Delete(f->tokenizer_config);
    cJSON_Delete(f->generation);
    cJSON_Delete(f->chat_template);
    free(f->path);
    free(f->name);
    *f = (hf_folder){0};
}

/* --- tensors --- */

static const safetensor *take(const hf_folder *f, const char *name)
{
    for (size_t i = 0; i < f->shards; i++) {
        const safetensor *t = safetensors_find(f->shard[i], name);

        if (!t) continue;
        f->taken[i][t - safetensors_at(f->shard[i], 0)] = 1;
        return t;
    }
    return NULL;
}

const safetensor *hf_folder_take(const hf_folder *f, const char *name)
{
    static const char usual[] = "model.", head[] = "lm_head.";
    const bool prefixed = strncmp(name, usual, sizeof usual - 1) == 0;
    const safetensor *t = NULL;
    char other[256];

    if (prefixed) {
        snprintf(other, sizeof other, "%s%s", f->prefix, name + sizeof usual - 1);
        return take(f, other);
    }
    t = take(f, name);
    if (t || strncmp(name, head, sizeof head - 1) != 0) return t;
    snprintf(other, sizeof other, "language_model.%s", name); /* the output of what is within */
    return take(f, other);
}

void hf_folder_drop(const hf_folder *f, const safetensor *t)
{
    for (size_t i = 0; i < f->shards; i++)
        if (safetensors_find(f->shard[i], t->name) == t) safetensors_drop(f->shard[i], t);
}
