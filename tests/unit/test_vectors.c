/* test_vectors.c - the tokenizer against texts and ids of other engines' tests.
 *
 * The texts are in the shared folder, the vocabularies, which are not ours to hand on, in a
 * folder named by XQUANTD_VOCABS, under the names of the texts. Of those that are not there
 * only the texts are used. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tests/read_file.h"
#include "tests/test.h"
#include "tests/vocabulary.h"

#define SEEDLING "models/seedling-32m-mha-q8_0.gguf"
#define STORIES  "golden/models/stories260Ktok512.gguf"

enum { TEXTS = 46, MOST_IDS = 4096 };

static const char separator[] = "\n__ggml_vocab_test__\n";
static const char *const names[] = {"gpt-2", "llama-bpe", "llama-spm", "phi-3", "qwen2"};

enum { NAMES = sizeof names / sizeof names[0] };

static char *read_vector(const char *name, const char *kind)
{
    char path[128];

    snprintf(path, sizeof path, "golden/vectors/ggml-vocab-%s.gguf.%s", name, kind);
    return read_file(test_shared(path), NULL);
}

/* The next text of a list, which is moved on; NULL behind the last. */
static const char *next_text(const char **list, size_t *n)
{
    const char *text = *list, *end = strstr(text, separator);

    if (!end) return NULL;
    *n = (size_t)(end - text);
    *list = end + strlen(separator);
    return text;
}

/* The ids of the next line. */
static size_t next_ids(const char **list, int32_t *ids)
{
    size_t n = 0;
    char *end;

    while (**list != '\n') {
        CHECK(n < MOST_IDS);
        ids[n++] = (int32_t)strtol(*list, &end, 10);
        *list = end + strspn(end, " ");
    }
    ++*list;
    return n;
}

static void check_round_trips(const tokenizer *t, const char *texts)
{
    const char *text;
    size_t n;
    int count = 0;

    for (; (text = next_text(&texts, &n)); count++) {
        CHECK(round_trips(t, text, n, TOKENIZER_PLAIN));
        CHECK(round_trips(t, text, n, TOKENIZER_INSIDE));
    }
    CHECK(count == TEXTS);
}

TEST(vectors_texts_round_trip_in_both_kinds_of_vocabulary)
{
    vocabulary v;

    if (!test_shared(STORIES)) SKIP("no shared folder");
    for (int kind = 0; kind < 2; kind++) {
        v = vocabulary_open(kind ? test_shared(STORIES) : SEEDLING);
        for (int i = 0; i < NAMES; i++) {
            char *texts = read_vector(names[i], "inp");

            check_round_trips(v.t, texts);
            free(texts);
        }
        vocabulary_close(&v);
    }
}

static void check_vector(const char *name, const char *path)
{
    char *texts = read_vector(name, "inp"), *lines = read_vector(name, "out");
    const char *text, *at = texts, *line = lines;
    vocabulary v = vocabulary_open(path);
    int32_t ids[MOST_IDS];
    size_t n;

    while ((text = next_text(&at, &n))) {
        const size_t count = next_ids(&line, ids);
        const bool same = encodes(v.t, text, n, TOKENIZER_PLAIN, ids, count);

        if (!same) fprintf(stderr, "%s: '%.*s'\n", name, (int)n, text);
        CHECK(same);
    }
    CHECK(*line == '\0');
    check_round_trips(v.t, texts);
    vocabulary_close(&v);
    free(texts);
    free(lines);
}

TEST(vectors_ids_are_those_of_the_vocabularies_at_hand)
{
    const char *folder = getenv("XQUANTD_VOCABS");
    char path[512];
    int checked = 0;

    if (!test_shared(STORIES)) SKIP("no shared folder");
    for (int i = 0; folder && i < NAMES; i++) {
        snprintf(path, sizeof path, "%s/ggml-vocab-%s.gguf", folder, names[i]);
        if (access(path, R_OK) != 0) continue;
        check_vector(names[i], path);
        checked++;
    }
    printf("%d of %d vocabularies\n", checked, NAMES);
}
