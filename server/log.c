/* log.c - one fact a line on stderr or in a file, as text or JSON.
 *
 * A line is shorter than a page, and poll says that a pipe is writable when a page is free, so
 * a write after a successful poll does not wait; the lock keeps our own threads from taking the
 * page in between. O_NONBLOCK would do it too, but it belongs to the open file: the shell that
 * started us would find its terminal changed. */
#include "server/log.h"

#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <poll.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "engine/clock.h"

enum {
    LINE_BYTES = 2048,
    TEXT_BYTES = 256, /* of one value, before escaping */
    REPEAT_SLOTS = 64,
    REPEAT_BURST = 5, /* equal lines in a window before they are only counted */
    REPEAT_SECONDS = 10,
};

static const char *const level_names[] = {"debug", "info", "warn", "error"};

/* A field more than this is not begun: the longest value, every byte of it escaped, fits. */
static const size_t line_full = LINE_BYTES - 64;

#define SECOND_NS UINT64_C(1000000000)

typedef struct line {
    char text[LINE_BYTES];
    size_t n;
    bool json;
} line;

/* What was written lately, by hash: one slot a line, the newer one wins. */
typedef struct repeat {
    uint64_t hash;
    int64_t since; /* seconds */
    unsigned written, dropped;
} repeat;

/* The one log of the process: written by any thread, so it hangs on no object. level, json and
 * path are set before threads start; fd and the slots are guarded by the lock. */
static struct {
    log_level level;
    bool json;
    const char *path; /* NULL: stderr */
    int fd;
    pthread_mutex_t lock;
    repeat slots[REPEAT_SLOTS];
    atomic_ullong dropped;
} state = {.level = LOG_INFO, .fd = STDERR_FILENO, .lock = PTHREAD_MUTEX_INITIALIZER};

void log_setup(const char *format, const char *level)
{
    state.json = strcmp(format, "json") == 0 ||
                 (strcmp(format, "text") != 0 && !isatty(STDERR_FILENO));
    state.level = LOG_INFO;
    for (size_t i = 0; i < sizeof level_names / sizeof *level_names; i++)
        if (strcmp(level, level_names[i]) == 0) state.level = (log_level)i;
}

/* Appending, so that a program that rotates logs may cut the file under us. */
static int open_file(const char *path)
{
    return open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC | O_NOCTTY, 0640);
}

void log_close(void)
{
    if (state.path) close(state.fd);
    state.path = NULL;
    state.fd = STDERR_FILENO;
}

err log_open(const char *path)
{
    const int fd = open_file(path);

    if (fd < 0) return ERR_OPEN;
    log_close();
    state.path = path;
    state.fd = fd;
    return ERR_OK;
}

err log_reopen(void)
{
    int fd;

    if (!state.path) return ERR_OK;
    fd = open_file(state.path);
    if (fd < 0) return ERR_OPEN;
    pthread_mutex_lock(&state.lock);
    close(state.fd);
    state.fd = fd;
    pthread_mutex_unlock(&state.lock);
    return ERR_OK;
}

uint64_t log_dropped(void)
{
    return atomic_load(&state.dropped);
}

bool log_wants(log_level level)
{
    return level >= state.level;
}

/* What does not fit is left out as a whole field, so that a line of JSON stays one. */
static bool fits(const line *l, size_t n)
{
    return l->n + n <= line_full;
}

static void put(line *l, const char *bytes, size_t n)
{
    if (!fits(l, n)) return;
    memcpy(l->text + l->n, bytes, n);
    l->n += n;
}

/* One byte of a quoted text; what is not plain ASCII becomes \u001f in JSON below 0x20, and
 * \xff otherwise (\\xff in JSON: whatever it was, it was not ours). Returns its length. */
static size_t escape(char out[8], unsigned char c, bool json)
{
    if (c == '"' || c == '\\') {
        out[0] = '\\';
        out[1] = (char)c;
        return 2;
    }
    if (c >= 0x20 && c < 0x7f) {
        out[0] = (char)c;
        return 1;
    }
    return (size_t)snprintf(out, 8, json ? (c < 0x20 ? "\\u%04x" : "\\\\x%02x") : "\\x%02x", c);
}

static void put_quoted(line *l, const char *text)
{
    char e[8];
    size_t i = 0;

    put(l, "\"", 1);
    for (; text[i] && i < TEXT_BYTES; i++) {
        const size_t n = escape(e, (unsigned char)text[i], l->json);

        if (!fits(l, n + 4)) break; /* the dots and the quote */
        put(l, e, n);
    }
    if (text[i]) put(l, "...", 3);
    put(l, "\"", 1);
}

/* A text that a shell's tools split off as one word needs no quotes. */
static bool is_plain(const char *text)
{
    size_t n = 0;

    for (; text[n]; n++)
        if (text[n] <= ' ' || text[n] >= 0x7f || strchr("\"\\=", text[n])) return false;
    return n > 0 && n <= TEXT_BYTES;
}

static void put_text(line *l, const char *text)
{
    if (!l->json && is_plain(text) && fits(l, strlen(text)))
        put(l, text, strlen(text));
    else
        put_quoted(l, text);
}

