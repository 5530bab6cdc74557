/* read_file.c - a whole file in memory. */
#include "tests/read_file.h"

#include <stdio.h>
#include <stdlib.h>

char *read_file(const char *path, size_t *n)
{
    FILE *f = fopen(path, "rb");
    char *text = NULL;
    long size = -1;

    if (f && fseek(f, 0, SEEK_END) == 0) size = ftell(f);
    if (size >= 0) text = malloc((size_t)size + 1);
    if (!text || fseek(f, 0, SEEK_SET) != 0 ||
        fread(text, 1, (size_t)size, f) != (size_t)size) {
        fprintf(stderr, "cannot read %s\n", path);
        abort();
    }
    fclose(f);
    text[size] = '\0';
    if (n) *n = (size_t)size;
    return text;
}
