/* random.h - numbers and names that nobody can foresee: seeds, ids of answers and requests. */
#ifndef SERVER_RANDOM_H
#define SERVER_RANDOM_H

#include <stdint.h>

enum { RANDOM_ID_BYTES = 48 /* of an id with its NUL; 15 are left for the prefix */ };

/* Any of 2^64. Never fails. Any thread. */
uint64_t random_number(void);

/* The prefix and 32 hexadecimal digits. */
void random_id(char id[RANDOM_ID_BYTES], const char *prefix);

#endif
