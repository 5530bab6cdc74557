/* test_plans.c - where a plan is looked for, in which order, what a missing, broken or old one
 * is called, and what `auto` takes. */
#include "server/plans.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "tests/drawn.h"
#include "tests/folder.h"
#include "tests/test.h"
#include "tests/tiny.h"

static folder root;

/* Of a file in root, static. */
static const char *at(const char *name)
{
    static char path[FOLDER_PATH];

    return folder_path(&root, name, path);
}

static void set_folders(void)
{
    root = folder_make();
    mkdir(at("plans"), 0700);
    setenv("XQUANTD_PLAN_DIR", at("plans"), 1);
    setenv("XDG_CACHE_HOME", at("cache"), 1);
}

static void remove_folders(void)
{
    folder_remove(&root);
    unsetenv("XQUANTD_PLAN_DIR");
    unsetenv("XDG_CACHE_HOME");
}

/* A model's file; what is looked for is told by name, and by the hash of what is in it. */
typedef struct scene {
    unsigned char *bytes;
    gguf *g;
} scene;

static void open_scene(scene *s)
{
    tiny *t = tiny_new();
    size_t n;

    set_folders();
    s->bytes = tiny_write(t, &n, NULL, NULL);
    tiny_free(t);
    CHECK(gguf_open_memory(&s->g, s->bytes, n, NULL) == ERR_OK);
}

static void close_scene(scene *s)
{
    gguf_close(s->g);
    free(s->bytes);
    remove_folders();
}

static const plan_predictor usual = {PLAN_FULL, 0}, none = {PLAN_NONE, 0};

/* A plan in that file, which has measured klt8 at .001, klt12 at .004 and klt20 at .02; `first`
 * in the place of 8 says which file it was. */
static void put_plan(const scene *s, const char *path, plan_predictor r, double first)
{
    const plan_measured list[] = {drawn_measured(first, .001), drawn_measured(12, .004),
                                  drawn_measured(20, .02)};
    plan *p = drawn_plan(s->g, 2, r, list, 3);

    CHECK(plan_write(p, path) == ERR_OK);
    plan_close(p);
}

/* Which one is found for klt8. */
static double found_first(const scene *s)
{
    char model_file[FOLDER_PATH];
    plan *found = NULL;
    double first;

    snprintf(model_file, sizeof model_file, "%s", at("m.gguf"));
    CHECK(plans_open(model_file, "klt8", s->g, &found, NULL) == ERR_OK && found);
    first = (double)plan_read_measured(found)[0].ratio;
    plan_close(found);
    return first;
}

TEST(plans_are_found_beside_the_model_then_in_the_folder_then_in_the_cache)
{
    fault why = {0};
    plan *found = NULL;
    scene s;
    char *cached;

    open_scene(&s);
    CHECK(plans_open(at("m.gguf"), "klt8", s.g, &found, &why) == ERR_NOPLAN && !found);
    CHECK(strcmp(why.field, "--cache klt8") == 0);
    cached = plans_cached(at("m.gguf"), NULL);
    CHECK(cached && strcmp(cached, at("cache/xquantd/m.xplan")) == 0);
    put_plan(&s, cached, usual, 7);
    CHECK(found_first(&s) == 7);
    put_plan(&s, at("plans/m.xplan"), usual, 6);
    CHECK(found_first(&s) == 6);
    put_plan(&s, at("m.xplan"), usual, 5);
    CHECK(found_first(&s) == 5);
    free(cached);
    close_scene(&s);
}

TEST(plans_serve_every_ratio_from_one_file)
{
    static const char *const modes[] = {"klt4", "klt7.5", "klt12", "klt64"};
    scene s;

    open_scene(&s);
    put_plan(&s, at("m.xplan"), usual, 8);
    for (size_t i = 0; i < 4; i++) {
        plan *found = NULL;

        CHECK(plans_open(at("m.gguf"), modes[i], s.g, &found, NULL) == ERR_OK && found);
        plan_close(found);
    }
    close_scene(&s);
}

TEST(plans_of_another_predictor_are_other_files)
{
    plan *found = NULL;
    scene s;

    open_scene(&s);
    put_plan(&s, at("m.none.xplan"), none, 8);
    CHECK(plans_open(at("m.gguf"), "klt8", s.g, &found, NULL) == ERR_NOPLAN && !found);
    CHECK(plans_open_with(at("m.gguf"), "klt8", &none, s.g, &found, NULL) == ERR_OK && found);
    CHECK(plan_read_about(found).predictor.kind == PLAN_NONE);
    plan_close(found);
    close_scene(&s);
}

