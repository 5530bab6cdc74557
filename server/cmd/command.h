/* command.h - the subcommands of the program: one line in commands.def, one file cmd_<name>.c
 * each. */
#ifndef SERVER_CMD_COMMAND_H
#define SERVER_CMD_COMMAND_H

#include "config/config.h"
#include "engine/err.h"
#include "server/runtime.h"

/* Run a subcommand on what follows its name on the command line, ready for config_load;
 * --help and --version were dealt with. Returns the program's exit code: 0, 1 for what
 * failed, 2 for a command line that is wrong. Prints its own errors. Main thread. */
#define COMMAND(name, where, argument, help) int cmd_##name(int argc, char **argv);
#include "server/cmd/commands.def"
#undef COMMAND

/* What a subcommand consists of: load the options that are `where`, run with them, free them.
 * Returns what run does, or 2 after a sentence about options that are wrong. */
int command_run(unsigned where, int argc, char **argv, int (*run)(config *c));

enum { COMMAND_PATH = 4352 }; /* bytes of a path, and of a sentence that begins with one */

/* The file of the model that a person names: the plain argument, else --model, else the
 * embedded one. The one place where a name of the hub (hf:...) becomes a file, which may take
 * a download; what comes after is handed a path.
 *   path  [n]            out
 *   what  [what_bytes]   out  on failure: the name, and why
 * ERR_DOWNLOAD. */
err command_locate_model(const config *c, char *path, size_t n, char *what, size_t what_bytes);

/* The same, and runtime_open_model with it. The caller closes r, also after a failure. */
err command_open_model(runtime *r, const config *c, char *what, size_t what_bytes);

/* The same with runtime_open_measured, for a command that has --products. */
err command_open_measured(runtime *r, const config *c, char *what, size_t what_bytes);

#endif
