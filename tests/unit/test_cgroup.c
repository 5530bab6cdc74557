/* test_cgroup.c - quotas of made trees of control groups. */
#include "server/cgroup.h"

#include <string.h>

#include "tests/folder.h"
#include "tests/test.h"

/* A file of the tree: path, content. */
typedef struct entry {
    const char *name, *text;
} entry;

enum { FILES = 5 };

#define V2     "sys/fs/cgroup/"
#define V1     "sys/fs/cgroup/cpu,cpuacct/"
#define LINES1 "5:memory:/a/b\n4:cpu,cpuacct:/a/b\n1:name=systemd:/z\n"

static const struct {
    const char *label;
    entry files[FILES];
    int cores;
} trees[] = {
    {"none", {{"proc/self/cgroup", "0::/a/b\n"}, {V2 "a/b/cpu.max", "max 100000\n"}}, 0},
    {"no proc, root limited", {{V2 "cpu.max", "300000 100000\n"}}, 3},
    {"rounded down",
     {{"proc/self/cgroup", "0::/a/b\n"}, {V2 "a/b/cpu.max", "290000 100000\n"}},
     2},
    {"at least one",
     {{"proc/self/cgroup", "0::/a/b\n"}, {V2 "a/b/cpu.max", "10000 100000\n"}},
     1},
    {"the parent is tighter",
     {{"proc/self/cgroup", "0::/a/b\n"},
      {V2 "a/b/cpu.max", "800000 100000\n"},
      {V2 "a/cpu.max", "200000 100000\n"}},
     2},
    {"the child is tighter, the parent open",
     {{"proc/self/cgroup", "0::/a/b\n"},
      {V2 "a/b/cpu.max", "200000 50000\n"},
      {V2 "a/cpu.max", "max 100000\n"}},
     4},
    {"version 1",
     {{"proc/self/cgroup", LINES1},
      {V1 "a/b/cpu.cfs_quota_us", "350000\n"},
      {V1 "a/b/cpu.cfs_period_us", "100000\n"}},
     3},
    {"version 1 without a limit",
     {{"proc/self/cgroup", LINES1},
      {V1 "a/b/cpu.cfs_quota_us", "-1\n"},
      {V1 "a/b/cpu.cfs_period_us", "100000\n"}},
     0},
    {"version 1, the parent is tighter",
     {{"proc/self/cgroup", LINES1},
      {V1 "a/b/cpu.cfs_quota_us", "-1\n"},
      {V1 "a/b/cpu.cfs_period_us", "100000\n"},
      {V1 "a/cpu.cfs_quota_us", "125000\n"},
      {V1 "a/cpu.cfs_period_us", "50000\n"}},
     2},
    {"version 1 in a container, mounted as cpu",
     {{"proc/self/cgroup", "3:cpuacct,cpu:/docker/0123\n"},
      {V2 "cpu/cpu.cfs_quota_us", "250000\n"},
      {V2 "cpu/cpu.cfs_period_us", "100000\n"}},
     2},
    {"cpuset is not cpu",
     {{"proc/self/cgroup", "3:cpuset:/a\n"},
      {V2 "cpuset/a/cpu.cfs_quota_us", "250000\n"},
      {V2 "cpuset/a/cpu.cfs_period_us", "100000\n"}},
     0},
};

TEST(cgroup_cores_are_those_of_the_tightest_quota_rounded_down)
{
    for (size_t i = 0; i < sizeof trees / sizeof trees[0]; i++) {
        const folder root = folder_make();

        for (const entry *e = trees[i].files; e < trees[i].files + FILES && e->name; e++)
            folder_write(&root, e->name, e->text, strlen(e->text));
        if (cgroup_cores(root.path) != trees[i].cores)
            fail_msg("%s: %d cores, not %d", trees[i].label, cgroup_cores(root.path),
                     trees[i].cores);
        folder_remove(&root);
    }
}
