/* test_safetensors.c - the reader of weights believes nothing that their file says. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "server/convert/safetensors.h"
#include "tests/test.h"

typedef struct image {
    unsigned char bytes[4096];
    size_t n;
} image;

/* A file with this header and `data` bytes after it. */
static image image_of(const char *header, size_t data)
{
    image i = {.n = 8 + strlen(header) + data};
    const uint64_t length = strlen(header);

    CHECK(i.n <= sizeof i.bytes);
    memcpy(i.bytes, &length, 8);
    memcpy(i.bytes + 8, header, length);
    for (size_t k = 0; k < data; k++) i.bytes[8 + length + k] = (unsigned char)k;
    return i;
}

static bool refused(const image *i, const char *sentence)
{
    unsigned char *copy = malloc(i->n + !i->n); /* so that ASan knows its end */
    fault why = {0};
    safetensors *s = NULL;
    bool opened;

    CHECK(copy != NULL);
    memcpy(copy, i->bytes, i->n);
    opened = safetensors_open_memory(&s, copy, i->n, &why);
    free(copy);
    if (!opened && !s && strstr(why.sentence, sentence)) return true;
    fprintf(stderr, "said '%s', wanted '%s'\n", opened ? "yes" : why.sentence, sentence);
    return false;
}

static const char good[] = "{\"__metadata__\":{\"format\":\"pt\"},"
                           "\"b\":{\"dtype\":\"F16\",\"shape\":[2,3],\"data_offsets\":[0,12]},"
                           "\"a\":{\"dtype\":\"F32\",\"shape\":[],\"data_offsets\":[12,16]}}  ";

TEST(safetensors_valid_file_gives_its_tensors)
{
    const image i = image_of(good, 16);
    fault why = {0};
    safetensors *s = NULL;
    const safetensor *t;

    CHECK(safetensors_open_memory(&s, i.bytes, i.n, &why));
    CHECK(safetensors_count(s) == 2);
    t = safetensors_find(s, "b");
    CHECK(t && t == safetensors_at(s, 1) && strcmp(t->dtype, "F16") == 0);
    CHECK(t->n_dims == 2 && t->dim[0] == 2 && t->dim[1] == 3 && t->bytes == 12);
    CHECK(*(const unsigned char *)t->data == 0);
    t = safetensors_find(s, "a");
    CHECK(t && t->n_dims == 0 && t->bytes == 4 && *(const unsigned char *)t->data == 12);
    CHECK(!safetensors_find(s, "c") && !safetensors_find(s, "__metadata__"));
    safetensors_close(s);
}

TEST(safetensors_files_cut_anywhere_are_refused)
{
    image i = image_of(good, 16);

    for (size_t n = 0; n < i.n; n++) {
        image cut = i;

        cut.n = n;
        CHECK(refused(&cut, ""));
    }
    i.bytes[7] = 0x7f; /* a header of exabytes */
    CHECK(refused(&i, "not a safetensors file"));
    i = image_of("", 0);
    CHECK(refused(&i, "its header is not valid JSON"));
}

TEST(safetensors_malformed_headers_are_refused_by_name)
{
#define ONE(dtype, shape, offsets) \
    "{\"t\":{\"dtype\":" dtype ",\"shape\":" shape ",\"data_offsets\":" offsets "}}"
#define TWO(a, b)                                                           \
    "{\"t\":{\"dtype\":\"U8\",\"shape\":[4],\"data_offsets\":" a "},\"u\":" \
    "{\"dtype\":\"U8\",\"shape\":[4],\"data_offsets\":" b "}}"
    static const struct {
        const char *header, *sentence;
    } rows[] = {
        {"[]", "its header is no object"},
        {"{\"t\":3}", "tensor t: its description is no object"},
        {ONE("\"F12\"", "[4]", "[0,8]"), "tensor t: its dtype is not known"},
        {ONE("3", "[4]", "[0,8]"), "tensor t: its dtype is not known"},
        {ONE("\"U8\"", "null", "[0,8]"), "tensor t: it has no shape"},
        {ONE("\"U8\"", "[8.5]", "[0,8]"), "tensor t: a dimension is no whole number"},
        {ONE("\"U8\"", "[-8]", "[0,8]"), "tensor t: a dimension is no whole number"},
        {ONE("\"U8\"", "[1,1,1,1,1,1,1,1,8]", "[0,8]"), "tensor t: it has too many dim"},
        {ONE("\"F32\"", "[4294967296,4294967296]", "[0,8]"),
         "tensor t: its shape is too large"},
        {ONE("\"U8\"", "[8]", "3"), "tensor t: it has no data_offsets"},
        {ONE("\"U8\"", "[8]", "[0]"), "tensor t: it has no data_offsets"},
        {ONE("\"U8\"", "[8]", "[0,\"8\"]"), "tensor t: an offset is no whole number"},
        {ONE("\"U8\"", "[8]", "[8,0]"), "tensor t: its data lie outside the file"},
        {ONE("\"U8\"", "[9]", "[0,9]"), "tensor t: its data lie outside the file"},
        {ONE("\"U8\"", "[8]", "[9007199254740991,9007199254740992]"), "outside the file"},
        {ONE("\"U8\"", "[4]", "[0,8]"), "tensor t: its data are not as long as its shape"},
        {ONE("\"U8\"", "[4]", "[0,4]"), "4 bytes at its end belong to no tensor"},
        {ONE("\"U8\"", "[4]", "[4,8]"), "tensor t: there is a hole before its data"},
        {TWO("[0,4]", "[3,7]"), "tensor u: its data overlap another's"},
        {TWO("[0,4]", "[0,4]"), "its data overlap another's"},
        {"{\"t\":{\"dtype\":\"U8\",\"shape\":[4],\"data_offsets\":[0,4]},"
         "\"t\":{\"dtype\":\"U8\",\"shape\":[4],\"data_offsets\":[4,8]}}",
         "tensor t: it appears twice"},
    };
#undef ONE
#undef TWO

    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        const image it = image_of(rows[i].header, 8);

        CHECK(refused(&it, rows[i].sentence));
    }
}

TEST(safetensors_file_that_cannot_be_mapped_says_why)
{
    fault why = {0};
    safetensors *s = NULL;

    CHECK(!safetensors_open(&s, "/nowhere/model.safetensors", &why) && !s);
    CHECK(strstr(why.sentence, "No such file"));
    CHECK(!safetensors_open(&s, "/tmp", &why) && strstr(why.sentence, "Is a directory"));
    CHECK(!safetensors_open(&s, "/dev/null", &why) && !s);
}
