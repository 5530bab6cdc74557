/* test_plans.c - where a plan is looked for, in which order, and what a missing or broken one
 * is called. */
#include "server/plans.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "tests/folder.h"
#include "tests/planned.h"
#include "tests/test.h"

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

/* The rank says which file it was. */
static void write_plan(planned *p, const char *path, size_t rank)
{
    plan *made = planned_make(p, 8, (plan_predictor){PLAN_RANK, rank});

    CHECK(plan_write(made, path) == ERR_OK);
    plan_close(made);
}

static size_t found_rank(planned *p)
{
    char model_file[128];
    plan *found = NULL;
    size_t rank;

    snprintf(model_file, sizeof model_file, "%s", at("m.gguf"));
    CHECK(plans_open(model_file, "klt8", p->file, &found, NULL) == ERR_OK && found);
    rank = plan_read_about(found).predictor.rank;
    plan_close(found);
    return rank;
}

TEST(plans_are_found_beside_the_model_then_in_the_folder_then_in_the_cache)
{
    fault why = {0};
    plan *found = NULL;
    planned p;
    char *cached;

    set_folders();
    planned_open(&p, 1);
    CHECK(plans_open(at("m.gguf"), "klt8", p.file, &found, &why) == ERR_NOPLAN && !found);
    CHECK(strcmp(why.field, "--cache klt8") == 0);
    cached = plans_cached(at("m.gguf"), 64, 8, plan_default_predictor(64));
    CHECK(cached && strcmp(cached, at("cache/xquantd/m.klt8.xplan")) == 0);
    write_plan(&p, cached, 3);
    CHECK(found_rank(&p) == 3);
    write_plan(&p, at("plans/m.klt8.xplan"), 2);
    CHECK(found_rank(&p) == 2);
    write_plan(&p, at("m.klt8.xplan"), 1);
    CHECK(found_rank(&p) == 1);
    free(cached);
    planned_close(&p);
    remove_folders();
}

TEST(plans_that_are_broken_are_named_with_their_file)
{
    fault why = {0};
    plan *found = NULL;
    planned p;

    set_folders();
    planned_open(&p, 1);
    folder_write(&root, "m.klt8.xplan", (const char[200]){0}, 200);
    CHECK(plans_open(at("m.gguf"), "klt8", p.file, &found, &why) == ERR_PLAN && !found);
    CHECK(strcmp(why.field, "--cache klt8: m.klt8.xplan: magic") == 0);
    planned_close(&p);
    remove_folders();
}

/* A plan of this ratio and recorded divergence, written where tests look. */
static void put_plan(planned *p, const char *name, double ratio, double kl)
{
    plan *made = planned_make(p, ratio, plan_default_predictor(p->m->D));

    plan_set_kl(made, kl, 1000);
    CHECK(plan_write(made, at(name)) == ERR_OK);
    plan_close(made);
}

/* Of those below: m's own of the usual predictor, one a ratio, ascending; the first place
 * first. */
static void check_list(planned *p)
{
    plan *list[PLANS_LISTED];
    size_t n = 0;

    put_plan(p, "plans/m.klt6.xplan", 6, 0.5);
    put_plan(p, "plans/m.klt4.xplan", 4, 0.5);
    CHECK(plans_list(at("m.gguf"), p->file, list, &n) == ERR_OK);
    CHECK(n >= 3 && plan_read_about(list[0]).ratio == 4 && plan_read_about(list[1]).ratio == 6);
    CHECK(plan_read_about(list[1]).kl == 0.001 && plan_read_about(list[2]).ratio == 8);
    for (size_t i = 1; i < n; i++)
        CHECK(plan_read_about(list[i]).ratio > plan_read_about(list[i - 1]).ratio);
    for (size_t i = 0; i < n; i++) plan_close(list[i]);
}

static plans_rejected rejected_of(const planned *p, double max_kl)
{
    plans_rejected r = {.n = 9, .text = "of before"};
    plan *found = NULL;

    CHECK(plans_best(at("m.gguf"), p->file, max_kl, &r, &found) == ERR_OK);
    plan_close(found);
    return r;
}

