/* fuzz_gguf.c - any bytes as a model file, and as the two of a split model where a second one
 * begins: refused by name, or a file and a vocabulary. */
#include <stdlib.h>
#include <string.h>

#include "engine/gguf/gguf.h"
#include "engine/tokenizer/tokenizer.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

/* Read what an opened file claims to hold, to its last byte. */
static void read_all(const gguf *g)
{
    volatile unsigned char last;
    char value[64];

    for (size_t i = 0; i < gguf_keys(g); i++) gguf_print_value(g, i, value, sizeof value);
    for (size_t i = 0; i < gguf_tensors(g); i++) {
        const gguf_tensor *t = gguf_tensor_at(g, i);

        last = ((const unsigned char *)t->data)[t->bytes - 1];
    }
    (void)last;
}

/* What a vocabulary encodes, it spells again, but for spaces that it puts before text and takes
 * from behind control tokens, for bytes that it lacks, and for what normal forms make longer.
 */
static void round_trip(const tokenizer *t, tokenizer_specials how)
{
    static const char text[] = "he said: 'hello world' 123\n\xff <|im_end|>";
    const size_t most = tokenizer_most_ids(t, sizeof text);
    int32_t *ids = malloc((most + 1) * sizeof *ids);
    size_t n = 0, bytes = 0;

    if (ids && tokenizer_encode(t, text, sizeof text, how, ids, &n) != ERR_OK) n = 0;
    if (n > most) abort();
    for (size_t i = 0; i < n; i++) bytes += tokenizer_piece(t, ids[i], true).n;
    if (bytes > sizeof text && most == sizeof text && how != TOKENIZER_SPECIALS) abort();
    free(ids);
}

static void open_files(const gguf_image *files, size_t n)
{
    gguf *g = NULL;
    tokenizer *t = NULL;
    fault why;

    if (gguf_open_images(&g, files, n, &why) != ERR_OK) {
        if (!why.field[0] || g) abort();
        return;
    }
    read_all(g);
    if (tokenizer_new(&t, g, &why) == ERR_OK) {
        round_trip(t, TOKENIZER_PLAIN);
        round_trip(t, TOKENIZER_SPECIALS);
    } else if (!why.field[0] || t) {
        abort();
    }
    tokenizer_free(t);
    gguf_close(g);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    const gguf_image whole = {data, n};
    const uint8_t *second = n > 4 ? memmem(data + 4, n - 4, "GGUF", 4) : NULL;

    open_files(&whole, 1);
    if (second) {
        const gguf_image pair[] = {{data, (size_t)(second - data)},
                                   {second, n - (size_t)(second - data)}};

        open_files(pair, 2);
    }
    return 0;
}
