/* random_model.c - writes a model of any architecture and shape with random weights, to measure
 * what size costs and to compare with others: see tests/random.h. */
#include <stdio.h>

#include "tests/random.h"

int main(int argc, char **argv)
{
    random_wish w = {.arch = arch_named((gguf_text){"llama", 5}),
                     .d = 2048,
                     .layers = 24,
                     .heads = 32,
                     .kv_heads = 4,
                     .ffn = 5632,
                     .vocab = 32000,
                     .ctx = 2048,
                     .seed = 1,
                     .type = GGUF_F16,
                     .tokens = "models/seedling-32m-mha-q8_0.gguf"};
    FILE *f;

    if (!random_parse(&w, argc, argv)) {
        fprintf(stderr, "usage: random_model " RANDOM_USAGE "\n");
        return 2;
    }
    f = fopen(w.out, "wb");
    if (!f) {
        perror(w.out);
        return 1;
    }
    random_write(&w, f);
    if (fclose(f) != 0) {
        perror(w.out);
        return 1;
    }
    return 0;
}
