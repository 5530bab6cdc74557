/* pages.c - madvise, where the kernel has it, else a touch of every page.
 *
 * A page fault in the middle of a step is a pause of everybody, and a SIGBUS where a memfd or a
 * container is out of memory: filled beforehand, it is an error that start-up can report. */
#include "engine/pages.h"

#include <errno.h>
#include <stdint.h>
#include <sys/mman.h>
#include <unistd.h>

#ifndef MADV_POPULATE_READ /* Linux 5.14 */
#define MADV_POPULATE_READ  22
#define MADV_POPULATE_WRITE 23
#endif

static size_t page_bytes(void)
{
    return (size_t)sysconf(_SC_PAGESIZE);
}

/* madvise on the whole pages that hold [at, at + n). */
static int advise(const void *at, size_t n, int advice)
{
    const size_t before = (uintptr_t)at % page_bytes();

    return madvise((char *)(uintptr_t)at - before, n + before, advice);
}

err pages_fill(void *at, size_t n)
{
    volatile char *page = at;

    if (n == 0 || advise(at, n, MADV_POPULATE_WRITE) == 0) return ERR_OK;
    if (errno != EINVAL) return ERR_NOMEM;
    for (size_t i = 0; i < n; i += page_bytes()) page[i] = page[i];
    page[n - 1] = page[n - 1];
    return ERR_OK;
}

void pages_read(const void *at, size_t n)
{
    const volatile char *page = at;

    if (n == 0 || advise(at, n, MADV_POPULATE_READ) == 0 || errno != EINVAL) return;
    for (size_t i = 0; i < n; i += page_bytes()) (void)page[i];
}

void pages_drop(const void *at, size_t n)
{
    if (n) (void)advise(at, n, MADV_DONTNEED);
}
