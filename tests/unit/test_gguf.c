/* test_gguf.c - the loader believes nothing that a model file says. */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "engine/gguf/gguf.h"
#include "engine/tokenizer/tokenizer.h"
#include "engine/utf8.h"
#include "tests/folder.h"
#include "tests/test.h"
#include "tests/tiny.h"

#define EMBEDDED "models/seedling-32m-mha-q8_0.gguf"

/* A tiny model as a file in memory. */
typedef struct image {
    unsigned char *bytes;
    size_t n, keys_end, tensors_end;
} image;

/* Write m and free it. */
static image image_of(tiny *m)
{
    image i;

    i.bytes = tiny_write(m, &i.n, &i.keys_end, &i.tensors_end);
    tiny_free(m);
    return i;
}

/* Open m's file; the bytes live as long as *i. Frees m. */
static err open_tiny(tiny *m, image *i, gguf **g, fault *why)
{
    *i = image_of(m);
    *g = NULL;
    return gguf_open_memory(g, i->bytes, i->n, why);
}

static void close_tiny(image *i, gguf *g)
{
    gguf_close(g);
    free(i->bytes);
}

static bool text_is(gguf_text t, const char *expected)
{
    return t.n == strlen(expected) && memcmp(t.at, expected, t.n) == 0;
}

TEST(gguf_valid_file_gives_its_keys_and_tensors)
{
    image i;
    gguf *g;
    gguf_text name;
    gguf_array tokens;
    uint64_t layers;
    double epsilon;
    bool adds_bos = false;
    const gguf_tensor *t;
    const void *at;

    CHECK(open_tiny(tiny_new(), &i, &g, NULL) == ERR_OK);
    CHECK(gguf_version(g) == 3 && gguf_file_bytes(g) == i.n);
    CHECK(gguf_keys(g) == 21 && gguf_tensors(g) == 20);
    CHECK(gguf_get_text(g, "general.name", &name) == ERR_OK && text_is(name, "tiny"));
    CHECK(gguf_get_u64(g, "llama.block_count", &layers) == ERR_OK && layers == 2);
    CHECK(gguf_get_f64(g, "llama.block_count", &epsilon) == ERR_OK && epsilon == 2);
    CHECK(gguf_get_f64(g, "llama.attention.layer_norm_rms_epsilon", &epsilon) == ERR_OK);
    CHECK(epsilon == (double)1e-5f);
    CHECK(gguf_get_bool(g, "tokenizer.ggml.add_bos_token", &adds_bos) == ERR_OK && adds_bos);
    CHECK(gguf_get_array(g, "tokenizer.ggml.tokens", &tokens) == ERR_OK);
    CHECK(tokens.n == 263 && tokens.type == GGUF_TYPE_TEXT);
    at = tokens.data;
    for (uint64_t k = 0; k + 1 < tokens.n; k++) gguf_next_text(&at);
    CHECK(text_is(gguf_next_text(&at), "hell") && at == tokens.end);
    t = gguf_find(g, "blk.1.ffn_norm.weight");
    CHECK(t && t->type == GGUF_F32 && t->n_dims == 1 && t->dim[0] == 64 && t->dim[3] == 1);
    CHECK(t->bytes == 256 && *(const float *)t->data == 1.0f);
    CHECK(text_is(gguf_tensor_at(g, 0)->name, "token_embd.weight"));
    CHECK(gguf_tensor_at(g, 0)->dim[0] == 64 && gguf_tensor_at(g, 0)->dim[1] == 263);
    close_tiny(&i, g);
}

