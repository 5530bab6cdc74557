/* ollama.c - what its endpoints have in common. */
#include "server/api/ollama.h"

#include <time.h>

/* In UTC, so that no time zone has to be said. */
void ollama_time(char text[OLLAMA_TIME_BYTES], uint64_t unix_seconds)
{
    const time_t at = (time_t)unix_seconds;
    struct tm utc;

    gmtime_r(&at, &utc);
    strftime(text, OLLAMA_TIME_BYTES, "%Y-%m-%dT%H:%M:%SZ", &utc);
}
