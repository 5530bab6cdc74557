/* bad_gguf.c - writes good.gguf, the same in two files and every malformed model into a
 * folder, and says on stdout for each file who refuses it and which field the message must
 * name. */
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>

#include "tests/split.h"
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

/* The files of a pair as NAME-00001-of-00002.gguf and so on. Frees the pair. */
static void write_pair(const char *folder, const char *name, split_pair *p)
{
    for (int no = 0; no < SPLIT_FILES; no++) {
        size_t n;
        unsigned char *bytes = split_write(p, no, &n);
        char file[80];

        snprintf(file, sizeof file, "%s-%05d-of-%05d", name, no + 1, SPLIT_FILES);
        if (bytes) write_file(folder, file, bytes, n);
    }
    split_free(p);
}

static void write_splits(const char *folder, const char *const *stage)
{
    split_pair good = split_new();
    const bad_split *c;

    write_pair(folder, "good", &good);
    for (size_t i = 0; (c = bad_split_at(i)); i++) {
        split_pair p = split_new();

        c->spoil(p.part[0], p.part[1]);
        write_pair(folder, c->name, &p);
        printf("%s %s-00001-of-%05d ", stage[c->stage], c->name, SPLIT_FILES);
        if (c->file > 1) printf("%s-%05d-of-%05d.gguf", c->name, c->file, SPLIT_FILES);
        printf("%s%s\n", c->file > 1 && *c->field ? ": " : "", c->field);
    }
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
    write_splits(argv[1], stage);
    return 0;
}
