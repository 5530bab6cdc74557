/* test_gguf_split.c - a model in several files is the model in one, and files that do not
 * belong together are told apart. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "engine/gguf/gguf.h"
#include "tests/folder.h"
#include "tests/split.h"
#include "tests/test.h"
#include "xcache/codec/plan.h"

/* The files of a pair in memory, an absent one empty. */
typedef struct images {
    unsigned char *bytes[SPLIT_FILES];
    gguf_image file[SPLIT_FILES];
} images;

/* Frees the pair. */
static images write_images(split_pair *p)
{
    images i = {0};

    for (int no = 0; no < SPLIT_FILES; no++) {
        i.bytes[no] = split_write(p, no, &i.file[no].n);
        i.file[no].data = i.bytes[no];
    }
    split_free(p);
    return i;
}

static void free_images(images *i)
{
    for (int no = 0; no < SPLIT_FILES; no++) free(i->bytes[no]);
}

static bool is_same_tensor(const gguf_tensor *a, const gguf_tensor *b)
{
    return a->name.n == b->name.n && memcmp(a->name.at, b->name.at, a->name.n) == 0 &&
           a->type == b->type && memcmp(a->dim, b->dim, sizeof a->dim) == 0 &&
           a->bytes == b->bytes && memcmp(a->data, b->data, a->bytes) == 0;
}

/* Tensors, their order, what finds them, and the identity that plans go by. */
static void check_same(const gguf *whole, const gguf *parts)
{
    plan_hash a, b;

    CHECK(gguf_tensors(whole) == gguf_tensors(parts));
    for (size_t i = 0; i < gguf_tensors(whole); i++) {
        const gguf_tensor *t = gguf_tensor_at(whole, i), *u = gguf_tensor_at(parts, i);
        char name[64];

        CHECK(is_same_tensor(t, u));
        snprintf(name, sizeof name, "%.*s", (int)u->name.n, u->name.at);
        CHECK(gguf_find(parts, name) == u);
    }
    CHECK(plan_hash_model(whole, &a) == ERR_OK && plan_hash_model(parts, &b) == ERR_OK);
    CHECK(memcmp(&a, &b, sizeof a) == 0);
}

TEST(split_model_in_memory_is_the_model_in_one_file)
{
    split_pair pair = split_new();
    images i = write_images(&pair);
    tiny *m = tiny_new();
    unsigned char *bytes;
    gguf *whole, *parts;
    uint64_t layers;
    size_t n;

    bytes = tiny_write(m, &n, NULL, NULL);
    CHECK(gguf_open_memory(&whole, bytes, n, NULL) == ERR_OK && gguf_files(whole) == 1);
    CHECK(gguf_open_images(&parts, i.file, SPLIT_FILES, NULL) == ERR_OK);
    CHECK(gguf_files(parts) == SPLIT_FILES);
    CHECK(gguf_file_bytes(parts) == i.file[0].n + i.file[1].n);
    CHECK(gguf_get_u64(parts, "llama.block_count", &layers) == ERR_OK && layers == 2);
    check_same(whole, parts);
    gguf_close(whole);
    gguf_close(parts);
    free(bytes);
    tiny_free(m);
    free_images(&i);
}

TEST(split_model_that_is_spoiled_is_refused_by_file_and_field)
{
    const bad_split *c;
    size_t n = 0;

    for (; (c = bad_split_at(n)); n++) {
        split_pair pair = split_new();
        gguf *g = NULL;
        fault why;
        images i;
        err e;

        c->spoil(pair.part[0], pair.part[1]);
        i = write_images(&pair);
        e = gguf_open_images(&g, i.file, SPLIT_FILES, &why);
        if ((e == ERR_OK) != (c->stage == BAD_MODEL)) fail_msg("%s: %s", c->name, err_name(e));
        if (e != ERR_OK) {
            CHECK(!g && strstr(why.field, c->field));
            CHECK((c->file == 2) == (strncmp(why.field, "file 2", 6) == 0));
        }
        gguf_close(g);
        free_images(&i);
    }
    CHECK(n >= 30);
}

TEST(split_count_of_0_or_1_is_one_file)
{
    for (uint32_t count = 0; count < 2; count++) {
        tiny *m = tiny_new();
        unsigned char *bytes;
        gguf *g = NULL;
        size_t n;

        tiny_set_u32(m, "split.count", count);
        bytes = tiny_write(m, &n, NULL, NULL);
        CHECK(gguf_open_memory(&g, bytes, n, NULL) == ERR_OK && gguf_files(g) == 1);
        gguf_close(g);
        free(bytes);
        tiny_free(m);
    }
}

TEST(split_image_that_lacks_the_others_is_refused)
{
    split_pair pair = split_new();
    images i = write_images(&pair);
    gguf *g = NULL;
    fault why;

    CHECK(gguf_open_memory(&g, i.file[0].data, i.file[0].n, &why) == ERR_SPLIT && !g);
    CHECK(strcmp(why.field, "split.count") == 0);
    free_images(&i);
}

/* tests/tools/split_gguf of this build, found from the test's own place. */
static void run_splitter(const char *arguments)
{
    char self[4096], command[9000];
    const ssize_t length = readlink("/proc/self/exe", self, sizeof self - 1);

    CHECK(length > 0);
    self[length] = '\0';
    for (int up = 0; up < 2; up++) *strrchr(self, '/') = '\0';
    snprintf(command, sizeof command, "%s/tools/split_gguf %s", self, arguments);
    CHECK(system(command) == 0);
}

TEST(split_files_of_the_embedded_model_are_the_model)
{
    static const char *const how[] = {"3", "--no-tensors-first 4", "1"};
    static const size_t files[] = {3, 4, 1};
    const char *model = "models/seedling-32m-mha-q8_0.gguf";
    const folder in = folder_make();
    char text[FOLDER_PATH];
    gguf *whole, *parts;

    CHECK(gguf_open(&whole, model, NULL) == ERR_OK);
    for (size_t i = 0; i < sizeof how / sizeof how[0]; i++) {
        snprintf(text, sizeof text, "%s %s %s/m", how[i], model, in.path);
        run_splitter(text);
        snprintf(text, sizeof text, "%s/m-00001-of-%05zu.gguf", in.path, files[i]);
        CHECK(gguf_open(&parts, text, NULL) == ERR_OK && gguf_files(parts) == files[i]);
        CHECK(gguf_keys(parts) == gguf_keys(whole) + 3);
        check_same(whole, parts);
        CHECK((uintptr_t)gguf_tensor_at(parts, gguf_tensors(parts) - 1)->data % 32 == 0);
        gguf_close(parts);
    }
    gguf_close(whole);
    folder_remove(&in);
}

TEST(split_file_with_a_long_name_is_still_named)
{
    const folder in = folder_make();
    char path[FOLDER_PATH], name[256];
    split_pair pair = split_new();
    images i = write_images(&pair);
    gguf *g = NULL;
    fault why;

    snprintf(name, sizeof name, "%0200d-00001-of-00002.gguf", 0);
    folder_write(&in, name, i.bytes[0], i.file[0].n);
    folder_path(&in, name, path);
    CHECK(gguf_open(&g, path, &why) == ERR_OPEN && !g);
    CHECK(strstr(why.field, "000-00002-of-00002.gguf") && strlen(why.field) < 128);
    folder_remove(&in);
    free_images(&i);
}
