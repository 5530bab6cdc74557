/* test_memory_rlimit.c - what memory the limits of a process leave. A program of its own: under
 * a limit on its addresses AddressSanitizer gets no memory. */
#include <string.h>
#include <sys/resource.h>

#include "server/memory_report.h"
#include "tests/folder.h"
#include "tests/test.h"

#define MIB (UINT64_C(1) << 20)
#define GIB (UINT64_C(1) << 30)

static void write_at(const folder *root, const char *name, const char *text)
{
    folder_write(root, name, text, strlen(text));
}

/* What the made machine of 16 GiB says under a soft limit of this process. */
static memory_limit limit_under(const folder *root, int which, rlim_t bytes)
{
    struct rlimit old, now;
    memory_limit l;

    CHECK(getrlimit(which, &old) == 0);
    now = (struct rlimit){bytes, old.rlim_max};
    CHECK(setrlimit(which, &now) == 0);
    l = memory_report_limit(root->path);
    CHECK(setrlimit(which, &old) == 0);
    return l;
}

TEST(memory_report_limit_is_what_rlimits_leave)
{
    const folder root = folder_make();
    struct rlimit hard;
    memory_limit l;

    CHECK(getrlimit(RLIMIT_AS, &hard) == 0);
    if (hard.rlim_max != RLIM_INFINITY) SKIP("a hard limit is set here");
    write_at(&root, "proc/meminfo", "MemTotal: 16777216 kB\nMemAvailable: 8388608 kB\n");
    write_at(&root, "proc/self/status", "VmSize:\t 1048576 kB\nVmData:\t  524288 kB\n");
    l = limit_under(&root, RLIMIT_AS, 4 * GIB);
    CHECK(l.bytes == 3 * GIB - 96 * MIB && l.free == l.bytes && l.source == MEMORY_RLIMIT_AS);
    l = limit_under(&root, RLIMIT_DATA, 4 * GIB);
    CHECK(l.bytes == 3584 * MIB - 96 * MIB && l.free == l.bytes);
    CHECK(l.source == MEMORY_RLIMIT_DATA);
    l = limit_under(&root, RLIMIT_AS, 64 * GIB);
    CHECK(l.bytes == 16 * GIB && l.free == 8 * GIB && l.source == MEMORY_MACHINE);
    l = limit_under(&root, RLIMIT_AS,
                    12 * GIB); /* tighter than the machine, not than its rest */
    CHECK(l.bytes == 11 * GIB - 96 * MIB && l.free == 8 * GIB);
    folder_remove(&root);
}
