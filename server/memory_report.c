/* memory_report.c - adds up memory, reads what there is, and says both in a sentence.
 *
 * The limit is the machine's memory or that of the tightest cgroup (v2) around us, for a
 * process that outgrows its group is killed while the machine has gigabytes left; or what this
 * process may map. What is free
 * counts the page cache as free: the kernel gives it up, and a model file that was just read
 * fills it. */
#include "server/memory_report.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

#include "server/cgroup.h"

enum { PATH_BYTES = 4096, THREADS_BYTES = 96 << 20 };

/* --- words --- */

const char *memory_report_bytes(uint64_t bytes, char text[24])
{
    static const char *const units[] = {"bytes", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"};
    double v = (double)bytes;
    size_t unit = 0;

    for (; v >= 1023.95; v /= 1024) unit++; /* what would round to 1024.0 is 1 of the next */
    snprintf(text, 24, "%.1f", v);
    if (v >= 99.95 || strstr(text, ".0")) snprintf(text, 24, "%.0f", v);
    snprintf(text + strlen(text), 24 - strlen(text), " %s", units[unit]);
    return text;
}

const char *memory_report_count(uint64_t n, char text[32])
{
    char digits[24];
    const int length = snprintf(digits, sizeof digits, "%llu", (unsigned long long)n);
    int at = 0;

    for (int i = 0; i < length; i++) {
        if (i && (length - i) % 3 == 0) text[at++] = ',';
        text[at++] = digits[i];
    }
    text[at] = '\0';
    return text;
}

const char *memory_report_tokens(size_t n, char text[24])
{
    if (n && n % 1024 == 0)
        snprintf(text, 24, "%zuk", n / 1024);
    else
        snprintf(text, 24, "%zu", n);
    return text;
}

uint64_t memory_report_sum(const memory_needs *b)
{
    return b->weights + b->pool + b->workspace + b->scratch + b->plan + b->factors;
}

bool memory_report_write(const memory_needs *b, const memory_limit *limit,
                         char text[MEMORY_REPORT_TEXT])
{
    static const char *const sources[] = {[MEMORY_MACHINE] = "machine has",
                                          [MEMORY_CGROUP] = "cgroup allows",
                                          [MEMORY_RLIMIT_AS] = "RLIMIT_AS leaves",
                                          [MEMORY_RLIMIT_DATA] = "RLIMIT_DATA leaves"};
    char bytes[24], count[32], tokens[24];
    size_t n = (size_t)snprintf(text, MEMORY_REPORT_TEXT, "weights %s",
                                memory_report_bytes(b->weights, bytes));

    n += (size_t)snprintf(text + n, MEMORY_REPORT_TEXT - n, ", pool %s",
                          memory_report_bytes(b->pool, bytes));
    if (b->context_tokens) /* else it is of a model that generates nothing */
        n += (size_t)snprintf(text + n, MEMORY_REPORT_TEXT - n, " = %s context%s of %s tokens",
                              memory_report_count(b->contexts, count),
                              b->contexts == 1 ? "" : "s",
                              memory_report_tokens(b->context_tokens, tokens));
    if (b->workspace)
        n += (size_t)snprintf(text + n, MEMORY_REPORT_TEXT - n, ", workspace %s",
                              memory_report_bytes(b->workspace, bytes));
    n += (size_t)snprintf(text + n, MEMORY_REPORT_TEXT - n, ", scratch %s",
                          memory_report_bytes(b->scratch, bytes));
    if (b->plan)
        n += (size_t)snprintf(text + n, MEMORY_REPORT_TEXT - n, ", plan %s",
                              memory_report_bytes(b->plan, bytes));
    if (b->factors)
        n += (size_t)snprintf(text + n, MEMORY_REPORT_TEXT - n, ", factors %s",
                              memory_report_bytes(b->factors, bytes));
    snprintf(text + n, MEMORY_REPORT_TEXT - n, "; %s %s", sources[limit->source],
             memory_report_bytes(limit->bytes, bytes));
    return memory_report_sum(b) <= limit->bytes;
}

/* --- what there is --- */

/* The number behind a word that begins a line: "MemTotal: 16 kB", "inactive_file 4096"; an
 * empty word: the file's first. 0: there is none, as of "max". */
static uint64_t read_number(const char *path, const char *word)
{
    FILE *f = fopen(path, "r");
    const size_t n = strlen(word);
    char line[256];
    uint64_t v = 0;

    if (!f) return 0;
    while (!v && fgets(line, sizeof line, f)) {
        if (strncmp(line, word, n) != 0) continue;
        v = strtoull(line + n + (line[n] == ':'), NULL, 10);
        if (!n) break;
    }
    fclose(f);
    return v;
}

static uint64_t read_cgroup_number(const char *folder, const char *file, const char *word)
{
    char path[2 * PATH_BYTES + 32];

    snprintf(path, sizeof path, "%s/%s", folder, file);
    return read_number(path, word);
}

/* Keep what a cgroup leaves, if it is less. */
static void tighten(void *user, const char *folder)
{
    memory_limit *l = user;
    const uint64_t most = read_cgroup_number(folder, "memory.max", "");
    uint64_t used, cached, left;

    if (!most) return;
    used = read_cgroup_number(folder, "memory.current", "");
    cached = read_cgroup_number(folder, "memory.stat", "inactive_file") +
             read_cgroup_number(folder, "memory.stat", "active_file");
    used = used > cached ? used - cached : 0; /* they are read one after the other */
    left = most > used ? most - used : 0;
    if (most < l->bytes) {
        l->bytes = most;
        l->source = MEMORY_CGROUP;
    }
    if (left < l->free) l->free = left;
}

/* What a limit of this process leaves of the address space (RLIMIT_AS) or of private memory
 * (RLIMIT_DATA): an mmap beyond it fails, however much the machine has. What is mapped now
 * counts, the model's file too; threads that start later want stacks and arenas. */
static void tighten_by_limit(memory_limit *l, const char *root, int which, const char *line)
{
    char path[PATH_BYTES];
    struct rlimit most;
    uint64_t used, left;

    if (getrlimit(which, &most) != 0 || most.rlim_cur == RLIM_INFINITY) return;
    snprintf(path, sizeof path, "%s/proc/self/status", root);
    used = read_number(path, line) * 1024 + THREADS_BYTES;
    left = most.rlim_cur > used ? most.rlim_cur - used : 0;
    if (left < l->bytes) {
        l->bytes = left;
        l->source = which == RLIMIT_AS ? MEMORY_RLIMIT_AS : MEMORY_RLIMIT_DATA;
    }
    if (left < l->free) l->free = left;
}

memory_limit memory_report_limit(const char *root)
{
    char path[PATH_BYTES];
    memory_limit l = {0};

    snprintf(path, sizeof path, "%s/proc/meminfo", root);
    l.bytes = read_number(path, "MemTotal") * 1024;
    l.free = read_number(path, "MemAvailable") * 1024;
    cgroup_walk(root, "", tighten, &l);
    tighten_by_limit(&l, root, RLIMIT_AS, "VmSize");
    tighten_by_limit(&l, root, RLIMIT_DATA, "VmData");
    return l;
}
