/* test_torn_file.c - a mapped file that is cut short, and signals that are about something
 * else. */
#include <signal.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "server/torn_file.h"
#include "tests/test.h"

static volatile sig_atomic_t n_signals;

static void count(int signum)
{
    (void)signum;
    n_signals++;
}

/* Two pages of a file that nobody finds, 'x' in both. */
static char *map_file(int *fd, size_t page)
{
    char *at;

    *fd = memfd_create("torn", MFD_CLOEXEC);
    CHECK(*fd >= 0 && ftruncate(*fd, (off_t)(2 * page)) == 0);
    CHECK(pwrite(*fd, "x", 1, 0) == 1 && pwrite(*fd, "x", 1, (off_t)page) == 1);
    at = mmap(NULL, 2 * page, PROT_READ, MAP_SHARED, *fd, 0);
    CHECK(at != MAP_FAILED);
    return at;
}

TEST(torn_file_reads_zeros_and_leaves_other_signals_to_who_had_them)
{
    const size_t page = (size_t)sysconf(_SC_PAGESIZE);
    struct sigaction now;
    int fd;
    char *at = map_file(&fd, page);

    signal(SIGBUS, count);
    torn_file_guard();
    CHECK(at[page] == 'x' && !torn_file_met());
    CHECK(ftruncate(fd, (off_t)page) == 0);
    CHECK(((volatile char *)at)[page] == 0 && torn_file_met() && n_signals == 0);
    CHECK(((volatile char *)at)[0] == 'x');
    raise(SIGBUS);
    CHECK(n_signals == 1);
    CHECK(sigaction(SIGBUS, NULL, &now) == 0 && now.sa_handler == count);
    munmap(at, 2 * page);
    close(fd);
}

/* Else a monitor that sends it would see the process go on, once. */
TEST(torn_file_a_signal_that_is_sent_ends_the_process)
{
    const pid_t child = fork();
    int status = 0;

    if (child == 0) {
        signal(SIGBUS, SIG_DFL);
        torn_file_guard();
        raise(SIGBUS);
        _exit(0);
    }
    CHECK(child > 0 && waitpid(child, &status, 0) == child);
    CHECK(WIFSIGNALED(status) && WTERMSIG(status) == SIGBUS);
}
