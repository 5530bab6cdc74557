/* torn_file.c - puts a page of zeros where a mapped file has lost its own.
 *
 *   read -> SIGBUS -> a page of zeros is mapped there -> the read is done again, and goes on
 *
 * Copying the embedding at load instead would take memory that the mapping shares with other
 * processes and gives back under pressure: 139 MB for 32,000 x 4,096 in q8_0, 557 MB for
 * 128,256 rows. Reading rows by pread costs a system call a token, and leaves the vocabulary
 * and the plan in danger. This costs a page a torn page, and nothing before. What is computed
 * from zeros is worth nothing: the server looks once a second, and answers 503 from then on. */
#include "server/torn_file.h"

#include <signal.h>
#include <stdatomic.h>
#include <stdint.h>
#include <sys/mman.h>
#include <unistd.h>

/* A signal has no object to hang on. Lock-free, so that a handler may write it. */
static atomic_bool met;

/* What SIGBUS did before: a sanitizer says where, others have other plans. Written once, before
 * any thread could read a torn page. */
static struct sigaction before;

/* BUS_ADRERR alone: of memory that is broken (BUS_MCEERR_AR) the process should die, by whom it
 * would have without us: the same read again, or a signal that was sent, is his. mmap is a
 * system call and takes no lock, though POSIX does not list it. Neighbouring pages of zeros
 * become one mapping in the kernel, so their number stays below its limit. */
static void on_bus_error(int signum, siginfo_t *info, void *context)
{
    const uintptr_t page = (uintptr_t)sysconf(_SC_PAGESIZE);
    void *at = (void *)((uintptr_t)info->si_addr & ~(page - 1));

    (void)context;
    if (info->si_code == BUS_ADRERR &&
        mmap(at, page, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0) == at) {
        atomic_store(&met, true);
        return;
    }
    sigaction(signum, &before, NULL);
    if (info->si_code <= 0) raise(signum); /* once this handler is left */
}

void torn_file_guard(void)
{
    struct sigaction act = {.sa_sigaction = on_bus_error, .sa_flags = SA_SIGINFO | SA_RESTART};

    sigemptyset(&act.sa_mask);
    sigaction(SIGBUS, &act, &before);
}

bool torn_file_met(void)
{
    return atomic_load(&met);
}
