/* test_sample_file.c - defaults of sampling that a model's file states. */
#include "engine/model/sample_file.h"

#include <string.h>

#include "engine/gguf/gguf_write.h"
#include "tests/folder.h"
#include "tests/test.h"

/* A file of one tensor and what `put` writes. */
static gguf *make_file(const folder *f, void (*put)(gguf_writer *w))
{
    const gguf_tensor t = {
        .name = {"x", 1}, .type = GGUF_F32, .n_dims = 1, .dim = {1, 1, 1, 1}};
    const float one = 1;
    char path[FOLDER_PATH];
    gguf_writer *w = NULL;
    gguf *g = NULL;

    CHECK(gguf_writer_new(&w) == ERR_OK);
    put(w);
    gguf_write_tensor(w, &t);
    CHECK(gguf_writer_open(w, folder_path(f, "m.gguf", path)) == ERR_OK);
    CHECK(gguf_writer_put(w, &one, sizeof one) == ERR_OK && gguf_writer_finish(w) == ERR_OK);
    gguf_writer_free(w);
    CHECK(gguf_open(&g, path, NULL) == ERR_OK);
    return g;
}

static sample_params read_file_of(void (*put)(gguf_writer *w), char passed[64])
{
    const folder f = folder_make();
    gguf *g = make_file(&f, put);
    sample_params p = sample_usual;

    sample_read_file(g, &p, passed, 64);
    gguf_close(g);
    folder_remove(&f);
    return p;
}

static void put_nothing(gguf_writer *w)
{
    gguf_write_f32(w, "general.other", 1);
}

static void put_all(gguf_writer *w)
{
    gguf_write_f32(w, "general.sampling.temp", 0.7f);
    gguf_write_u32(w, "general.sampling.top_k", 20);
    gguf_write_f32(w, "general.sampling.top_p", 0.8f);
    gguf_write_f32(w, "general.sampling.min_p", 0.05f);
    gguf_write_f32(w, "general.sampling.penalty_repeat", 1.05f);
    gguf_write_u32(w, "general.sampling.penalty_last_n", 64);
    gguf_write_f32(w, "general.sampling.xtc_probability", 0.5f);
    gguf_write_f32(w, "general.sampling.xtc_threshold", 0.2f);
    gguf_write_u32(w, "general.sampling.mirostat", 2);
    gguf_write_f32(w, "general.sampling.mirostat_tau", 4);
    gguf_write_f32(w, "general.sampling.mirostat_eta", 0.3f);
}

static void put_wrong(gguf_writer *w)
{
    gguf_write_f32(w, "general.sampling.temp", 0.5f);
    gguf_write_f32(w, "general.sampling.top_p", 1.5f);
    gguf_write_text(w, "general.sampling.min_p", "much", 4);
    gguf_write_u32(w, "general.sampling.penalty_last_n", 0);
    gguf_write_f32(w, "general.sampling.penalty_repeat", 1.2f);
}

TEST(sample_file_says_nothing_and_nothing_changes)
{
    char passed[64];
    const sample_params p = read_file_of(put_nothing, passed);

    CHECK(!*passed && memcmp(&p, &sample_usual, sizeof p) == 0);
}

TEST(sample_file_is_read_whole)
{
    char passed[64];
    const sample_params p = read_file_of(put_all, passed);

    CHECK(!*passed && p.temperature == 0.7f && p.top_k == 20 && p.top_p == 0.8f);
    CHECK(p.min_p == 0.05f && p.repetition_penalty == 1.05f && p.repeat_last_n == 64);
    CHECK(p.xtc_probability == 0.5f && p.xtc_threshold == 0.2f && p.mirostat == 2);
    CHECK(p.mirostat_tau == 4 && p.mirostat_eta == 0.3f && p.typical_p == 1);
}

/* The first that is wrong is named; the others count. Looking back at nothing is no penalty. */
TEST(sample_file_numbers_that_make_no_sense_are_passed_over)
{
    char passed[64];
    const sample_params p = read_file_of(put_wrong, passed);

    CHECK(strcmp(passed, "general.sampling.top_p") == 0);
    CHECK(p.temperature == 0.5f && p.top_p == 1 && p.min_p == 0 && p.repetition_penalty == 1);
}
