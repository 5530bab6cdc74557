/* test_calibrated.c - folders that become files with a model at work: for a text, or measured
 * on one. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/model/matrix.h"
#include "server/convert/calibrated.h"
#include "server/threads.h"
#include "tests/folder.h"
#include "tests/hf.h"
#include "tests/random.h"
#include "tests/read_file.h"
#include "tests/test.h"

/* A folder of a random model, two of whose channels are a hundred times as large as others:
 * which weights count is then plain. */
static folder make_model(void)
{
    const folder p = folder_make();
    char in[FOLDER_PATH], *path = random_make("--arch llama --ffn 64 --massive 2 --vocab 8192");
    gguf *g;

    CHECK(gguf_open(&g, path, NULL) == ERR_OK);
    hf_write(g, folder_path(&p, "hf", in), 1);
    gguf_close(g);
    random_remove(path);
    return p;
}

static bool run(const folder *p, const char *word, const char *calibration, const char *check,
                trial_distance *d, fault *why)
{
    char in[FOLDER_PATH], out[FOLDER_PATH];
    convert_made made;

    *why = (fault){0};
    *d = (trial_distance){0};
    return calibrated_run(&(calibrated_wish){.file = {.folder = folder_path(p, "hf", in),
                                                      .out = folder_path(p, "out.gguf", out),
                                                      .mix = mix_find(word),
                                                      .threads = 2},
                                             .calibration = calibration,
                                             .check = check},
                          &made, d, why);
}

/* The first paragraphs of a text of this repository, in a file of their own. */
static const char *write_text(const folder *p, const char *name, size_t from,
                              char into[FOLDER_PATH])
{
    size_t n;
    char *text = read_file("CONTRIBUTING.md", &n);

    CHECK(text && n > from + 3000);
    folder_write(p, name, text + from, 3000);
    free(text);
    return folder_path(p, name, into);
}

static double must(const folder *p, const char *word, const char *calibration,
                   const char *check)
{
    trial_distance d;
    fault why;

    if (!run(p, word, calibration, check, &d, &why)) fprintf(stderr, "%s\n", why.sentence);
    CHECK(d.tokens >= 511 && isfinite(d.kl) && d.ppl[0] > 1);
    fprintf(stderr, "%s%s: KL %.6f\n", word, calibration ? " calibrated" : "", d.kl);
    return d.kl;
}

TEST(calibrated_files_are_measured_beside_the_folder)
{
    const folder p = make_model();
    char held[FOLDER_PATH];
    const char *text = write_text(&p, "held.txt", 3000, held);
    double eight;

    CHECK(fabs(must(&p, "F32", NULL, text)) <= 0); /* the same numbers */
    CHECK(must(&p, "F16", NULL, text) < 1e-5);
    eight = must(&p, "Q8_0", NULL, text);
    CHECK(eight > 1e-5 && must(&p, "Q4_0", NULL, text) > 2 * eight);
    CHECK(folder_count(&p) == 3); /* the folder, the file, the text: no reference */
    folder_remove(&p);
}

/* --- what counts --- */

/* Squared error of a file's attention and networks, each number times what it counts. */
static double error_of(const folder *p, const importance *weights, const gguf *exact)
{
    char out[FOLDER_PATH];
    double sum = 0;
    gguf *g;

    CHECK(gguf_open(&g, folder_path(p, "out.gguf", out), NULL) == ERR_OK);
    for (size_t i = 0; i < gguf_tensors(g); i++) {
        const gguf_tensor *t = gguf_tensor_at(g, i), *was;
        float x[256], y[256];
        const float *w;
        char name[64];

        snprintf(name, sizeof name, "%.*s", (int)t->name.n, t->name.at);
        was = gguf_find(exact, name);
        w = importance_find(weights, name, 0);
        if (t->type != GGUF_Q4_0 || strncmp(name, "blk.", 4) != 0) continue;
        CHECK(w && was && t->dim[0] <= 256);
        for (size_t r = 0; r < t->dim[1]; r++) {
            CHECK(matrix_read_row(t, r, x) == ERR_OK && matrix_read_row(was, r, y) == ERR_OK);
            for (size_t c = 0; c < t->dim[0]; c++)
                sum += (double)w[c] * pow((double)x[c] - (double)y[c], 2);
        }
    }
    gguf_close(g);
    return sum;
}

/* The model's loud channels are 3 and 10. */
static void check_loudness(const importance *weights)
{
    const float *w = importance_find(weights, "blk.1.attn_v.weight", 0);
    double loud, rest = 0;

    CHECK(w != NULL);
    loud = (double)w[3] + (double)w[10];
    for (int c = 0; c < 64; c++) rest += c == 3 || c == 10 ? 0 : (double)w[c];
    CHECK(loud > 10 * rest && rest > 0);
    CHECK(!importance_find(weights, "blk.0.ffn_gate_exps.weight", 1));
    CHECK(!importance_find(weights, "blk.7.attn_v.weight", 0));
}

TEST(calibrated_errors_lie_where_they_count_least)
{
    const folder p = make_model();
    char learn[FOLDER_PATH], out[FOLDER_PATH], exact[FOLDER_PATH];
    const char *text = write_text(&p, "learn.txt", 0, learn);
    importance *weights = NULL;
    trial_distance d;
    trial *ran;
    double plain, calibrated;
    team *two;
    fault why;
    gguf *g;

    CHECK(threads_open(&two, 2) == ERR_OK);
    CHECK(run(&p, "F32", NULL, NULL, &d, &why));
    CHECK(rename(folder_path(&p, "out.gguf", out), folder_path(&p, "f32.gguf", exact)) == 0);
    CHECK(trial_open(&ran, exact, two, false, &why));
    CHECK(trial_weigh(ran, text, &weights, &why));
    CHECK(gguf_open(&g, exact, NULL) == ERR_OK);
    check_loudness(weights);
    CHECK(run(&p, "Q4_0", NULL, NULL, &d, &why));
    plain = error_of(&p, weights, g);
    CHECK(run(&p, "Q4_0", text, NULL, &d, &why));
    calibrated = error_of(&p, weights, g);
    fprintf(stderr, "weighed error: %g plain, %g calibrated\n", plain, calibrated);
    CHECK(calibrated < 0.9 * plain);
    gguf_close(g);
    importance_close(weights);
    trial_close(ran);
    threads_close(two);
    folder_remove(&p);
}

TEST(calibrated_says_which_text_is_at_fault)
{
    const folder p = make_model();
    char short_text[FOLDER_PATH];
    trial_distance d;
    fault why;

    folder_write(&p, "short.txt", "a few words", 11);
    folder_path(&p, "short.txt", short_text);
    CHECK(!run(&p, "Q4_0", short_text, NULL, &d, &why));
    CHECK(strstr(why.sentence, "tokens are too few: a row is 512"));
    CHECK(!run(&p, "Q4_0", "/nowhere.txt", NULL, &d, &why));
    CHECK(strstr(why.sentence, "/nowhere.txt: No such file"));
    CHECK(folder_count(&p) == 2);
    folder_remove(&p);
}
