/* test_gguf_write.c - a model file that is written is read back, and is never there by half. */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "engine/gguf/gguf_write.h"
#include "tests/folder.h"
#include "tests/test.h"

typedef struct place {
    folder in;
    char path[FOLDER_PATH]; /* of the file that is written */
} place;

static place make_place(void)
{
    place p = {.in = folder_make()};

    folder_path(&p.in, "m.gguf", p.path);
    return p;
}

static gguf_tensor tensor(const char *name, gguf_type type, uint64_t cols, uint64_t rows)
{
    return (gguf_tensor){.name = {name, strlen(name)},
                         .type = type,
                         .n_dims = rows ? 2 : 1,
                         .dim = {cols, rows ? rows : 1, 1, 1}};
}

/* A writer that knows every kind of value and two tensors. */
static gguf_writer *new_writer(void)
{
    const gguf_tensor a = tensor("a", GGUF_F32, 3, 0), b = tensor("b", GGUF_Q8_0, 64, 2);
    gguf_writer *w = NULL;

    CHECK(gguf_writer_new(&w) == ERR_OK);
    gguf_write_u32(w, "count", 7);
    gguf_write_f32(w, "real", 0.5f);
    gguf_write_bool(w, "flag", true);
    gguf_write_text(w, "text", "a\nb", 3);
    gguf_write_array(w, "texts", GGUF_TYPE_TEXT, 2);
    gguf_write_element_text(w, "", 0);
    gguf_write_element_text(w, "two", 3);
    gguf_write_array(w, "numbers", GGUF_TYPE_INT32, 1);
    gguf_write_element(w, &(int32_t){-3}, sizeof(int32_t));
    gguf_write_tensor(w, &a);
    gguf_write_tensor(w, &b);
    return w;
}

static const float values[3] = {1, 2, 3};
static const unsigned char codes[2 * 2 * 34] = {1, 2, 3};

static void put_data(gguf_writer *w)
{
    CHECK(gguf_writer_put(w, values, sizeof values) == ERR_OK);
    CHECK(gguf_writer_put(w, codes, 100) == ERR_OK);
    CHECK(gguf_writer_put(w, codes + 100, sizeof codes - 100) == ERR_OK);
}

static void check_file(const place *p)
{
    uint64_t count = 0;
    double value = 0;
    bool flag = false;
    gguf_text text = {"", 0};
    gguf_array texts = {0}, numbers = {0};
    const void *at;
    gguf *g = NULL;

    CHECK(gguf_open(&g, p->path, NULL) == ERR_OK);
    CHECK(gguf_version(g) == 3 && gguf_keys(g) == 6 && gguf_tensors(g) == 2);
    CHECK(gguf_get_u64(g, "count", &count) == ERR_OK && count == 7);
    CHECK(gguf_get_f64(g, "real", &value) == ERR_OK && value >= 0.5 && value <= 0.5);
    CHECK(gguf_get_bool(g, "flag", &flag) == ERR_OK && flag);
    CHECK(gguf_get_text(g, "text", &text) == ERR_OK && text.n == 3);
    CHECK(memcmp(text.at, "a\nb", 3) == 0);
    CHECK(gguf_get_array(g, "texts", &texts) == ERR_OK && texts.n == 2);
    at = texts.data;
    CHECK(gguf_next_text(&at).n == 0 && gguf_next_text(&at).n == 3 && at == texts.end);
    CHECK(gguf_get_array(g, "numbers", &numbers) == ERR_OK);
    CHECK(numbers.n == 1 && *(const signed char *)numbers.data == -3);
    CHECK(memcmp(gguf_find(g, "a")->data, values, sizeof values) == 0);
    CHECK(gguf_find(g, "b")->dim[1] == 2 && gguf_find(g, "b")->type == GGUF_Q8_0);
    CHECK(memcmp(gguf_find(g, "b")->data, codes, sizeof codes) == 0);
    gguf_close(g);
}

TEST(gguf_writer_writes_what_the_loader_reads)
{
    const place p = make_place();
    gguf_writer *w = new_writer();
    const uint64_t bytes = gguf_writer_bytes(w);
    FILE *f;

    CHECK(gguf_writer_open(w, p.path) == ERR_OK);
    put_data(w);
    CHECK(gguf_writer_finish(w) == ERR_OK);
    gguf_writer_free(w);
    check_file(&p);
    CHECK(folder_count(&p.in) == 1);
    f = fopen(p.path, "rb");
    CHECK(f && fseek(f, 0, SEEK_END) == 0 && (uint64_t)ftell(f) == bytes);
    fclose(f);
    folder_remove(&p.in);
}

