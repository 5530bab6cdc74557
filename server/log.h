/* log.h - what happened, one fact a line on stderr.
 *
 *   log_line(LOG_INFO, "listening", "address", LOG_TEXT(host), "port", LOG_INT(port), NULL);
 *
 * Text: `ts=... level=info msg=listening address=127.0.0.1 port=8080`; else one JSON object
 * with the same fields in the same order. A line is written by one write(2), from any
 * thread. Texts are cut at 256 bytes and escaped, so they may come from a client; prompts
 * and answers never go into a log. A line repeated within ten seconds is counted instead,
 * and the count joins the next one that is written (`repeated`). */
#ifndef SERVER_LOG_H
#define SERVER_LOG_H

#include <stdbool.h>
#include <stdint.h>

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

/* Would a line of this level be written? */
bool log_wants(log_level level);

/* msg is a constant of ours. */
void log_line(log_level level, const char *msg, ...) __attribute__((sentinel));

#endif
