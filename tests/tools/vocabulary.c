/* vocabulary.c - a vocabulary without its model: converted, asked, timed.
 *
 *   vocabulary make FOLDER FILE    tokenizer.json and its companions as the keys of a model
 * file vocabulary about FILE          the ids of control tokens, BOS and EOS as JSON vocabulary
 * encode FILE HOW     a JSON string a line on stdin, its ids a line on stdout; HOW: plain, as
 * what a user wrote, or specials vocabulary time FILE TEXT      MB/s of a text, the best of
 * some rounds
 *
 * FOLDER is a Hugging Face folder whose weights nobody looks at. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/clock.h"
#include "engine/gguf/gguf_write.h"
#include "engine/tokenizer/tokenizer.h"
#include "server/convert/hf_tokens.h"
#include "tests/read_file.h"

enum { ROUNDS = 7 };

static int fail(const char *what, const char *why)
{
    fprintf(stderr, "%s: %s\n", what, why);
    return 1;
}

/* One past the largest number that a token has. */
static size_t count_ids(const hf_folder *f)
{
    const cJSON *item;
    double most = -1;

    cJSON_ArrayForEach (item, json_get(json_get(f->tokenizer, "model"), "vocab")) {
        if (cJSON_IsNumber(item) && item->valuedouble > most) most = item->valuedouble;
        if (cJSON_IsArray(item)) most++; /* a list of pairs */
    }
    cJSON_ArrayForEach (item, json_get(f->tokenizer, "added_tokens")) {
        const cJSON *id = json_get(item, "id");

        if (cJSON_IsNumber(id) && id->valuedouble > most) most = id->valuedouble;
    }
    return (size_t)(most + 1);
}

static int make(const char *folder, const char *path)
{
    hf_folder f;
    fault why = {0};
    gguf_writer *w = NULL;
    hf_tokens_about about;
    int status = 0;

    if (!hf_folder_open(&f, folder, &why) || gguf_writer_new(&w) != ERR_OK ||
        !hf_tokens_write(&f, count_ids(&f), w, &about, &why))
        status = fail(folder, why.sentence);
    else if (gguf_writer_open(w, path) != ERR_OK || gguf_writer_finish(w) != ERR_OK)
        status = fail(path, "cannot be written");
    gguf_writer_free(w);
    hf_folder_close(&f);
    return status;
}

static int about(const tokenizer *t)
{
    const char *comma = "";

    printf("{\"bos\": %d, \"adds_bos\": %s, \"controls\": [", (int)tokenizer_bos(t),
           tokenizer_adds_bos(t) ? "true" : "false");
    for (int32_t id = 0; (size_t)id < tokenizer_size(t); id++) {
        if (!tokenizer_is_special(t, id) || tokenizer_piece(t, id, false).n) continue;
        printf("%s%d", comma, (int)id);
        comma = ", ";
    }
    printf("]}\n");
    return 0;
}

/* One line; false if it is no JSON string or cannot be encoded. */
static bool encode_line(const tokenizer *t, const char *line, tokenizer_specials how)
{
    cJSON *text = cJSON_Parse(line);
    const size_t n = cJSON_IsString(text) ? strlen(text->valuestring) : 0;
    int32_t *ids = malloc((tokenizer_most_ids(t, n) + 1) * sizeof *ids);
    size_t count = 0;
    const bool encoded = ids && cJSON_IsString(text) &&
                         tokenizer_encode(t, text->valuestring, n, how, ids, &count) == ERR_OK;

    for (size_t i = 0; i < count; i++) printf("%s%d", i ? " " : "", (int)ids[i]);
    printf("\n");
    free(ids);
    cJSON_Delete(text);
    return encoded;
}

static int encode(const tokenizer *t, tokenizer_specials how)
{
    char *line = NULL;
    size_t room = 0;
    int status = 0;

    while (status == 0 && getline(&line, &room, stdin) > 0)
        if (!encode_line(t, line, how)) status = fail("a line", "cannot be encoded");
    free(line);
    return status;
}

static int measure(const tokenizer *t, const char *path)
{
    size_t n, count = 0;
    char *text = read_file(path, &n);
    int32_t *ids = malloc((tokenizer_most_ids(t, n) + 1) * sizeof *ids);
    double best = 1e9;

    for (int i = 0; ids && i < ROUNDS; i++) {
        const double begin = clock_seconds();

        if (tokenizer_encode(t, text, n, TOKENIZER_PLAIN, ids, &count) != ERR_OK) break;
        if (clock_seconds() - begin < best) best = clock_seconds() - begin;
    }
    printf("%.2f MB/s, %zu ids\n", (double)n / best / 1e6, count);
    free(ids);
    free(text);
    return 0;
}

int main(int argc, char **argv)
{
    gguf *g = NULL;
    tokenizer *t = NULL;
    fault why = {0};
    int status = 2;

    if (argc == 4 && strcmp(argv[1], "make") == 0) return make(argv[2], argv[3]);
    if (argc < 3)
        return fail("vocabulary", "make FOLDER FILE | about | encode | time FILE ...");
    if (gguf_open(&g, argv[2], &why) != ERR_OK || tokenizer_new(&t, g, &why) != ERR_OK)
        status = fail(argv[2], why.field);
    else if (strcmp(argv[1], "about") == 0)
        status = about(t);
    else if (argc == 4 && strcmp(argv[1], "encode") == 0)
        status = encode(t, strcmp(argv[3], "plain") ? TOKENIZER_SPECIALS : TOKENIZER_PLAIN);
    else if (argc == 4 && strcmp(argv[1], "time") == 0)
        status = measure(t, argv[3]);
    tokenizer_free(t);
    gguf_close(g);
    return status;
}
