/* command.h - the subcommands of the program: one line in commands.def, one file cmd_<name>.c
 * each. */
#ifndef SERVER_CMD_COMMAND_H
#define SERVER_CMD_COMMAND_H

#include "config/config.h"

/* Run a subcommand on what follows its name on the command line, ready for config_load;
 * --help and --version were dealt with. Returns the program's exit code: 0, 1 for what
 * failed, 2 for a command line that is wrong. Prints its own errors. Main thread. */
#define COMMAND(name, where, argument, help) int cmd_##name(int argc, char **argv);
#include "server/cmd/commands.def"
#undef COMMAND

/* What a subcommand consists of: load the options that are `where`, run with them, free them.
 * Returns what run does, or 2 after a sentence about options that are wrong. */
int command_run(unsigned where, int argc, char **argv, int (*run)(config *c));

#endif
