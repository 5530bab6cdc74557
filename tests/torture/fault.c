/* fault.c - makes one call fail: linked into the program, it stands before libc.
 *
 * What an executable defines is also what its shared libraries call, so a row of calls.def
 * covers libmicrohttpd, cJSON, libuv, OpenBLAS and libc's own malloc as well as our code. Under
 * a sanitizer the next definition is the sanitizer's, and its checks go on. */
#undef _FORTIFY_SOURCE /* its inline functions have the names that are defined here */
#include "tests/torture/fault.h"

#include <dirent.h>
#include <dlfcn.h>
#include <errno.h>
#include <execinfo.h>
#include <fcntl.h>
#include <malloc.h>
#include <netdb.h>
#include <poll.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

enum { DEPTH = 24 };

static const int errors[] = {
#define KIND(name, error) error,
#include "tests/torture/kinds.def"
#undef KIND
};

/* Set once, before main; what was called earlier is not counted. */
static fault_file *shared;
static _Thread_local bool inside; /* our own calls do not count */

/* --- stacks --- */

/* "malloc < libfoo.so(bar+0x12) < ...": addr2line finds the rest. */
static void note_where(const char *name)
{
    void *at[DEPTH];
    const int n = backtrace(at, DEPTH);
    size_t used = (size_t)snprintf(shared->where, sizeof shared->where, "%s", name);

    for (int i = 2; i < n && used + 300 < sizeof shared->where; i++) {
        Dl_info of = {0};
        const char *file = dladdr(at[i], &of) && of.dli_fname ? of.dli_fname : "?";
        const char *slash = strrchr(file, '/');

        used += (size_t)snprintf(shared->where + used, sizeof shared->where - used,
                                 " < %.60s(%.80s)+%#tx", slash ? slash + 1 : file,
                                 of.dli_sname ? of.dli_sname : "",
                                 (char *)at[i] - (char *)(of.dli_fbase ? of.dli_fbase : 0));
    }
}

/* --- which call fails --- */

/* libuv ends the process, by its own design, when it cannot read or write its eventfd and pipe,
 * enlarge its table of descriptors or change its epoll set: none of it can be had as an error.
 */
static bool is_excluded(const char *name, void *caller)
{
    static const char *const excluded[] = {"read", "write", "realloc", "epoll_ctl", "pipe2"};
    Dl_info of = {0};
    size_t i = 0;

    while (i < sizeof excluded / sizeof *excluded && strcmp(name, excluded[i]) != 0) i++;
    return i < sizeof excluded / sizeof *excluded && dladdr(caller, &of) && of.dli_fname &&
           strstr(of.dli_fname, "/libuv.so");
}

/* Is it this call's turn? */
static bool counts_to(fault_kind kind, const char *name, void *caller)
{
    uint64_t n;

    if (!shared || inside) return false;
    inside = true;
    if (is_excluded(name, caller)) {
        inside = false;
        return false;
    }
    n = atomic_fetch_add(&shared->counts[kind], 1) + 1;
    inside = false;
    return shared->kind == kind && n >= shared->from && n < shared->until;
}

static void note(const char *name)
{
    inside = true;
    if (atomic_fetch_add(&shared->struck, 1) == 0) note_where(name);
    inside = false;
}

/* Must this call fail? Sets errno. */
static bool strikes(fault_kind kind, const char *name, void *caller)
{
    if (!counts_to(kind, name, caller) || shared->way != FAULT_FAILS) return false;
    note(name);
    errno = errors[kind];
    return true;
}

/* The same for a call that moves *n bytes, which may be told to move fewer. */
static bool strikes_move(fault_kind kind, const char *name, void *caller, size_t *n)
{
    if (!counts_to(kind, name, caller)) return false;
    if (shared->way == FAULT_SHORT && *n < 2) return false;
    note(name);
    if (shared->way == FAULT_SHORT) {
        *n = *n / 2;
        return false;
    }
    errno = shared->way == FAULT_INTERRUPTED ? EINTR : errors[kind];
    return true;
}

static void *find(const char *name)
{
    void *real = dlsym(RTLD_NEXT, name);

    if (!real) abort(); /* a row that no library has is never called */
    return real;
}

/* --- the calls --- */