/* What was asked for by name is not passed over for another. */
TEST(plans_that_are_broken_are_named_with_their_file)
{
    fault why = {0};
    plan *found = NULL;
    scene s;

    open_scene(&s);
    put_plan(&s, at("plans/m.xplan"), usual, 8);
    folder_write(&root, "m.xplan", (const char[200]){0}, 200);
    CHECK(plans_open(at("m.gguf"), "klt8", s.g, &found, &why) == ERR_PLAN && !found);
    CHECK(strcmp(why.field, "--cache klt8: m.xplan: magic") == 0);
    close_scene(&s);
}

/* --- version 1 --- */

TEST(plans_of_an_older_version_are_refused_by_their_file)
{
    static const char old[200] = {'X', 'P', 'L', 'N', 1};
    fault why = {0};
    plan *found = NULL;
    scene s;

    open_scene(&s);
    folder_write(&root, "other.klt16.xplan", old, sizeof old);
    CHECK(plans_open(at("m.gguf"), "klt16", s.g, &found, &why) == ERR_NOPLAN && !found);
    folder_write(&root, "plans/m.klt16.xplan", old, sizeof old);
    CHECK(plans_open(at("m.gguf"), "klt16", s.g, &found, &why) == ERR_OLDPLAN && !found);
    CHECK(strcmp(why.field, "--cache klt16: m.klt16.xplan") == 0);
    CHECK(plans_open(at("m.gguf"), "klt9", s.g, &found, &why) == ERR_OLDPLAN && !found);
    folder_write(&root, "m.xplan", old, sizeof old);
    CHECK(plans_open(at("m.gguf"), "klt16", s.g, &found, &why) == ERR_OLDPLAN && !found);
    CHECK(strcmp(why.field, "--cache klt16: m.xplan") == 0);
    put_plan(&s, at("m.xplan"), usual, 8);
    CHECK(found_first(&s) == 8); /* with a newer one, nobody looks at them */
    close_scene(&s);
}

/* --- auto --- */

static plans_choice best(const scene *s, double max_kl)
{
    plans_choice c;

    CHECK(plans_best(at("m.gguf"), s->g, max_kl, &c) == ERR_OK);
    return c;
}

static bool best_is(const scene *s, double max_kl, const char *mode)
{
    const plans_choice c = best(s, max_kl);

    plan_close(c.plan);
    return strcmp(c.mode, mode) == 0;
}

TEST(plans_best_is_the_densest_ratio_within_the_divergence_asked_for)
{
    scene s;

    open_scene(&s);
    CHECK(!best(&s, .005).plan && !*best(&s, .005).mode && best(&s, .005).passed.e == ERR_OK);
    put_plan(&s, at("m.xplan"), usual, 8);
    put_plan(&s, at("other.xplan"), usual, 8);
    CHECK(best_is(&s, .005, "klt12") && best_is(&s, .03, "klt20"));
    CHECK(best_is(&s, .002, "klt8") && best_is(&s, .0001, ""));
    close_scene(&s);
}

/* What `auto` says of a plan whose ratios have these divergences; it must not take any. */
static void check_rejected(const scene *s, const plan_measured *list, size_t n,
                           const char *text)
{
    plan *p = drawn_plan(s->g, 2, usual, list, n);
    plans_choice c;

    CHECK(plan_write(p, at("m.xplan")) == ERR_OK);
    plan_close(p);
    c = best(s, .005);
    CHECK(c.plan && !*c.mode && strcmp(c.rejected, text) == 0);
    plan_close(c.plan);
}

TEST(plans_best_takes_a_mode_without_a_plan_where_it_is_the_densest_that_is_near)
{
    const plan_measured far[] = {drawn_measured(5, .012), drawn_measured(12, .04)};
    const plan_plain plain[] = {{"kivi4", drawn_measured(3.6, .004)},
                                {"xq4", drawn_measured(3.7, .009)}};
    plan *p;
    scene s;

    open_scene(&s);
    p = drawn_plan_beside(s.g, 2, usual, far, 2, plain, 2);
    CHECK(plan_write(p, at("m.xplan")) == ERR_OK);
    plan_close(p);
    CHECK(best_is(&s, .005, "kivi4") && best_is(&s, .01, "xq4") && best_is(&s, .02, "klt5"));
    CHECK(best_is(&s, .001, ""));
    close_scene(&s);
}

TEST(plans_best_says_how_far_what_it_rejects_is_from_exact)
{
    const plan_measured far[] = {drawn_measured(5, .012), drawn_measured(12, .04)};
    const plan_measured unknown[] = {drawn_measured(5, -1), drawn_measured(12, .04)};
    plans_choice c;
    scene s;

    open_scene(&s);
    c = best(&s, .005);
    CHECK(!c.plan && !*c.rejected); /* there is nothing to reject */
    check_rejected(&s, far, 2, "klt5 (KL 0.012)");
    check_rejected(&s, unknown, 2, "klt5 (KL not measured)");
    check_rejected(&s, NULL, 0, "all (KL not measured)");
    put_plan(&s, at("m.xplan"), usual, 8);
    c = best(&s, .005);
    CHECK(c.plan && strcmp(c.mode, "klt12") == 0 && !*c.rejected); /* though klt20 is over it */
    plan_close(c.plan);
    close_scene(&s);
}