TEST(gguf_absent_or_other_value_is_an_error_and_leaves_the_result_alone)
{
    image i;
    gguf *g;
    uint64_t u = 77;
    bool b = true;
    gguf_text text = {"kept", 4};
    gguf_array array = {.n = 99};
    double f = 0.5;

    CHECK(open_tiny(tiny_new(), &i, &g, NULL) == ERR_OK);
    CHECK(gguf_get_u64(g, "no.such.key", &u) == ERR_MISSING);
    CHECK(gguf_get_u64(g, "", &u) == ERR_MISSING);
    CHECK(gguf_get_u64(g, "general.name", &u) == ERR_KEYTYPE);
    CHECK(gguf_get_u64(g, "llama.rope.freq_base", &u) == ERR_KEYTYPE);
    CHECK(gguf_get_u64(g, "tokenizer.ggml.tokens", &u) == ERR_KEYTYPE);
    CHECK(gguf_get_bool(g, "llama.block_count", &b) == ERR_KEYTYPE);
    CHECK(gguf_get_text(g, "llama.block_count", &text) == ERR_KEYTYPE);
    CHECK(gguf_get_f64(g, "tokenizer.ggml.add_bos_token", &f) == ERR_KEYTYPE);
    CHECK(gguf_get_array(g, "llama.block_count", &array) == ERR_KEYTYPE);
    CHECK(u == 77 && b && text.n == 4 && array.n == 99 && f == 0.5);
    CHECK(!gguf_find(g, "token_embd") && !gguf_find(g, "token_embd.weight2"));
    close_tiny(&i, g);
}

/* A value of 8 bytes under any type: a text is a length first. */
static err get_wide(uint32_t type, uint64_t bits, uint64_t *u, double *f)
{
    tiny *m = tiny_new();
    image i;
    gguf *g;
    err e;

    tiny_set_text(m, "wide", "");
    tiny_patch_u32(m, "wide", 0, type);
    tiny_patch_u64(m, "wide", 4, bits);
    CHECK(open_tiny(m, &i, &g, NULL) == ERR_OK);
    e = gguf_get_u64(g, "wide", u);
    CHECK(gguf_get_f64(g, "wide", f) == ERR_OK);
    close_tiny(&i, g);
    return e;
}

TEST(gguf_numbers_of_any_width_are_numbers)
{
    enum { INT32 = 5, UINT64 = 10, INT64 = 11, FLOAT64 = 12 };
    const double third = 1.0 / 3;
    uint64_t u = 0, bits;
    double f;
    tiny *m = tiny_new();
    image i;
    gguf *g;

    CHECK(get_wide(UINT64, UINT64_MAX, &u, &f) == ERR_OK && u == UINT64_MAX && f == 0x1p64);
    CHECK(get_wide(INT64, 12, &u, &f) == ERR_OK && u == 12 && f == 12);
    CHECK(get_wide(INT64, (uint64_t)-12, &u, &f) == ERR_KEYTYPE && u == 12 && f == -12);
    memcpy(&bits, &third, sizeof bits);
    CHECK(get_wide(FLOAT64, bits, &u, &f) == ERR_KEYTYPE && f == third);
    tiny_set_u32(m, "narrow", (uint32_t)-3);
    tiny_patch_u32(m, "narrow", 0, INT32);
    CHECK(open_tiny(m, &i, &g, NULL) == ERR_OK);
    CHECK(gguf_get_u64(g, "narrow", &u) == ERR_KEYTYPE);
    CHECK(gguf_get_f64(g, "narrow", &f) == ERR_OK && f == -3);
    close_tiny(&i, g);
}

/* Who refuses the file of a row, and with what. */
static err refuse(const unsigned char *bytes, size_t n, bad_stage *stage, fault *why)
{
    gguf *g = NULL;
    tokenizer *t = NULL;
    err e = gguf_open_memory(&g, bytes, n, why);

    *stage = BAD_FILE;
    if (e != ERR_OK) return e;
    *stage = BAD_TOKENS;
    e = tokenizer_new(&t, g, why);
    tokenizer_free(t);
    gguf_close(g);
    return e;
}

TEST(gguf_each_malformed_file_is_refused_and_its_field_named)
{
    const bad_case *c;
    size_t refused = 0;

    for (size_t i = 0; (c = bad_case_at(i)); i++) {
        bad_stage stage;
        fault why;
        size_t n;
        unsigned char *bytes = bad_case_write(c, &n);
        unsigned char *exact = malloc(n ? n : 1); /* so that a sanitizer sees the end */
        bool right;

        memcpy(exact, bytes, n);
        right = refuse(exact, n, &stage, &why) != ERR_OK && stage == c->stage &&
                strstr(why.field, c->field);
        if (c->stage == BAD_MODEL)
            right = true; /* the model's own test */
        else
            refused++;
        if (!right) fprintf(stderr, "%s: %s\n", c->name, why.field);
        CHECK(right);
        free(exact);
        free(bytes);
    }
    CHECK(refused >= 30);
}