TEST(gguf_writer_that_does_not_finish_leaves_nothing)
{
    const place p = make_place();
    gguf_writer *w = new_writer();

    CHECK(gguf_writer_open(w, p.path) == ERR_OK);
    CHECK(gguf_writer_put(w, values, sizeof values) == ERR_OK);
    CHECK(folder_count(&p.in) == 1 && access(p.path, F_OK) != 0);
    gguf_writer_free(w);
    CHECK(folder_count(&p.in) == 0);
    folder_remove(&p.in);
}

/* A writer of the same file, some of whose tensors are there. */
static gguf_writer *resumed(const place *p, uint8_t source, size_t want)
{
    const uint8_t id[16] = {source};
    gguf_writer *w = new_writer();
    size_t whole = 99;

    CHECK(gguf_writer_resume(w, p->path, id, &whole) == ERR_OK && whole == want);
    return w;
}

TEST(gguf_writer_goes_on_behind_the_last_whole_tensor)
{
    const place p = make_place();
    gguf_writer *w = resumed(&p, 1, 0), *other = new_writer();
    char part[FOLDER_PATH];
    size_t whole = 0;
    gguf *g;

    CHECK(gguf_writer_put(w, values, sizeof values) == ERR_OK);
    CHECK(gguf_writer_put(w, codes, 100) == ERR_OK);
    CHECK(gguf_writer_resume(other, p.path, (uint8_t[16]){1}, &whole) == ERR_SYSTEM);
    CHECK(errno == EBUSY);
    gguf_writer_free(other);
    gguf_writer_free(w);
    CHECK(gguf_open(&g, folder_path(&p.in, "m.gguf.part", part), NULL) != ERR_OK);
    w = resumed(&p, 1, 1);
    CHECK(gguf_writer_put(w, codes, sizeof codes) == ERR_OK);
    CHECK(gguf_writer_finish(w) == ERR_OK);
    gguf_writer_free(w);
    check_file(&p);
    CHECK(folder_count(&p.in) == 1);
    folder_remove(&p.in);
}

TEST(gguf_writer_begins_anew_where_the_source_is_another)
{
    const place p = make_place();
    gguf_writer *w = resumed(&p, 1, 0);

    CHECK(gguf_writer_put(w, values, sizeof values) == ERR_OK);
    gguf_writer_free(w);
    w = resumed(&p, 2, 0);
    gguf_writer_free(w); /* nothing is whole in it: it goes */
    CHECK(folder_count(&p.in) == 0);
    w = resumed(&p, 1, 0);
    CHECK(gguf_writer_put(w, values, sizeof values) == ERR_OK);
    gguf_writer_spoil(w);
    gguf_writer_free(w);
    CHECK(folder_count(&p.in) == 0);
    folder_remove(&p.in);
}

TEST(gguf_writer_says_that_there_is_no_room_before_any_data)
{
    const place p = make_place();
    const gguf_tensor large = tensor("large", GGUF_F32, 1 << 20, 1);
    struct rlimit before, small;
    void (*handler)(int) = signal(SIGXFSZ, SIG_IGN);
    gguf_writer *w = new_writer();
    err e;

    gguf_write_tensor(w, &large);
    CHECK(getrlimit(RLIMIT_FSIZE, &before) == 0);
    small = (struct rlimit){1 << 16, before.rlim_max};
    CHECK(setrlimit(RLIMIT_FSIZE, &small) == 0);
    errno = 0;
    e = gguf_writer_open(w, p.path);
    CHECK(setrlimit(RLIMIT_FSIZE, &before) == 0);
    CHECK(e == ERR_SYSTEM && (errno == EFBIG || errno == ENOSPC));
    gguf_writer_free(w);
    signal(SIGXFSZ, handler);
    CHECK(folder_count(&p.in) == 0);
    folder_remove(&p.in);
}

TEST(gguf_writer_replaces_files_only)
{
    const place p = make_place();
    gguf_writer *w = new_writer();

    CHECK(gguf_writer_open(w, p.in.path) == ERR_SYSTEM && errno == EISDIR);
    gguf_writer_free(w);
    w = new_writer();
    CHECK(gguf_writer_open(w, "/dev/null") == ERR_SYSTEM && errno == EPERM);
    gguf_writer_free(w);
    w = new_writer();
    CHECK(gguf_writer_open(w, "/nowhere/m.gguf") == ERR_SYSTEM && errno == ENOENT);
    gguf_writer_free(w);
    folder_remove(&p.in);
}
