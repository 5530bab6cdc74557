/* fuzz_config.c - any bytes as an options file: a config, or a sentence. */
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include "config/config.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    char path[64];
    char *argv[] = {"--config", path};
    char *environment[] = {NULL};
    const int fd = memfd_create("config", MFD_CLOEXEC);
    config c;
    char *error;

    if (fd < 0 || write(fd, data, n) != (ssize_t)n) abort();
    snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    error = config_load(&c, CONFIG_SERVE, 2, argv, environment);
    if (error && !*error) abort();
    if (!error) config_free(&c);
    free(error);
    close(fd);
    return 0;
}
