/* fuzz_safetensors.c - any bytes as a file of weights: refused with a sentence, or tensors
 * whose every byte is there. */
#include <stdlib.h>
#include <string.h>

#include "engine/utf8.h"
#include "server/convert/safetensors.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

static void read_all(const safetensors *s)
{
    volatile unsigned sum = 0;

    for (size_t i = 0; i < safetensors_count(s); i++) {
        const safetensor *t = safetensors_at(s, i);

        if (safetensors_find(s, t->name) != t || t->n_dims > SAFETENSORS_DIMS) abort();
        for (size_t k = 0; k < t->bytes; k++) sum += ((const unsigned char *)t->data)[k];
    }
    (void)sum;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    fault why = {0};
    safetensors *s = NULL;

    if (safetensors_open_memory(&s, data, n, &why))
        read_all(s);
    else if (s || !why.sentence[0] || !utf8_valid(why.sentence, strlen(why.sentence)))
        abort();
    safetensors_close(s);
    return 0;
}
