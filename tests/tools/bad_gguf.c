/* bad_gguf.c - writes good.gguf and every malformed model into a folder, and says on
 * stdout for each file who refuses it and which field the message must name. */
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>

#include "tests/tiny.h"

static void write_file(const char *folder, const char *name, unsigned char *bytes, size_t n)
{
    char path[4096];
    FILE *f;

    snprintf(path, sizeof path, "%s/%s.gguf", folder, name);
    f = fopen(path, "wb");
    if (!f || fwrite(bytes, 1, n, f) != n || fclose(f) != 0) {
        perror(path);
        exit(1);
    }
    free(bytes);
}

static void write_good(const char *folder)
{
    tiny *m = tiny_new();
    size_t n;
    unsigned char *bytes = tiny_write(m, &n, NULL, NULL);

    write_file(folder, "good", bytes, n);
    tiny_free(m);
}

int main(int argc, char **argv)
{
    static const char *const stage[] = {"file", "tokens", "model"};
    const bad_case *c;

    if (argc != 2) {
        fprintf(stderr, "usage: bad_gguf FOLDER\n");
        return 2;
    }
    mkdir(argv[1], 0777);
    write_good(argv[1]);
    for (size_t i = 0; (c = bad_case_at(i)); i++) {
        size_t n;
        unsigned char *bytes = bad_case_write(c, &n);

        write_file(argv[1], c->name, bytes, n);
        printf("%s %s %s\n", stage[c->stage], c->name, c->field);
    }
    return 0;
}
