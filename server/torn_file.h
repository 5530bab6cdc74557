/* torn_file.h - outlive a mapped file that somebody cut short.
 *
 * A read behind the new end of a mapped file is a SIGBUS. Embedding rows, the vocabulary's
 * texts and a plan's tables are read from mappings for as long as a server runs, and who copies
 * a shorter file over the model would end it with all its sessions. */
#ifndef SERVER_TORN_FILE_H
#define SERVER_TORN_FILE_H

#include <stdbool.h>

/* From now on such a read finds zeros; every other SIGBUS is his who had it before. Once, in
 * main; threads must not block SIGBUS, for the kernel then ends the process all the same. */
void torn_file_guard(void);

/* Has a read found zeros for that reason? Any thread. */
bool torn_file_met(void);

#endif
