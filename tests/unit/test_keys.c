/* test_keys.c - API keys: who is let in, and how much one key may use. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "server/api/keys.h"
#include "tests/folder.h"
#include "tests/test.h"

typedef struct key_file {
    folder dir;
    char path[FOLDER_PATH];
} key_file;

static void put(key_file *f, const char *text)
{
    folder_write(&f->dir, "keys", text, strlen(text));
}

static key_file make(const char *text)
{
    key_file f = {.dir = folder_make()};

    folder_path(&f.dir, "keys", f.path);
    put(&f, text);
    return f;
}

static keys *open_keys(const key_file *f)
{
    keys *k = NULL;
    char *wrong = keys_open(&k, f->path);

    if (wrong) fprintf(stderr, "%s\n", wrong);
    CHECK(!wrong && k);
    return k;
}

TEST(keys_are_found_by_either_header_and_others_are_not)
{
    key_file f = make("# who\n\nsk-one name=alice\n  sk-two\t requests=3 # bob\r\n");
    keys *k = open_keys(&f);

    CHECK(keys_count(k) == 2);
    CHECK(strcmp(keys_name(keys_find(k, "Bearer sk-one", NULL)), "alice") == 0);
    CHECK(keys_find(k, "bearer   sk-two", NULL) && keys_find(k, NULL, "sk-two"));
    CHECK(keys_find(k, "Basic eDp5", "sk-two") == keys_find(k, "Bearer sk-two", NULL));
    CHECK(!keys_find(k, NULL, NULL) && !keys_find(k, "Bearer ", NULL) &&
          !keys_find(k, NULL, ""));
    CHECK(!keys_find(k, "Bearer sk-on", NULL) && !keys_find(k, "Bearer sk-onee", NULL));
    CHECK(!keys_find(k, "sk-one", NULL));
    CHECK(keys_tenant(keys_find(k, NULL, "sk-one")) !=
          keys_tenant(keys_find(k, NULL, "sk-two")));
    keys_close(k);
    folder_remove(&f.dir);
}

static const char *const wrong_files[] = {
    "",
    "# nobody\n",
    "sk-a name\n",
    "sk-a name=\n",
    "sk-a requests=many\n",
    "sk-a tokens=-1\n",
    "sk-a tokens=99999999999999999999\n",
    "sk-a minutes=3\n",
    "sk-a\nsk-b\nsk-a\n",
};

TEST(keys_file_that_is_wrong_is_refused_by_line_and_its_keys_are_not_repeated)
{
    for (size_t i = 0; i < sizeof wrong_files / sizeof *wrong_files; i++) {
        key_file f = make(wrong_files[i]);
        keys *k = NULL;
        char *wrong = keys_open(&k, f.path);

        CHECK(wrong && !k && strstr(wrong, f.path) == wrong && !strstr(wrong, "sk-a"));
        free(wrong);
        folder_remove(&f.dir);
    }
}

TEST(keys_file_with_a_line_without_end_or_that_is_not_there_is_refused)
{
    char *line = malloc(5000), *wrong;
    key_file f;
    keys *k = NULL;

    memset(line, 'a', 4999);
    line[4999] = '\0';
    f = make(line);
    wrong = keys_open(&k, f.path);
    CHECK(wrong && strstr(wrong, "too long"));
    free(wrong);
    free(line);
    folder_remove(&f.dir);
    wrong = keys_open(&k, "/nowhere/keys");
    CHECK(wrong && strstr(wrong, "/nowhere/keys"));
    free(wrong);
}

TEST(keys_reload_keeps_what_is_in_use_and_forgets_who_is_gone)
{
    key_file f = make("sk-one requests=1\nsk-two\n");
    keys *k = open_keys(&f);
    key *one = keys_find(k, NULL, "sk-one"), *two = keys_find(k, NULL, "sk-two");
    char *wrong;

    CHECK(!keys_admit(one, 10, 1).limit && !keys_admit(two, 10, 1).limit);
    put(&f, "sk-one requests=2\nsk-three\n");
    CHECK(!keys_reload(k) && keys_count(k) == 2);
    CHECK(keys_find(k, NULL, "sk-one") == one && keys_find(k, NULL, "sk-three"));
    CHECK(!keys_find(k, NULL, "sk-two"));
    CHECK(!keys_admit(one, 10, 1).limit && keys_admit(one, 10, 1).limit);
    keys_release(two, 10, 10); /* its request ends after its key */
    put(&f, "sk-one requests=x\n");
    wrong = keys_reload(k);
    CHECK(wrong && keys_find(k, NULL, "sk-three"));
    free(wrong);
    keys_close(k);
    folder_remove(&f.dir);
}

TEST(key_has_so_many_requests_and_tokens_at_once)
{
    key_file f = make("sk requests=2 tokens=100\n");
    keys *k = open_keys(&f);
    key *x = keys_find(k, NULL, "sk");
    keys_verdict v;

    CHECK(keys_admit(x, 101, 1).never);
    CHECK(!keys_admit(x, 60, 1).limit);
    v = keys_admit(x, 60, 1);
    CHECK(strcmp(v.limit, "tokens") == 0 && v.retry_seconds > 0 && !v.never);
    CHECK(!keys_admit(x, 40, 1).limit);
    CHECK(strcmp(keys_admit(x, 0, 1).limit, "requests") == 0);
    keys_release(x, 60, 0);
    CHECK(!keys_admit(x, 60, 1).limit);
    keys_close(k);
    folder_remove(&f.dir);
}

TEST(key_has_so_many_tokens_a_minute_and_says_when_to_come_again)
{
    const uint64_t second = 1000000000, start = 5 * second;
    key_file f = make("sk tokens_per_minute=600\n");
    keys *k = open_keys(&f);
    key *x = keys_find(k, NULL, "sk");
    keys_verdict v;

    CHECK(!keys_admit(x, 900, start).limit);
    keys_release(x, 900, 900); /* 300 more than there were: half a minute */
    v = keys_admit(x, 1, start);
    CHECK(strcmp(v.limit, "tokens_per_minute") == 0);
    CHECK(v.retry_seconds >= 30 && v.retry_seconds <= 32);
    CHECK(keys_admit(x, 1, start + 29 * second).limit);
    CHECK(!keys_admit(x, 1, start + 31 * second).limit);
    keys_release(x, 1, 1);
    CHECK(
        !keys_admit(x, 1, start + 3600 * second).limit); /* no more than a minute is saved up */
    keys_release(x, 1, 601);
    CHECK(keys_admit(x, 1, start + 3600 * second).limit);
    keys_close(k);
    folder_remove(&f.dir);
}