TEST(gguf_file_cut_anywhere_is_refused)
{
    const image i = image_of(tiny_new());

    for (size_t n = 0; n < i.n; n += n < i.tensors_end ? 1 : 4099) {
        unsigned char *exact = malloc(n ? n : 1);
        gguf *g = NULL;
        fault why;
        const err e = (memcpy(exact, i.bytes, n), gguf_open_memory(&g, exact, n, &why));

        CHECK(e != ERR_OK && e != ERR_NOMEM && !g);
        CHECK(why.field[0]);
        free(exact);
    }
    free(i.bytes);
}

TEST(gguf_file_with_any_byte_changed_opens_or_is_refused_by_name)
{
    const image i = image_of(tiny_new());

    for (size_t at = 0; at < i.tensors_end; at++) {
        static const unsigned char change[] = {0x01, 0x80, 0xff};

        for (size_t k = 0; k < sizeof change; k++) {
            gguf *g = NULL;
            fault why;

            i.bytes[at] ^= change[k];
            if (gguf_open_memory(&g, i.bytes, i.n, &why) != ERR_OK) CHECK(why.field[0]);
            gguf_close(g);
            i.bytes[at] ^= change[k];
        }
    }
    free(i.bytes);
}

TEST(gguf_alignment_of_the_file_rules_the_offsets)
{
    tiny *m = tiny_new();
    image i;
    gguf *g;
    fault why;

    tiny_find(m, "blk.0.attn_q.weight")->offset += 8;
    tiny_set_u32(m, "general.alignment", 8);
    CHECK(open_tiny(m, &i, &g, &why) == ERR_OK);
    close_tiny(&i, g);
    m = tiny_new();
    tiny_find(m, "blk.0.attn_q.weight")->offset += 8;
    CHECK(open_tiny(m, &i, &g, &why) == ERR_ALIGN);
    CHECK(strcmp(why.field, "blk.0.attn_q.weight") == 0);
    close_tiny(&i, g);
}

TEST(gguf_version_2_is_read_too)
{
    tiny *m = tiny_new();
    image i;
    gguf *g;

    m->version = 2;
    CHECK(open_tiny(m, &i, &g, NULL) == ERR_OK && gguf_version(g) == 2);
    close_tiny(&i, g);
}

TEST(gguf_tensors_may_overlap_and_be_absent)
{
    tiny *m = tiny_new();
    image i;
    gguf *g;

    tiny_find(m, "blk.0.attn_q.weight")->offset = tiny_find(m, "blk.0.attn_k.weight")->offset;
    CHECK(open_tiny(m, &i, &g, NULL) == ERR_OK);
    CHECK(gguf_find(g, "blk.0.attn_q.weight")->data ==
          gguf_find(g, "blk.0.attn_k.weight")->data);
    close_tiny(&i, g);
    m = tiny_new();
    m->tensors = m->n_tensors = 0;
    m->data_bytes = 0;
    CHECK(open_tiny(m, &i, &g, NULL) == ERR_OK && gguf_tensors(g) == 0);
    close_tiny(&i, g);
}

/* A file of n keys, uint8, names counting down; the last one again if `twice`. */
static unsigned char *many_keys(uint64_t n, bool twice, size_t *bytes)
{
    enum { NAME = 12, KEY = 8 + NAME + 4 + 1 };
    unsigned char *file = calloc(24 + n, KEY), *at = file + 24;
    const uint32_t version = 3;

    memcpy(file, "GGUF", 4);
    memcpy(file + 4, &version, 4);
    memcpy(file + 16, &n, 8);
    for (uint64_t i = 0; i < n; i++, at += KEY) {
        const uint64_t name_bytes = NAME;
        char name[32];

        snprintf(name, sizeof name, "%012u", (unsigned)(twice && i == n - 1 ? 2 : n - i));
        memcpy(at, &name_bytes, 8);
        memcpy(at + 8, name, NAME);
        at[8 + NAME + 4] = 7;
    }
    *bytes = (size_t)(at - file);
    return file;
}

