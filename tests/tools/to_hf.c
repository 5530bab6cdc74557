/* to_hf.c - a llama model as a Hugging Face folder: to_hf [--shards N] MODEL.gguf DIR */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/gguf/gguf.h"
#include "tests/hf.h"

int main(int argc, char **argv)
{
    size_t shards = 1;
    fault why = {0};
    gguf *g;

    if (argc == 5 && strcmp(argv[1], "--shards") == 0) {
        shards = strtoul(argv[2], NULL, 10);
        argv += 2;
        argc -= 2;
    }
    if (argc != 3 || shards < 1 || shards > 64) {
        fprintf(stderr, "usage: to_hf [--shards N] MODEL.gguf DIR\n");
        return 2;
    }
    if (gguf_open(&g, argv[1], &why) != ERR_OK) {
        fprintf(stderr, "to_hf: %s: %s\n", argv[1], why.field);
        return 1;
    }
    hf_write(g, argv[2], shards);
    gguf_close(g);
    return 0;
}