static void put_name(line *l, const char *name)
{
    const char *before = l->n ? (l->json ? "," : " ") : (l->json ? "{" : "");

    put(l, before, strlen(before));
    if (l->json) put(l, "\"", 1);
    put(l, name, strlen(name));
    put(l, l->json ? "\":" : "=", l->json ? 2 : 1);
}

static void put_number(line *l, const char *name, const char *digits)
{
    if (!fits(l, strlen(name) + strlen(digits) + 4)) return;
    put_name(l, name);
    put(l, digits, strlen(digits));
}

static void put_field_text(line *l, const char *name, const char *text)
{
    if (!text || !fits(l, strlen(name) + 16)) return;
    put_name(l, name);
    put_text(l, text);
}

static void put_fields(line *l, va_list args)
{
    const char *name;
    char digits[32];

    while ((name = va_arg(args, const char *))) {
        switch (va_arg(args, int)) {
        case LOG_KIND_TEXT:
            put_field_text(l, name, va_arg(args, const char *));
            break;
        case LOG_KIND_INT:
            snprintf(digits, sizeof digits, "%lld", (long long)va_arg(args, int64_t));
            put_number(l, name, digits);
            break;
        default: {
            const double x = va_arg(args, double);

            /* JSON has no word for what is not finite. */
            snprintf(digits, sizeof digits, "%.6g", isfinite(x) ? x : 0.0);
            put_number(l, name, digits);
        }
        }
    }
}

/* The line's time is not part of what repeats, so it is made last and put in front. */
static void stamp(uint64_t unix_ns, char out[40])
{
    const time_t seconds = (time_t)(unix_ns / SECOND_NS);
    struct tm t;
    const size_t n = gmtime_r(&seconds, &t) ? strftime(out, 32, "%Y-%m-%dT%H:%M:%S", &t) : 0;

    snprintf(out + n, 40 - n, ".%03uZ", (unsigned)(unix_ns % SECOND_NS / 1000000));
}

/* Two lines of one hash are taken for the same one: some line is then counted that should have
 * been written. No security hangs on it. */
static uint64_t hash(const char *bytes, size_t n)
{
    uint64_t h = 14695981039346656037u; /* FNV-1a */

    for (size_t i = 0; i < n; i++) h = (h ^ (unsigned char)bytes[i]) * 1099511628211u;
    return h;
}

/* A client that errs a thousand times a second should not fill the disk: after a burst equal
 * lines are counted, and the next one written says how many. May this line be written?
 * *dropped: how many like it were not, since the last one. */
static bool admit(const line *l, int64_t now, unsigned *dropped)
{
    const uint64_t h = hash(l->text, l->n);
    repeat *slot = &state.slots[h % REPEAT_SLOTS];
    bool write = true;

    *dropped = 0;
    pthread_mutex_lock(&state.lock);
    if (slot->hash != h) {
        *slot = (repeat){.hash = h, .since = now, .written = 1};
    } else if (now - slot->since >= REPEAT_SECONDS) {
        *dropped = slot->dropped;
        *slot = (repeat){.hash = h, .since = now, .written = 1};
    } else if (slot->written < REPEAT_BURST) {
        slot->written++;
    } else {
        slot->dropped++;
        write = false;
    }
    pthread_mutex_unlock(&state.lock);
    return write;
}

/* All of it or, as far as can be known before, nothing. A file may take a part at first: then
 * the rest follows, for half a line spoils the next one, too. */
static void write_line(const char *bytes, size_t n)
{
    struct pollfd p = {.events = POLLOUT};
    ssize_t put;

    pthread_mutex_lock(&state.lock);
    p.fd = state.fd;
    while (n) {
        if (poll(&p, 1, 0) != 1 || !(p.revents & POLLOUT)) break;
        do put = write(state.fd, bytes, n);
        while (put < 0 && errno == EINTR);
        if (put <= 0) break;
        bytes += put;
        n -= (size_t)put;
    }
    pthread_mutex_unlock(&state.lock);
    if (n) atomic_fetch_add(&state.dropped, 1);
}

static void emit(const line *body, uint64_t now_ns, unsigned dropped)
{
    /* A static buffer would need the lock around the formatting, too. */
    char out[LINE_BYTES + 96], time[40], count[40] = "";
    int n;

    stamp(now_ns, time);
    if (dropped)
        snprintf(count, sizeof count, body->json ? ",\"repeated\":%u" : " repeated=%u",
                 dropped);
    /* body->text begins with "{" in JSON, which moves before the time */
    n = body->json ? snprintf(out, sizeof out, "{\"ts\":\"%s\",%.*s%s}\n", time,
                              (int)body->n - 1, body->text + 1, count)
                   : snprintf(out, sizeof out, "ts=%s %.*s%s\n", time, (int)body->n, body->text,
                              count);
    if (n > 0) write_line(out, (size_t)n);
}

void log_line(log_level level, const char *msg, ...)
{
    line l = {.json = state.json};
    uint64_t now_ns;
    unsigned dropped;
    va_list args;

    if (!log_wants(level)) return;
    put_field_text(&l, "level", level_names[level]);
    put_field_text(&l, "msg", msg);
    va_start(args, msg);
    put_fields(&l, args);
    va_end(args);
    now_ns = clock_unix_ns();
    if (admit(&l, (int64_t)(now_ns / SECOND_NS), &dropped)) emit(&l, now_ns, dropped);
}
