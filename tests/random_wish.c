/* random_wish.c - what a random model is to be, read from a command line. */
#include <getopt.h>
#include <stdlib.h>
#include <string.h>

#include "engine/model/matrix.h"
#include "tests/encode.h"
#include "tests/random.h"

bool random_is(const random_wish *w, const char *words)
{
    const size_t n = strlen(w->arch->name);

    for (const char *at = words; (at = strstr(at, w->arch->name)); at += n)
        if ((at == words || at[-1] == ' ') && (!at[n] || at[n] == ' ')) return true;
    return false;
}

size_t random_dense_ffn(const random_wish *w)
{
    return random_is(w, "llama4 glm4moe") ? 2 * w->ffn : w->ffn;
}

/* Of other widths than an expert, where the family's may be. */
size_t random_shared_ffn(const random_wish *w)
{
    if (random_is(w, "llama4 glm4moe")) return w->ffn;
    return random_is(w, "qwen2moe granitemoe") ? w->ffn + 32 : 0;
}

static bool read_number(const char *text, size_t *out)
{
    char *end;

    *out = strtoul(text, &end, 10);
    return *text >= '0' && *text <= '9' && !*end && *out >= 1 && *out <= 1 << 24;
}

/* Index of a word in a list that ends with NULL; -1: none. */
static int find_word(const char *const *words, const char *text)
{
    for (int i = 0; words[i]; i++)
        if (strcmp(words[i], text) == 0) return i;
    return -1;
}

static bool read_word(random_wish *w, const char *option, const char *text)
{
    static const char *const ropes[] = {"plain", "linear", "yarn", "factors", "long", NULL};
    const int i = find_word(ropes, text);

    if (strcmp(option, "tokens") == 0) {
        w->tokens = text;
    } else if (strcmp(option, "arch") == 0) {
        w->arch = arch_named((gguf_text){text, strlen(text)});
    } else if (strcmp(option, "type") == 0) {
        if (!encode_find_type(text, &w->type) || !matrix_knows(w->type)) return false;
    } else if (i >= 0) {
        w->rope = (random_rope)i;
    } else {
        return false;
    }
    return w->arch != NULL;
}

bool random_parse(random_wish *w, int argc, char **argv)
{
    static const struct option options[] = {
        {"d", 1, NULL, 0},        {"layers", 1, NULL, 1},   {"heads", 1, NULL, 2},
        {"kv-heads", 1, NULL, 3}, {"head-dim", 1, NULL, 4}, {"ffn", 1, NULL, 5},
        {"vocab", 1, NULL, 6},    {"ctx", 1, NULL, 7},      {"seed", 1, NULL, 8},
        {"turning", 1, NULL, 9},  {"window", 1, NULL, 10},  {"experts", 1, NULL, 11},
        {"used", 1, NULL, 12},    {"massive", 1, NULL, 13}, {"beside", 1, NULL, 14},
        {"arch", 1, NULL, 15},    {"type", 1, NULL, 15},    {"rope", 1, NULL, 15},
        {"tokens", 1, NULL, 15},  {"pooling", 1, NULL, 16}, {NULL, 0, NULL, 0}};
    size_t *const numbers[] = {&w->d,      &w->layers,  &w->heads, &w->kv_heads, &w->head_dim,
                               &w->ffn,    &w->vocab,   &w->ctx,   &w->seed,     &w->turning,
                               &w->window, &w->experts, &w->used,  &w->massive,  &w->beside};
    int at = 0;

    optind = 0; /* a new list of arguments, for glibc */
    for (int i; (i = getopt_long(argc, argv, "", options, &at)) != -1;) {
        if (i == 15 && !read_word(w, options[at].name, optarg)) return false;
        if (i == 16 && !read_number(optarg, &w->pooling)) return false;
        if (i < 0 || i > 16 || (i < 15 && !read_number(optarg, numbers[i]))) return false;
    }
    if (optind + 1 != argc || w->heads % w->kv_heads || w->d % 32) return false;
    w->out = argv[optind];
    if (!w->head_dim) w->head_dim = w->d / w->heads;
    if (!w->turning) w->turning = w->head_dim;
    return w->head_dim % 2 == 0 && w->turning % 2 == 0 && !w->experts == !w->used;
}
