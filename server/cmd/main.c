/* main.c - the program: picks the subcommand. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "config/config.h"
#include "config/nearest.h"
#include "engine/kern/cpu.h"
#include "server/cmd/command.h"
#include "server/torn_file.h"

#ifndef XQUANTD_REVISION
#define XQUANTD_REVISION ""
#endif

typedef struct command {
    const char *name;
    int (*run)(int argc, char **argv);
    unsigned where;
    const char *argument;
    const char *help;
} command;

static const command commands[] = {
#define COMMAND(name, where, argument, help) {#name, cmd_##name, where, argument, help},
#include "server/cmd/commands.def"
#undef COMMAND
};
enum { N_COMMANDS = sizeof commands / sizeof commands[0] };

/* True if the variable had to be changed. */
static bool change_variable(const char *name, const char *value)
{
    const char *now = getenv(name);

    return !(now && strcmp(now, value) == 0) && setenv(name, value, 1) == 0;
}

/* OpenBLAS reads its variables before main: set them, then become the same program again.
 * 0.3.21 knows CPUs by their model numbers and takes one that is newer than itself for a
 * Prescott, of 2004: an eighth of the speed with AVX-512, a third with AVX2. So it is told what
 * there is. Threads are ours, not its. Once all is as wanted nothing changes, so this cannot
 * loop; if it fails, the program runs on, slower. */
static void prepare_blas(char **argv)
{
    const unsigned have = cpu_flags();
    const char *core = have & CPU_AVX512 ? "SkylakeX" : have & CPU_AVX2 ? "Haswell" : NULL;
    bool changed = change_variable("OPENBLAS_NUM_THREADS", "1");
    char self[4096];
    ssize_t n;

    if (core && !getenv("OPENBLAS_CORETYPE"))
        changed |= change_variable("OPENBLAS_CORETYPE", core);
    if (!changed) return;
    n = readlink("/proc/self/exe", self, sizeof self - 1);
    if (n > 0) { /* by its own name first, for ps shows the name */
        self[n] = '\0';
        execv(self, argv);
    }
    execv("/proc/self/exe", argv);
}

static void print_version(void)
{
    printf("xquantd %s%s%s%s\n", XQUANTD_VERSION, *XQUANTD_REVISION ? " (" : "",
           XQUANTD_REVISION, *XQUANTD_REVISION ? ")" : "");
}

static void print_help(FILE *out)
{
    fputs("usage: xquantd COMMAND [OPTION...]\n\n", out);
    for (const command *c = commands; c < commands + N_COMMANDS; c++)
        fprintf(out, "  %-12s%s\n", c->name, c->help);
    fputs(
        "\n`xquantd COMMAND --help` lists a command's options. Options without a command are\n"
        "those of serve. `xquantd --version` shows the version.\n",
        out);
}

static void print_command_help(const command *c)
{
    printf("usage: xquantd %s [OPTION...]%s%s\n\n%s\n\n", c->name, *c->argument ? " " : "",
           c->argument, c->help);
    config_print_help(stdout, c->where);
}

/* By its whole name: an abbreviation would mean another command once there is one more. */
static const command *find_command(const char *name)
{
    for (const command *c = commands; c < commands + N_COMMANDS; c++)
        if (strcmp(c->name, name) == 0) return c;
    return NULL;
}

static int refuse_command(const char *name)
{
    const char *names[N_COMMANDS];
    const char *near;

    for (size_t i = 0; i < N_COMMANDS; i++) names[i] = commands[i].name;
    near = nearest_name(name, names, N_COMMANDS);
    fprintf(stderr, "xquantd: unknown command '%s'%s%s%s\n", name,
            near ? "; did you mean " : "", near ? near : "",
            near ? "?" : "; see xquantd --help");
    return 2;
}

/* Whether one of the arguments is this word, "--" ending the search. */
static bool asks(int argc, char **argv, const char *word)
{
    for (int i = 0; i < argc && strcmp(argv[i], "--") != 0; i++)
        if (strcmp(argv[i], word) == 0) return true;
    return false;
}

static int run(const command *c, int argc, char **argv)
{
    if (asks(argc, argv, "--help")) {
        print_command_help(c);
        return 0;
    }
    if (asks(argc, argv, "--version")) {
        print_version();
        return 0;
    }
    return c->run(argc, argv);
}

static int dispatch(int argc, char **argv)
{
    const command *c;

    if (argc < 2) {
        print_help(stderr);
        return 2;
    }
    if (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0) {
        print_help(stdout);
        return 0;
    }
    /* options without a command are the daemon's, as in a container's arguments */
    if (argv[1][0] == '-') return run(find_command("serve"), argc - 1, argv + 1);
    c = find_command(argv[1]);
    return c ? run(c, argc - 2, argv + 2) : refuse_command(argv[1]);
}

/* Here for all commands, since what one printed may be in stdio's buffer until now. stdio keeps
 * that a write failed, but not why: the reason is known only of the last one. Closed, not
 * flushed, for a file system over a network may tell of a full disk only then. */
static int close_output(int code)
{
    char path[4096];
    const ssize_t n = readlink("/proc/self/fd/1", path, sizeof path);
    const bool lost = ferror(stdout), fails = fclose(stdout) != 0;

    if (!lost && !fails) return code;
    fprintf(stderr, "xquantd: %.*s: output is lost: %s\n", n > 0 ? (int)n : 15,
            n > 0 ? path : "standard output", fails ? strerror(errno) : "a write failed");
    return code ? code : 1;
}

/* A descriptor below 3 that whoever started us has closed would be the first file we open, and
 * what is printed would go into it: a log, a plan. Not open for writing as stdout, so that what
 * is printed there is lost with an error. False: there is no /dev/null either. */
static bool open_standard(void)
{
    for (int fd = 0; fd < 3; fd++)
        if (fcntl(fd, F_GETFD) < 0 && open("/dev/null", fd == 1 ? O_RDONLY : O_RDWR) != fd)
            return false;
    return true;
}

int main(int argc, char **argv)
{
    if (!open_standard()) return 1;
    prepare_blas(argv);
    torn_file_guard();
    return close_output(dispatch(argc, argv));
}
