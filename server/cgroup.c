/* cgroup.c - walks the control groups of version 1 and 2.
 *
 *   /proc/self/cgroup      version 2   0::/system.slice/x.service
 *                          version 1   4:cpu,cpuacct:/system.slice/x.service
 *   below /sys/fs/cgroup   version 2   system.slice/x.service/cpu.max        "150000 100000"
 *                          version 1   cpu,cpuacct/system.slice/x.service/cpu.cfs_quota_us
 *
 * A container of version 1 is told its path on the host, while its own group is mounted as the
 * root: folders that are not there hold no limit, and the walk ends at the root anyway. */
#include "server/cgroup.h"

#include <limits.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

/* Is the word one of a list with commas? */
static bool lists(const char *list, const char *word)
{
    const size_t n = strlen(word);

    for (const char *at = list; at; at = strchr(at, ',')) {
        at += *at == ',';
        if (strncmp(at, word, n) == 0 && (at[n] == ',' || !at[n])) return true;
    }
    return false;
}

/* One line taken apart: where the tree is mounted, as version 1 names a folder after its
 * controllers, and our path in it. False: the line is of another tree. */
static bool read_group(char *line, const char *controller, const char **tree, const char **path)
{
    char *controllers = strchr(line, ':');
    char *group = controllers ? strchr(controllers + 1, ':') : NULL;

    if (!group) return false;
    *group = '\0';
    if (*controller ? !lists(controllers + 1, controller) : controllers[1]) return false;
    *tree = controllers + 1;
    *path = group[1] == '/' && group[2] ? group + 1 : "";
    return true;
}

static void walk_up(const char *root, const char *tree, const char *path,
                    void (*visit)(void *user, const char *folder), void *user)
{
    char group[CGROUP_PATH], folder[3 * CGROUP_PATH];
    char *slash;

    snprintf(group, sizeof group, "%s", path);
    do {
        snprintf(folder, sizeof folder, "%s/sys/fs/cgroup%s%s%s", root, *tree ? "/" : "", tree,
                 group);
        visit(user, folder);
        slash = strrchr(group, '/');
        if (slash) *slash = '\0';
    } while (slash);
}

void cgroup_walk(const char *root, const char *controller,
                 void (*visit)(void *user, const char *folder), void *user)
{
    char path[CGROUP_PATH], line[CGROUP_PATH];
    const char *tree = controller, *group = "";
    bool known = false;
    FILE *f;

    snprintf(path, sizeof path, "%s/proc/self/cgroup", root);
    f = fopen(path, "r");
    while (f && !known && fgets(line, sizeof line, f)) {
        line[strcspn(line, "\n")] = '\0';
        known = read_group(line, controller, &tree, &group);
    }
    if (f) fclose(f);
    /* not known, as where /proc is hidden: the mounted root may still be ours */
    walk_up(root, known ? tree : controller, known ? group : "", visit, user);
    /* some systems mount "cpu,cpuacct" as "cpu" alone */
    if (known && strcmp(tree, controller) != 0) walk_up(root, controller, group, visit, user);
}

/* --- cores --- */

/* The numbers that a file begins with; how many there are. "max" and -1 are none. */
static int read_numbers(const char *folder, const char *name, double *a, double *b)
{
    char path[3 * CGROUP_PATH + 32];
    FILE *f;
    int n;

    snprintf(path, sizeof path, "%s/%s", folder, name);
    f = fopen(path, "r");
    if (!f) return 0;
    n = fscanf(f, "%lf %lf", a, b);
    fclose(f);
    return n > 0 && *a > 0 ? n : 0;
}

static void keep_least(void *user, const char *folder)
{
    double *least = user, quota = 0, period = 0, none = 0;
    const bool both = read_numbers(folder, "cpu.max", &quota, &period) == 2 ||
                      (read_numbers(folder, "cpu.cfs_quota_us", &quota, &none) &&
                       read_numbers(folder, "cpu.cfs_period_us", &period, &none));

    if (both && period > 0 && quota / period < *least) *least = quota / period;
}

int cgroup_cores(const char *root)
{
    double least = INT_MAX;

    cgroup_walk(root, "", keep_least, &least);
    cgroup_walk(root, "cpu", keep_least, &least);
    if (least >= INT_MAX) return 0;
    return least < 1 ? 1 : (int)least;
}
