/* peak.c - runs a command and holds it to a peak of memory: peak KIB COMMAND...
 *
 * Exits as the command does: with its code, or 128 and its signal. 99: it took more. */
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

int main(int argc, char **argv)
{
    struct rusage used;
    int status;
    pid_t child;

    if (argc < 3) return 2;
    child = fork();
    if (child == 0) {
        execv(argv[2], argv + 2);
        perror(argv[2]);
        _exit(127);
    }
    if (child < 0 || wait4(child, &status, 0, &used) != child) return 2;
    if (used.ru_maxrss > atol(argv[1])) {
        fprintf(stderr, "peak: %ld KiB\n", used.ru_maxrss);
        return 99;
    }
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}