TEST(gguf_hundred_thousand_keys_are_indexed_and_doubles_among_them_found)
{
    size_t n;
    unsigned char *file = many_keys(100000, false, &n);
    gguf *g = NULL;
    fault why;
    uint64_t value = 0;

    CHECK(gguf_open_memory(&g, file, n, &why) == ERR_OK && gguf_keys(g) == 100000);
    CHECK(gguf_get_u64(g, "000000000001", &value) == ERR_OK && value == 7);
    CHECK(gguf_get_u64(g, "000000100001", &value) == ERR_MISSING);
    gguf_close(g);
    free(file);
    file = many_keys(100000, true, &n);
    CHECK(gguf_open_memory(&g, file, n, &why) == ERR_DUPLICATE);
    CHECK(strcmp(why.field, "000000000002") == 0);
    free(file);
}

/* The value of a key as a person reads it. */
static const char *print_of(const gguf *g, const char *key, char *text, size_t n)
{
    for (size_t i = 0; i < gguf_keys(g); i++) {
        if (!text_is(gguf_key_at(g, i, NULL), key)) continue;
        gguf_print_value(g, i, text, n);
        return text;
    }
    return "no such key";
}

TEST(gguf_values_are_printed_for_people_whole_characters_only)
{
    tiny *m = tiny_new();
    image i;
    gguf *g;
    char text[256];

    tiny_set_text(m, "odd", "a\nb\x01\xff\xc3\xa9");
    CHECK(open_tiny(m, &i, &g, NULL) == ERR_OK);
    CHECK(!strcmp(print_of(g, "general.name", text, sizeof text), "tiny"));
    CHECK(!strcmp(print_of(g, "llama.block_count", text, sizeof text), "2"));
    CHECK(!strcmp(print_of(g, "llama.rope.freq_base", text, sizeof text), "10000"));
    CHECK(!strcmp(print_of(g, "tokenizer.ggml.add_bos_token", text, sizeof text), "true"));
    CHECK(!strcmp(print_of(g, "odd", text, sizeof text), "a\\nb??\xc3\xa9"));
    CHECK(!strcmp(print_of(g, "tokenizer.ggml.merges", text, sizeof text),
                  "string[4] \"h e\", \"l l\", \"\xc4\xa0 w\", \"he ll\""));
    CHECK(!strcmp(print_of(g, "tokenizer.ggml.token_type", text, sizeof text),
                  "uint32[263] 3, 3, 3, 1, 1, 1, 1, 1, ..."));
    for (size_t n = 1; n < 60; n++) {
        memset(text, 'x', sizeof text);
        print_of(g, "tokenizer.ggml.merges", text, n);
        CHECK(strlen(text) < n && utf8_valid(text, strlen(text)) && text[n] == 'x');
    }
    close_tiny(&i, g);
}

TEST(gguf_embedded_model_opens_from_its_file)
{
    gguf *g = NULL;
    fault why;
    const gguf_tensor *t;

    CHECK(gguf_open(&g, EMBEDDED, &why) == ERR_OK);
    CHECK(gguf_keys(g) == 27 && gguf_tensors(g) == 146);
    t = gguf_find(g, "token_embd.weight");
    CHECK(t && t->type == GGUF_Q8_0 && t->dim[0] == 384 && t->dim[1] == 8192);
    CHECK(t->bytes == 384 / 32 * 34 * 8192 && (uintptr_t)t->data % 32 == 0);
    gguf_close(g);
}

TEST(gguf_sparse_model_with_defaults_opens)
{
    const char *path = test_shared("golden/models/stories260Ktok512.gguf");
    gguf *g = NULL;
    uint64_t none = 0;

    if (!path) SKIP("no shared folder");
    CHECK(gguf_open(&g, path, NULL) == ERR_OK && gguf_tensors(g) == 48);
    CHECK(gguf_get_u64(g, "tokenizer.ggml.padding_token_id", &none) == ERR_OK);
    CHECK(none == UINT32_MAX);
    gguf_close(g);
}