TEST(plans_best_says_which_plans_it_rejects_and_their_divergence)
{
    plans_rejected r;
    planned p;

    set_folders();
    planned_open(&p, 1);
    r = rejected_of(&p, 0.005);
    CHECK(r.n == 0 && !*r.text);
    put_plan(&p, "m.klt8.xplan", 8, 0.019);
    put_plan(&p, "plans/m.klt8.xplan", 8, 0.019); /* a copy is no other plan */
    put_plan(&p, "other.klt9.xplan", 9, 0.02);
    r = rejected_of(&p, 0.005);
    CHECK(r.n == 1 && strcmp(r.text, "klt8 (KL 0.019)") == 0);
    put_plan(&p, "plans/m.klt6.xplan", 6, -1); /* unknown is not within any limit */
    r = rejected_of(&p, 0.005);
    CHECK(r.n == 2 && strcmp(r.text, "klt8 (KL 0.019), klt6 (KL not measured)") == 0);
    r = rejected_of(&p, 0.02);
    CHECK(r.n == 1 && strcmp(r.text, "klt6 (KL not measured)") == 0);
    planned_close(&p);
    remove_folders();
}

TEST(plans_best_is_the_densest_within_the_divergence_asked_for)
{
    plan *found = NULL;
    planned p;

    set_folders();
    planned_open(&p, 1);
    CHECK(plans_best(at("m.gguf"), p.file, 0.005, NULL, &found) == ERR_OK && !found);
    put_plan(&p, "m.klt6.xplan", 6, 0.001);
    put_plan(&p, "m.klt8.xplan", 8, 0.004);
    put_plan(&p, "m.klt10.none.xplan", 10, 0.02);
    put_plan(&p, "other.klt9.xplan", 9, 0.001);
    folder_write(&root, "m.klt12.xplan", "broken", 6);
    CHECK(plans_best(at("m.gguf"), p.file, 0.005, NULL, &found) == ERR_OK && found);
    CHECK(plan_read_about(found).ratio == 8);
    plan_close(found);
    CHECK(plans_best(at("m.gguf"), p.file, 0.03, NULL, &found) == ERR_OK && found);
    CHECK(plan_read_about(found).ratio == 10);
    plan_close(found);
    CHECK(plans_best(at("m.gguf"), p.file, 0.0001, NULL, &found) == ERR_OK && !found);
    check_list(&p);
    planned_close(&p);
    remove_folders();
}

TEST(plans_of_modes_without_one_are_none)
{
    plan *found = NULL;

    CHECK(plans_open("m.gguf", "xq4", NULL, &found, NULL) == ERR_OK && !found);
    CHECK(plans_open("m.gguf", "auto", NULL, &found, NULL) == ERR_OK && !found);
}

TEST(plans_are_named_after_model_ratio_and_an_unusual_predictor)
{
    static const struct {
        const char *model;
        size_t D;
        double ratio;
        plan_predictor r;
        const char *name;
    } rows[] = {{"a/b.gguf", 384, 7.5, {PLAN_FULL, 0}, "a/b.klt7.5.xplan"},
                {"b.gguf", 384, 16, {PLAN_RANK, 64}, "b.klt16.rank64.xplan"},
                {"b.bin", 384, 16, {PLAN_NONE, 0}, "b.bin.klt16.none.xplan"},
                {"b.gguf", 2048, 16, {PLAN_FULL, 0}, "b.klt16.full.xplan"},
                {"b.gguf", 2048, 16, {PLAN_RANK, 352}, "b.klt16.xplan"}};

    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        char *name = plans_beside(rows[i].model, rows[i].D, rows[i].ratio, rows[i].r);

        CHECK(name && strcmp(name, rows[i].name) == 0);
        free(name);
    }
}

TEST(plans_that_are_missing_are_explained_by_the_command_that_makes_them)
{
    char text[256];

    plans_explain("x/m.gguf", "klt7.5", text, sizeof text);
    CHECK(strstr(text, "xquantd calibrate --model x/m.gguf --ratio 7.5") != NULL);
}

TEST(plans_predictors_are_read_and_written_in_the_same_words)
{
    static const char *const words[] = {"full", "none", "rank:1", "rank:64"};
    static const char *const wrong[] = {"ful",     "rank",    "rank:",   "rank:0",
                                        "rank:65", "rank:+1", "rank:1x", "rank:1e1"};
    plan_predictor r;
    char text[32];

    for (size_t i = 0; i < 4; i++) {
        CHECK(plans_parse_predictor(words[i], 64, &r));
        CHECK(strcmp(plans_predictor_name(r, text), words[i]) == 0);
    }
    CHECK(plans_parse_predictor("", 2048, &r) && r.kind == PLAN_RANK && r.rank == 352);
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++)
        CHECK(!plans_parse_predictor(wrong[i], 64, &r));
}
