/* test_memory_report.c - the sentence about memory, and where its numbers come from. */
#include "server/memory_report.h"

#include <string.h>

#include "tests/folder.h"
#include "tests/test.h"

#define MIB (UINT64_C(1) << 20)
#define GIB (UINT64_C(1) << 30)

TEST(memory_report_is_told_in_one_sentence)
{
    const memory_needs b = {.weights = 46 * GIB / 10,
                            .pool = 8 * GIB,
                            .contexts = 1912,
                            .context_tokens = 4096,
                            .workspace = GIB,
                            .scratch = 210 * MIB,
                            .plan = 805 * MIB / 10};
    const memory_needs bare = {.weights = 33 * MIB, .pool = 64 * MIB, .context_tokens = 1500};
    memory_needs unplanned = bare;
    const memory_limit machine = {16 * GIB, 0, MEMORY_MACHINE},
                       group = {512 * MIB, 0, MEMORY_CGROUP};
    char text[MEMORY_REPORT_TEXT];

    unplanned.factors = 18 * MIB;
    CHECK(memory_report_write(&b, &machine, text));
    CHECK(strcmp(text, "weights 4.6 GiB, pool 8 GiB = 1,912 contexts of 4k tokens, workspace "
                       "1 GiB, scratch 210 MiB, plan 80.5 MiB; machine has 16 GiB") == 0);
    CHECK(memory_report_write(&bare, &group, text));
    CHECK(strcmp(text, "weights 33 MiB, pool 64 MiB = 0 contexts of 1500 tokens, scratch "
                       "0 bytes; cgroup allows 512 MiB") == 0);
    CHECK(memory_report_write(&unplanned, &group, text)); /* no plan, and none is told of */
    CHECK(strcmp(text, "weights 33 MiB, pool 64 MiB = 0 contexts of 1500 tokens, scratch "
                       "0 bytes, factors 18 MiB; cgroup allows 512 MiB") == 0);
}

TEST(memory_report_fits_to_the_last_byte_of_every_part)
{
    const memory_needs b = {
        .weights = 1, .pool = 2, .workspace = 4, .scratch = 8, .plan = 16, .factors = 32};
    char text[MEMORY_REPORT_TEXT];

    CHECK(memory_report_sum(&b) == 63);
    CHECK(memory_report_write(&b, &(memory_limit){63, 0, MEMORY_MACHINE}, text));
    CHECK(!memory_report_write(&b, &(memory_limit){62, 0, MEMORY_MACHINE}, text));
}

TEST(memory_report_of_any_size_has_a_sentence_that_ends)
{
    const memory_needs b = {.weights = UINT64_MAX / 8,
                            .pool = UINT64_MAX / 8,
                            .contexts = UINT64_MAX,
                            .context_tokens = SIZE_MAX,
                            .workspace = UINT64_MAX / 8,
                            .scratch = UINT64_MAX / 8,
                            .plan = UINT64_MAX / 8,
                            .factors = UINT64_MAX / 8};
    const memory_limit limit = {999, 0, MEMORY_CGROUP};
    char text[MEMORY_REPORT_TEXT];

    CHECK(!memory_report_write(&b, &limit, text));
    CHECK(strcmp(strchr(text, ';'), "; cgroup allows 999 bytes") == 0);
}

TEST(memory_report_numbers_are_for_people)
{
    static const struct {
        uint64_t bytes;
        const char *text;
    } rows[] = {{0, "0 bytes"},        {1023, "1023 bytes"},     {1024, "1 KiB"},
                {1536, "1.5 KiB"},     {100 * MIB, "100 MiB"},   {1023 * MIB, "1023 MiB"},
                {GIB - 1, "1 GiB"},    {GIB * 3 / 2, "1.5 GiB"}, {MIB * 2560, "2.5 GiB"},
                {UINT64_MAX, "16 EiB"}};
    char text[32];

    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
        CHECK(strcmp(memory_report_bytes(rows[i].bytes, text), rows[i].text) == 0);
    CHECK(strcmp(memory_report_count(0, text), "0") == 0);
    CHECK(strcmp(memory_report_count(999, text), "999") == 0);
    CHECK(strcmp(memory_report_count(1234567, text), "1,234,567") == 0);
    CHECK(strcmp(memory_report_count(UINT64_MAX, text), "18,446,744,073,709,551,615") == 0);
    CHECK(strcmp(memory_report_tokens(131072, text), "128k") == 0);
    CHECK(strcmp(memory_report_tokens(1500, text), "1500") == 0);
}

static void write_at(const folder *root, const char *name, const char *text)
{
    folder_write(root, name, text, strlen(text));
}

TEST(memory_report_limit_is_the_machine_or_the_tightest_cgroup)
{
    const folder root = folder_make();
    memory_limit l;

    write_at(&root, "proc/meminfo", "MemTotal: 16 kB\nMemFree: 1 kB\nMemAvailable:   12 kB\n");
    l = memory_report_limit(root.path);
    CHECK(l.bytes == 16384 && l.free == 12288 && l.source == MEMORY_MACHINE);
    write_at(&root, "proc/self/cgroup", "1:name=x:/y\n0::/a/b\n");
    write_at(&root, "sys/fs/cgroup/a/b/memory.max", "max\n");
    write_at(&root, "sys/fs/cgroup/a/b/memory.current", "4000\n");
    l = memory_report_limit(root.path);
    CHECK(l.bytes == 16384 && l.free == 12288 && l.source == MEMORY_MACHINE);
    write_at(&root, "sys/fs/cgroup/a/memory.max", "8192\n");
    write_at(&root, "sys/fs/cgroup/a/memory.current", "5000\n");
    write_at(&root, "sys/fs/cgroup/a/memory.stat",
             "anon 9\ninactive_file 1000\nactive_file 2000\n");
    l = memory_report_limit(root.path);
    CHECK(l.bytes == 8192 && l.free == 6192 && l.source == MEMORY_CGROUP);
    write_at(&root, "sys/fs/cgroup/memory.max", "4096\n"); /* a container's own root */
    write_at(&root, "sys/fs/cgroup/memory.current", "5000\n");
    l = memory_report_limit(root.path);
    CHECK(l.bytes == 4096 && l.free == 0 && l.source == MEMORY_CGROUP);
    folder_remove(&root);
}

TEST(memory_report_limit_of_this_machine_is_known)
{
    const memory_limit l = memory_report_limit("");

    CHECK(l.bytes > 64 * MIB && l.free > 0 && l.free <= l.bytes);
}