/* Threads may both find it: they write the same. */
#define REAL(name, type, params) \
    static type(*call) params;   \
    if (!call) *(void **)&call = find(#name)

#define CALL(kind, name, type, failed, params, args)                                  \
    type name params;                                                                 \
    type name params                                                                  \
    {                                                                                 \
        REAL(name, type, params);                                                     \
        if (strikes(FAULT_##kind, #name, __builtin_return_address(0))) return failed; \
        return call args;                                                             \
    }
#define MOVE(kind, name, type, failed, params, args)                                           \
    type name params;                                                                          \
    type name params                                                                           \
    {                                                                                          \
        REAL(name, type, params);                                                              \
        if (strikes_move(FAULT_##kind, #name, __builtin_return_address(0), &n)) return failed; \
        return call args;                                                                      \
    }
#define FILE_CALL(kind, name, type, failed, params, args)                        \
    type name params;                                                            \
    type name params                                                             \
    {                                                                            \
        REAL(name, type, params);                                                \
        if (strikes(FAULT_##kind, #name, __builtin_return_address(0))) {         \
            if (f) f->_flags |= 0x20; /* glibc's _IO_ERR_SEEN: ferror says so */ \
            return failed;                                                       \
        }                                                                        \
        return call args;                                                        \
    }
#include "tests/torture/calls.def"
#undef CALL
#undef MOVE
#undef FILE_CALL

/* Those that take one more argument at times. */
#define OPENS(name, params, args)                                               \
    int name params;                                                            \
    int name params                                                             \
    {                                                                           \
        REAL(name, int, params);                                                \
        va_list rest;                                                           \
        int mode;                                                               \
                                                                                \
        va_start(rest, flags);                                                  \
        mode = va_arg(rest, int);                                               \
        va_end(rest);                                                           \
        if (strikes(FAULT_open, #name, __builtin_return_address(0))) return -1; \
        return call args;                                                       \
    }
OPENS(open, (const char *path, int flags, ...), (path, flags, mode))
OPENS(open64, (const char *path, int flags, ...), (path, flags, mode))
OPENS(openat, (int folder, const char *path, int flags, ...), (folder, path, flags, mode))
OPENS(openat64, (int folder, const char *path, int flags, ...), (folder, path, flags, mode))

/* Of fcntl copies of descriptors alone, of ioctl what makes a socket non-blocking. */
#define CONTROLS(name, number, fails)                                                      \
    int name(int fd, number what, ...)                                                     \
    {                                                                                      \
        REAL(name, int, (int, number, ...));                                               \
        va_list rest;                                                                      \
        void *more;                                                                        \
                                                                                           \
        va_start(rest, what);                                                              \
        more = va_arg(rest, void *);                                                       \
        va_end(rest);                                                                      \
        if ((fails) && strikes(FAULT_open, #name, __builtin_return_address(0))) return -1; \
        return call(fd, what, more);                                                       \
    }
CONTROLS(fcntl, int, what == F_DUPFD || what == F_DUPFD_CLOEXEC)
CONTROLS(ioctl, unsigned long, what == FIONBIO)

/* What takes a descriptor out of a set needs nothing, so it cannot fail but by a bug. */
int epoll_ctl(int set, int how, int fd, struct epoll_event *e)
{
    REAL(epoll_ctl, int, (int, int, int, struct epoll_event *));
    if (how == EPOLL_CTL_ADD && strikes(FAULT_open, "epoll_ctl", __builtin_return_address(0)))
        return -1;
    return call(set, how, fd, e);
}

/* A sanitizer asks it where a thread begins, and ends the process when it fails. */
int pthread_getattr_np(pthread_t of, pthread_attr_t *out)
{
    REAL(pthread_getattr_np, int, (pthread_t, pthread_attr_t *));
    const bool before = inside;
    int result;

    inside = true;
    result = call(of, out);
    inside = before;
    return result;
}

/* fclose frees even where it fails, which it does where there was something to write. */
int fclose(FILE *f)
{
    REAL(fclose, int, (FILE *));
    const bool fails = !(f->_flags & 8) && /* glibc's _IO_NO_WRITES */
                       strikes(FAULT_write, "fclose", __builtin_return_address(0));
    const int result = call(f);

    if (fails) errno = ENOSPC;
    return fails ? EOF : result;
}

/* --- the file --- */

/* The last constructor: libraries have had theirs. backtrace allocates in its first call. */
__attribute__((constructor(65535))) static void begin(void)
{
    const char *path = getenv("XQUANTD_FAULTS");
    int fd;
    void *at[DEPTH], *mapped;

    if (!path) return;
    backtrace(at, DEPTH);
    fd = open(path, O_RDWR | O_CLOEXEC);
    mapped = fd < 0 ? MAP_FAILED
                    : mmap(NULL, sizeof *shared, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (mapped == MAP_FAILED) {
        perror(path);
        _exit(99);
    }
    close(fd);
    shared = mapped;
}
