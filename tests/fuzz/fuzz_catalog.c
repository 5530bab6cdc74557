/* fuzz_catalog.c - any bytes as a catalogue: what is read has names that are words, and what is
 * not is refused with its line. Seeds: tests/fuzz/catalog/. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "server/convert/catalog.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void must(bool holds)
{
    if (!holds) abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char *text = malloc(size + 1), why[128] = "";
    catalog c;

    if (!text) return 0;
    if (size) memcpy(text, data, size);
    text[size] = '\0';
    if (!catalog_parse(&c, text, size, why, sizeof why)) must(*why >= '1' && *why <= '9');
    for (size_t i = 0; i < c.n; i++) {
        must(!strchr(c.rows[i].file, '/') && c.rows[i].file[0] != '.');
        must(c.rows[i].bytes > 0 && catalog_find(&c, c.rows[i].name) == &c.rows[i]);
    }
    catalog_close(&c);
    return 0;
}