TEST(gguf_what_is_no_file_cannot_be_opened)
{
    gguf *g = NULL;
    fault why;

    CHECK(gguf_open(&g, "models/no-such-file.gguf", &why) == ERR_OPEN);
    CHECK(gguf_open(&g, "models", &why) == ERR_READ);
    CHECK(gguf_open(&g, "tests/test.h", &why) == ERR_MAGIC && !strcmp(why.field, "magic"));
    CHECK(!g);
    gguf_close(NULL);
}

TEST(gguf_every_tensor_type_has_a_name_and_a_block)
{
    size_t elements = 0, bytes = 0;

#define TENSOR_TYPE(name, id, per_block, block_bytes)                                         \
    CHECK(!strcmp(gguf_type_name(id, &elements, &bytes), #name) && elements == (per_block) && \
          bytes == (block_bytes));
#include "engine/gguf/tensor_types.def"
#undef TENSOR_TYPE
    CHECK(!gguf_type_name(4, NULL, NULL) && !gguf_type_name(UINT32_MAX, NULL, NULL));
}

/* The bytes of m as a file of that folder; its path to `path`. */
static void write_tiny(const folder *f, tiny *m, char path[FOLDER_PATH])
{
    image i = image_of(m);

    folder_write(f, "tiny.gguf", i.bytes, i.n);
    folder_path(f, "tiny.gguf", path);
    free(i.bytes);
}

TEST(gguf_file_that_changes_after_it_was_opened_is_noticed)
{
    const folder f = folder_make();
    char path[FOLDER_PATH];
    gguf *g = NULL;
    fault why;

    write_tiny(&f, tiny_new(), path);
    CHECK(gguf_open(&g, path, &why) == ERR_OK);
    CHECK(gguf_check_unchanged(g, &why) == ERR_OK);
    CHECK(truncate(path, (off_t)gguf_file_bytes(g) - 1) == 0);
    CHECK(gguf_check_unchanged(g, &why) == ERR_CHANGED);
    gguf_close(g);
    folder_remove(&f);
}

/* The descriptor that a file is open as: there is one. */
static int find_descriptor(const char *path)
{
    struct stat want, at;

    CHECK(stat(path, &want) == 0);
    for (int fd = 3; fd < 1024; fd++)
        if (fstat(fd, &at) == 0 && at.st_dev == want.st_dev && at.st_ino == want.st_ino)
            return fd;
    return -1;
}

TEST(gguf_file_of_which_nothing_can_be_told_has_not_changed)
{
    const folder f = folder_make();
    char path[FOLDER_PATH];
    gguf *g = NULL;
    fault why;
    int fd;

    write_tiny(&f, tiny_new(), path);
    CHECK(gguf_open(&g, path, &why) == ERR_OK);
    fd = find_descriptor(path);
    CHECK(fd >= 0 && close(fd) == 0); /* fstat fails from here on */
    CHECK(gguf_check_unchanged(g, &why) == ERR_OK);
    CHECK(open("/dev/null", O_RDONLY) == fd); /* for gguf_close to close */
    gguf_close(g);
    folder_remove(&f);
}

TEST(gguf_pages_that_were_dropped_are_read_again)
{
    gguf *g = NULL;
    const gguf_tensor *t;
    unsigned char first, last;

    CHECK(gguf_open(&g, EMBEDDED, NULL) == ERR_OK);
    t = gguf_find(g, "token_embd.weight");
    first = *(const unsigned char *)t->data;
    last = ((const unsigned char *)t->data)[t->bytes - 1];
    gguf_drop_pages(g);
    CHECK(*(const unsigned char *)t->data == first);
    gguf_drop_pages(g);
    CHECK(((const unsigned char *)t->data)[t->bytes - 1] == last);
    CHECK(gguf_check_unchanged(g, NULL) == ERR_OK);
    gguf_close(g);
}
