/* size.h - bytes as people write them. */
#ifndef CONFIG_SIZE_H
#define CONFIG_SIZE_H

#include <stdbool.h>
#include <stdint.h>

/* "512MiB", "1.5 GiB", "64KB", "4096" -> bytes; false if it is none, or over INT64_MAX.
 * KiB .. TiB are powers of 1024, KB .. TB of 1000; a bare K, M, G or T is binary. */
bool size_parse(const char *text, uint64_t *bytes);

#endif
