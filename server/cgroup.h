/* cgroup.h - the control groups around this process, and the cores that they grant.
 *
 * Limits nest: a pod's group may be tighter than its container's, and a slice's than a
 * service's, so whoever reads one reads those of all groups up to the root. */
#ifndef SERVER_CGROUP_H
#define SERVER_CGROUP_H

#include <stdint.h>

enum { CGROUP_PATH = 4096 }; /* bytes of a path in the tree */

/* Call `visit` with the folder of our group, then of every one around it, the mounted root
 * last. `controller` is that of a version 1 tree, "cpu"; "" means version 2. Reads /proc and
 * /sys/fs/cgroup below `root`, which is "" but for tests. */
void cgroup_walk(const char *root, const char *controller,
                 void (*visit)(void *user, const char *folder), void *user);

/* Whole cores within the tightest quota of either version: rounded down, for a thread more than
 * that is throttled in the middle of a step, and the others wait for it. At least 1; 0: there
 * is no quota. */
int cgroup_cores(const char *root);

#endif
