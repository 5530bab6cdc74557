/* test_log.c - log lines: their form, and that nothing a client sends can break it. */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "server/log.h"
#include "tests/test.h"

typedef struct capture {
    int saved, pipe[2];
    char text[16384];
} capture;

static void capture_begin(capture *c)
{
    fflush(stderr);
    c->saved = dup(STDERR_FILENO);
    CHECK(pipe(c->pipe) == 0);
    CHECK(fcntl(c->pipe[0], F_SETFL, O_NONBLOCK) == 0);
    dup2(c->pipe[1], STDERR_FILENO);
}

static const char *capture_end(capture *c)
{
    ssize_t n;

    dup2(c->saved, STDERR_FILENO);
    close(c->saved);
    close(c->pipe[1]);
    n = read(c->pipe[0], c->text, sizeof c->text - 1);
    close(c->pipe[0]);
    c->text[n > 0 ? n : 0] = '\0';
    return c->text;
}

/* The line after its time. */
static const char *after_time(const char *line)
{
    const char *at = strstr(line, "level");

    CHECK(at);
    return at;
}

TEST(log_writes_fields_in_order_as_text)
{
    capture c;
    const char *line;

    log_setup("text", "info");
    capture_begin(&c);
    log_line(LOG_INFO, "listening", "address", LOG_TEXT("::1"), "port", LOG_INT(-7), "ms",
             LOG_NUM(1.5), "what", LOG_TEXT("two words"), "none", LOG_TEXT(NULL), NULL);
    line = capture_end(&c);
    CHECK(strncmp(line, "ts=20", 5) == 0 && line[26] == 'Z' && line[22] == '.');
    CHECK(strcmp(after_time(line),
                 "level=info msg=listening address=::1 port=-7 ms=1.5 what=\"two words\"\n") ==
          0);
}

TEST(log_writes_one_json_object_a_line)
{
    capture c;
    const char *line;

    log_setup("json", "info");
    capture_begin(&c);
    log_line(LOG_WARN, "a fact", "text", LOG_TEXT("x"), "n", LOG_INT(1), NULL);
    line = capture_end(&c);
    CHECK(strncmp(line, "{\"ts\":\"20", 9) == 0);
    CHECK(strcmp(after_time(line),
                 "level\":\"warn\",\"msg\":\"a fact\",\"text\":\"x\",\"n\":1}\n") == 0);
}

TEST(log_escapes_what_a_client_sent)
{
    static const char nasty[] = "a\"b\\c\nd\x01\x7f\xc3\xa4";
    capture c;

    log_setup("json", "info");
    capture_begin(&c);
    log_line(LOG_INFO, "escape", "v", LOG_TEXT(nasty), NULL);
    CHECK(strstr(capture_end(&c), "\"a\\\"b\\\\c\\u000ad\\u0001\\\\x7f\\\\xc3\\\\xa4\"}\n"));

    log_setup("text", "info");
    capture_begin(&c);
    log_line(LOG_INFO, "escape", "v", LOG_TEXT(nasty), NULL);
    CHECK(strstr(capture_end(&c), "v=\"a\\\"b\\\\c\\x0ad\\x01\\x7f\\xc3\\xa4\"\n"));

    capture_begin(&c);
    log_line(LOG_INFO, "forged", "v", LOG_TEXT("x level=error"), "e", LOG_TEXT(""), NULL);
    CHECK(strstr(capture_end(&c), "v=\"x level=error\" e=\"\"\n"));
}

TEST(log_bounds_a_value_and_a_line)
{
    capture c;
    char *long_text = malloc(5001);
    const char *line;

    memset(long_text, '\n', 5000);
    long_text[5000] = '\0';
    log_setup("json", "info");
    capture_begin(&c);
    log_line(LOG_INFO, "bounds", "a", LOG_TEXT(long_text), "b", LOG_TEXT(long_text), "c",
             LOG_TEXT(long_text), "n", LOG_INT(5), NULL);
    line = capture_end(&c);
    CHECK(strlen(line) < 2200);
    CHECK(strstr(line, "...\"}\n") || strstr(line, "\"n\":5}\n"));
    CHECK(strchr(line, '\n') == line + strlen(line) - 1);
    free(long_text);
}

TEST(log_leaves_out_what_is_less_grave_than_asked)
{
    capture c;

    log_setup("text", "warn");
    CHECK(!log_wants(LOG_INFO) && log_wants(LOG_ERROR));
    capture_begin(&c);
    log_line(LOG_INFO, "quiet", NULL);
    log_line(LOG_WARN, "loud", NULL);
    CHECK(strcmp(after_time(capture_end(&c)), "level=warn msg=loud\n") == 0);
}

TEST(log_counts_a_line_that_repeats_instead_of_writing_it)
{
    capture c;
    const char *at;
    int lines = 0;

    log_setup("text", "info");
    capture_begin(&c);
    for (int i = 0; i < 100; i++) log_line(LOG_INFO, "again", "n", LOG_INT(1), NULL);
    for (int i = 0; i < 20; i++) log_line(LOG_INFO, "differs", "n", LOG_INT(i), NULL);
    for (at = capture_end(&c); (at = strstr(at, "msg=again")); at++) lines++;
    CHECK(lines == 5);
    for (at = c.text; (at = strstr(at, "msg=differs")); at++) lines++;
    CHECK(lines == 25);
}

/* --- what nobody reads --- */

TEST(log_drops_and_counts_lines_that_a_full_pipe_does_not_take)
{
    const uint64_t before = log_dropped();
    char msg[32];
    capture c;
    const char *got;
    size_t lines = 0;

    log_setup("text", "info");
    capture_begin(&c);
    fcntl(c.pipe[1], F_SETPIPE_SZ, 8192);
    alarm(20); /* a write that waits for a reader would wait for ever */
    for (int i = 0; i < 1000; i++) {
        snprintf(msg, sizeof msg, "%d", i);
        log_line(LOG_INFO, "line", "number", LOG_TEXT(msg), NULL);
    }
    alarm(0);
    got = capture_end(&c);
    for (const char *at = got; (at = strchr(at, '\n')); at++) lines++;
    CHECK(lines > 10 && lines + (log_dropped() - before) == 1000);
    CHECK(got[strlen(got) - 1] == '\n'); /* no line is written in part */
}

TEST(log_counts_lines_that_the_disk_has_no_room_for)
{
    const uint64_t before = log_dropped();

    log_setup("text", "info");
    CHECK(log_open("/dev/full") == ERR_OK);
    log_line(LOG_INFO, "no room", NULL);
    CHECK(log_dropped() == before + 1);
    log_close();
}

TEST(log_goes_on_in_a_new_file_after_the_old_one_was_moved_away)
{
    static char path[64];
    char moved[80], text[512] = "";
    FILE *f;

    snprintf(path, sizeof path, "/tmp/test_log.%d", (int)getpid());
    snprintf(moved, sizeof moved, "%s.1", path);
    CHECK(log_open(path) == ERR_OK);
    log_line(LOG_INFO, "first", NULL);
    CHECK(rename(path, moved) == 0);
    log_line(LOG_INFO, "second", NULL);
    CHECK(log_reopen() == ERR_OK);
    log_line(LOG_INFO, "third", NULL);
    log_close();
    f = fopen(path, "r");
    CHECK(f && fread(text, 1, sizeof text - 1, f) > 0);
    CHECK(strstr(text, "third") && !strstr(text, "second"));
    fclose(f);
    CHECK(remove(path) == 0 && remove(moved) == 0);
    CHECK(log_open("/nowhere/at/all") == ERR_OPEN);
}