TEST(plans_limit_of_divergence_is_the_one_asked_for_or_the_usual)
{
    CHECK(plans_max_kl(0) == PLANS_MAX_KL && plans_max_kl(.0001) == .0001);
}

TEST(plans_best_passes_over_what_is_none_and_says_so)
{
    static const char old[200] = {'X', 'P', 'L', 'N', 1};
    plans_choice c;
    scene s;

    open_scene(&s);
    folder_write(&root, "m.xplan", "broken", 6);
    c = best(&s, .005);
    CHECK(!c.plan && c.passed.e == ERR_TRUNCATED);
    CHECK(strcmp(c.passed.field, "m.xplan: header") == 0);
    put_plan(&s, at("plans/m.xplan"), usual, 8);
    c = best(&s, .005);
    CHECK(c.plan && strcmp(c.mode, "klt12") == 0 && c.passed.e == ERR_TRUNCATED);
    plan_close(c.plan);
    folder_write(&root, "m.xplan", old, sizeof old);
    c = best(&s, .005);
    CHECK(c.plan && strcmp(c.mode, "klt12") == 0 && c.passed.e == ERR_OLDPLAN);
    CHECK(strcmp(c.passed.field, "m.xplan") == 0);
    plan_close(c.plan);
    close_scene(&s);
}

TEST(plans_best_names_a_file_of_an_older_version)
{
    plans_choice c;
    scene s;

    open_scene(&s);
    folder_write(&root, "m.klt16.xplan", "XPLN\1", 5);
    c = best(&s, .005);
    CHECK(!c.plan && !*c.mode && c.passed.e == ERR_OLDPLAN);
    CHECK(strcmp(c.passed.field, "m.klt16.xplan") == 0);
    put_plan(&s, at("m.xplan"), usual, 8);
    CHECK(best_is(&s, .005, "klt12"));
    close_scene(&s);
}

TEST(plans_best_never_takes_that_of_another_model)
{
    tiny *t = tiny_new();
    plans_choice c;
    scene s, other;
    size_t n;

    open_scene(&s);
    t->data[0] ^= 1;
    other.bytes = tiny_write(t, &n, NULL, NULL);
    tiny_free(t);
    CHECK(gguf_open_memory(&other.g, other.bytes, n, NULL) == ERR_OK);
    put_plan(&other, at("m.xplan"), usual, 8);
    c = best(&s, 1);
    CHECK(!c.plan && c.passed.e == ERR_PLANMODEL);
    CHECK(strcmp(c.passed.field, "m.xplan: model") == 0);
    gguf_close(other.g);
    free(other.bytes);
    close_scene(&s);
}

/* --- words --- */

TEST(plans_of_modes_without_one_are_none)
{
    plan *found = NULL;

    CHECK(plans_open("m.gguf", "xq4", NULL, &found, NULL) == ERR_OK && !found);
    CHECK(plans_open("m.gguf", "auto", NULL, &found, NULL) == ERR_OK && !found);
}

TEST(plans_are_named_after_model_and_a_predictor_that_was_asked_for)
{
    static const struct {
        const char *model;
        bool named;
        plan_predictor r;
        const char *name;
    } rows[] = {{"a/b.gguf", false, {PLAN_FULL, 0}, "a/b.xplan"},
                {"b.gguf", true, {PLAN_RANK, 64}, "b.rank64.xplan"},
                {"b.bin", true, {PLAN_NONE, 0}, "b.bin.none.xplan"},
                {"b.gguf", true, {PLAN_FULL, 0}, "b.full.xplan"}};

    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        char *name = plans_beside(rows[i].model, rows[i].named ? &rows[i].r : NULL);

        CHECK(name && strcmp(name, rows[i].name) == 0);
        free(name);
    }
}

TEST(plans_that_are_missing_are_explained_by_the_command_that_makes_them)
{
    char text[256];

    plans_explain("x/m.gguf", "klt7.5", text, sizeof text);
    CHECK(strcmp(text,
                 "--cache klt7.5 (`xquantd calibrate --model x/m.gguf` makes its plan)") == 0);
}

TEST(plans_predictors_are_read_and_written_in_the_same_words)
{
    static const char *const words[] = {"full", "none", "rank:1", "rank:64"};
    static const char *const wrong[] = {"",        "ful",     "rank",    "rank:",   "rank:0",
                                        "rank:65", "rank:+1", "rank:1x", "rank:1e1"};
    plan_predictor r;
    char text[32];

    for (size_t i = 0; i < 4; i++) {
        CHECK(plans_parse_predictor(words[i], 64, &r));
        CHECK(strcmp(plans_predictor_name(r, text), words[i]) == 0);
    }
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++)
        CHECK(!plans_parse_predictor(wrong[i], 64, &r));
}
