/* command.h - the subcommands of the program: one line in commands.def, one file cmd_<name>.c
 * each. */
#ifndef SERVER_COMMAND_H
#define SERVER_COMMAND_H

/* Run a subcommand on what follows its name on the command line, ready for config_load;
 * --help and --version were dealt with. Returns the program's exit code: 0, 1 for what
 * failed, 2 for a command line that is wrong. Prints its own errors. Main thread. */
#define COMMAND(name, where, argument, help) int cmd_##name(int argc, char **argv);
#include "server/commands.def"
#undef COMMAND

#endif
