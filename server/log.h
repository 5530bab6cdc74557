/* log.h - what happened, one fact a line on stderr or in a file.
 *
 *   log_line(LOG_INFO, "listening", "address", LOG_TEXT(host), "port", LOG_INT(port), NULL);
 *
 * Text: `ts=... level=info msg=listening address=127.0.0.1 port=8080`; else one JSON object
 * with the same fields in the same order. A line is written by one write(2), from any
 * thread. Texts are cut at 256 bytes and escaped, so they may come from a client; prompts
 * and answers never go into a log. A line repeated within ten seconds is counted instead,
 * and the count joins the next one that is written (`repeated`).
 *
 * A line never waits for its reader: where a pipe or terminal takes no more, or the disk is
 * full, it is dropped and counted. */
#ifndef SERVER_LOG_H
#define SERVER_LOG_H

#include <stdbool.h>
#include <stdint.h>

#include "engine/err.h"

typedef enum log_level { LOG_DEBUG, LOG_INFO, LOG_WARN, LOG_ERROR } log_level;

/* Values of a field, after its name; NULL after the last one. LOG_TEXT(NULL) leaves the
 * field out. */
#define LOG_TEXT(value) LOG_KIND_TEXT, (const char *)(value)
#define LOG_INT(value)  LOG_KIND_INT, (int64_t)(value)
#define LOG_NUM(value)  LOG_KIND_NUM, (double)(value)
enum { LOG_KIND_TEXT, LOG_KIND_INT, LOG_KIND_NUM };

/* Once, before threads start. format: "auto" (text on a terminal), "text", "json"; level:
 * "debug", "info", "warn", "error". Unknown words count as "auto" and "info". Without it:
 * text, info. */
void log_setup(const char *format, const char *level);

/* Write to this file from now on, made if need be and added to; path is borrowed for the life
 * of the process. ERR_OPEN (errno says why): nothing changed. Before threads start. */
err log_open(const char *path);

/* Open the file of log_open anew: it may have been moved away. Keeps the old one on failure.
 * ERR_OPEN. Without a file nothing happens. Any thread. */
err log_reopen(void);

/* Back to stderr, when no other thread logs any more. */
void log_close(void);

/* Lines that nobody took. */
uint64_t log_dropped(void);

/* Would a line of this level be written? */
bool log_wants(log_level level);

/* msg is a constant of ours. */
void log_line(log_level level, const char *msg, ...) __attribute__((sentinel));

#endif
