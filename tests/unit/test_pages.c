/* test_pages.c - pages that were asked for are there, and hold what they held. */
#include "engine/pages.h"

#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "tests/test.h"

enum { PAGES = 64 };

static size_t page_bytes(void)
{
    return (size_t)sysconf(_SC_PAGESIZE);
}

/* How many pages of memory at `at` are resident. */
static size_t count_resident(void *at)
{
    unsigned char there[PAGES];
    size_t n = 0;

    CHECK(mincore(at, PAGES * page_bytes(), there) == 0);
    for (size_t i = 0; i < PAGES; i++) n += there[i] & 1;
    return n;
}

TEST(pages_that_are_filled_are_resident_and_unchanged)
{
    const size_t bytes = PAGES * page_bytes();
    char *at = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

    CHECK(at != MAP_FAILED);
    (void)madvise(at, bytes, MADV_NOHUGEPAGE);
    at[5] = 'x';
    CHECK(count_resident(at) == 1);
    CHECK(pages_fill(at + 17, bytes - 17 - page_bytes()) == ERR_OK); /* not the last one */
    CHECK(count_resident(at) == PAGES - 1 && at[5] == 'x' && at[6] == 0);
    CHECK(pages_fill(at, 0) == ERR_OK && count_resident(at) == PAGES - 1);
    munmap(at, bytes);
}

TEST(pages_of_no_memory_are_an_error)
{
    const size_t bytes = PAGES * page_bytes();
    char *at = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

    CHECK(at != MAP_FAILED);
    CHECK(munmap(at + bytes / 2, bytes / 2) == 0); /* half of it is a hole */
    CHECK(pages_fill(at, bytes) == ERR_NOMEM);
    munmap(at, bytes / 2);
}
