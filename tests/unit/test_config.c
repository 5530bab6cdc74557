/* test_config.c - options from every place they may come from, and every way to get them wrong.
 */
#include "config/config.h"
#include "config/nearest.h"
#include "config/size.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "config/option.h"
#include "tests/test.h"

enum { MAX_WORDS = 16 };

static char *no_environment[] = {NULL};

/* Load from a command line of words separated by blanks. */
static char *load(config *c, unsigned where, const char *line, char **environment)
{
    static char copy[4096];
    char *argv[MAX_WORDS];
    int argc = 0;

    snprintf(copy, sizeof copy, "%s", line);
    for (char *w = strtok(copy, " "); w && argc < MAX_WORDS; w = strtok(NULL, " "))
        argv[argc++] = w;
    return config_load(c, where, argc, argv, environment);
}

/* The command line loads; the caller frees c. */
static config good(unsigned where, const char *line)
{
    config c;
    char *error = load(&c, where, line, no_environment);

    if (error) print_error("'%s': %s\n", line, error);
    CHECK(error == NULL);
    return c;
}

/* The refusal of a command line holds this text. */
static bool refused(unsigned where, const char *line, const char *text)
{
    config c;
    char *error = load(&c, where, line, no_environment);
    const bool right = error && strstr(error, text);

    if (!right) print_error("'%s': %s\n", line, error ? error : "accepted");
    if (!error) config_free(&c);
    free(error);
    return right;
}

/* The path of a file with these bytes; static, good until the next call. */
static const char *file_of(const char *text, size_t n)
{
    static char path[] = "/tmp/xquantd-test-config-XXXXXX";
    int fd;

    memset(path + sizeof path - 7, 'X', 6);
    fd = mkstemp(path);
    CHECK(fd >= 0 && write(fd, text, n) == (ssize_t)n);
    close(fd);
    return path;
}

static char *load_text(config *c, const char *text, size_t n, char **environment)
{
    char line[128];
    const char *path = file_of(text, n);
    char *error;

    snprintf(line, sizeof line, "--config %s", path);
    error = load(c, CONFIG_SERVE, line, environment);
    unlink(path);
    return error;
}

/* The refusal of a file ends with this text: "the path:2: what is wrong". */
static bool file_refused(const char *text, const char *sentence)
{
    config c;
    char *error = load_text(&c, text, strlen(text), no_environment);
    const bool right = error && strstr(error, sentence);

    if (!right) print_error("'%s': %s\n", text, error ? error : "accepted");
    if (!error) config_free(&c);
    free(error);
    return right;
}

TEST(config_defaults_are_those_of_the_table)
{
    config c = good(CONFIG_SERVE, "");

    CHECK(strcmp(c.listen, "127.0.0.1:8080") == 0);
    CHECK(c.cache_size == CONFIG_AUTO);
    CHECK(c.max_running == 8);
    CHECK(c.max_body_size == 16 << 20);
    CHECK(!c.healthcheck);
    CHECK(strcmp(c.log_level, "info") == 0);
    CHECK(c.argument == NULL);
    config_free(&c);
}

TEST(config_takes_a_value_after_a_blank_or_an_equals_sign_or_a_letter)
{
    static const char *const lines[] = {"--n-predict 5", "--n-predict=5", "--n_predict=5",
                                        "-n 5",          "-n5",           "-n=5"};

    for (size_t i = 0; i < sizeof lines / sizeof lines[0]; i++) {
        config c = good(CONFIG_COMPLETE, lines[i]);

        CHECK(c.n_predict == 5);
        config_free(&c);
    }
}

TEST(config_flags_are_set_unset_and_the_last_one_counts)
{
    config c = good(CONFIG_INSPECT, "--json");

    CHECK(c.json);
    config_free(&c);
    c = good(CONFIG_INSPECT, "--json --no-json");
    CHECK(!c.json);
    config_free(&c);
    c = good(CONFIG_INSPECT, "--no-json --json=yes");
    CHECK(c.json);
    config_free(&c);
    CHECK(refused(CONFIG_INSPECT, "--json=maybe", "--json: 'maybe' is neither on nor off"));
    CHECK(refused(CONFIG_COMPLETE, "--no-temp", "unknown option --no-temp"));
}

TEST(config_negative_numbers_are_values_and_not_options)
{
    config c = good(CONFIG_COMPLETE, "--prompt -12.5 --seed 9223372036854775807");

    CHECK(strcmp(c.prompt, "-12.5") == 0);
    CHECK(c.seed == INT64_MAX);
    config_free(&c);
    CHECK(refused(CONFIG_COMPLETE, "--temp -1", "--temp: -1 is out of range"));
    CHECK(refused(CONFIG_COMPLETE, "-n -5", "-n: -5 is out of range"));
    CHECK(refused(CONFIG_COMPLETE, "-5", "unexpected argument '-5'"));
}

TEST(config_a_forgotten_value_is_named)
{
    CHECK(refused(CONFIG_COMPLETE, "--prompt", "--prompt needs a value"));
    CHECK(refused(CONFIG_COMPLETE, "--prompt --json", "--prompt needs a value"));
    CHECK(refused(CONFIG_COMPLETE, "-p -n 5", "-p needs a value"));
    CHECK(refused(CONFIG_COMPLETE, "--model= --seed=", "--seed: '' is not a whole number"));
}

TEST(config_a_lone_dash_and_a_dashed_word_are_values)
{
    config c = good(CONFIG_COMPLETE, "--prompt-file - --prompt --hello");

    CHECK(strcmp(c.prompt_file, "-") == 0);
    CHECK(strcmp(c.prompt, "--hello") == 0);
    config_free(&c);
}

TEST(config_unknown_options_suggest_the_nearest)
{
    CHECK(refused(CONFIG_SERVE, "--chache xq4", "did you mean --cache?"));
    CHECK(refused(CONFIG_SERVE, "--cache-sise=1GiB", "did you mean --cache-size?"));
    CHECK(refused(CONFIG_COMPLETE, "--temperature 1", "did you mean --temp?"));
    CHECK(refused(CONFIG_SERVE, "--hlep", "did you mean --help?"));
    CHECK(refused(CONFIG_SERVE, "--zzzzzz", "unknown option --zzzzzz"));
    CHECK(refused(CONFIG_SERVE, "-z", "unknown option -z"));
    CHECK(refused(CONFIG_SERVE, "--prompt x", "unknown option --prompt"));
    CHECK(refused(CONFIG_COMPLETE, "--listen x", "unknown option --listen"));
}

TEST(config_one_plain_argument_belongs_to_inspect_alone)
{
    config c = good(CONFIG_INSPECT, "--json a.gguf");

    CHECK(strcmp(c.argument, "a.gguf") == 0);
    config_free(&c);
    c = good(CONFIG_INSPECT, "-- --odd.gguf");
    CHECK(strcmp(c.argument, "--odd.gguf") == 0);
    config_free(&c);
    c = good(CONFIG_CONVERT, "folder --type Q4_K -o x.gguf -t 3");
    CHECK(strcmp(c.argument, "folder") == 0 && strcmp(c.type, "Q4_K") == 0 && c.threads == 3);
    CHECK(strcmp(c.out, "x.gguf") == 0);
    config_free(&c);
    CHECK(refused(CONFIG_CONVERT, "folder --type Q4",
                  "'Q4' is none of: F32 F16 BF16 Q8_0 Q4_0 Q4_K "));
    CHECK(refused(CONFIG_CONVERT, "--model x", "unknown option --model"));
    CHECK(refused(CONFIG_INSPECT, "a.gguf b.gguf", "unexpected argument 'b.gguf'"));
    CHECK(refused(CONFIG_SERVE, "a.gguf", "unexpected argument 'a.gguf'"));
}

TEST(config_numbers_are_checked_against_the_table)
{
    CHECK(
        refused(CONFIG_SERVE, "--threads 1025", "--threads: 1025 is out of range: 0 to 1024"));
    CHECK(refused(CONFIG_SERVE, "--threads 99999999999999999999", "out of range"));
    CHECK(refused(CONFIG_SERVE, "--threads 3x", "'3x' is not a whole number"));
    CHECK(refused(CONFIG_SERVE, "--threads 0x3", "not a whole number"));
    CHECK(refused(CONFIG_SERVE, "--max-running 0", "out of range"));
    CHECK(refused(CONFIG_COMPLETE, "--top-p 1.01", "--top-p: 1.01 is out of range"));
    CHECK(refused(CONFIG_COMPLETE, "--top-p nan", "'nan' is not a number"));
    CHECK(refused(CONFIG_COMPLETE, "--temp inf", "'inf' is not a number"));
    CHECK(refused(CONFIG_COMPLETE, "--seed -1", "out of range"));
    CHECK(refused(CONFIG_SERVE, "--max-body-size 100", "out of range"));
}

TEST(config_words_are_those_of_the_list)
{
    config c = good(CONFIG_SERVE, "--log-level debug --log-format json");

    CHECK(strcmp(c.log_level, "debug") == 0 && strcmp(c.log_format, "json") == 0);
    config_free(&c);
    CHECK(refused(CONFIG_SERVE, "--log-level loud", "is none of: debug info warn error"));
    CHECK(refused(CONFIG_SERVE, "--log-level debu", "is none of"));
    CHECK(refused(CONFIG_SERVE, "--log-level=", "is none of"));
}

TEST(config_sizes_are_read_in_binary_and_decimal_units)
{
    static const struct {
        const char *text;
        uint64_t bytes;
    } cases[] = {
        {"4096", 4096},
        {"0", 0},
        {"512MiB", 512ull << 20},
        {"1GiB", 1ull << 30},
        {"64KB", 64000},
        {"2k", 2048},
        {"1.5 GiB", 3ull << 29},
        {"3TB", 3000000000000},
        {"7B", 7},
        {"1gib", 1ull << 30},
        {"9223372036854775807", INT64_MAX},
    };
    static const char *const bad[] = {"",
                                      "x",
                                      "-1",
                                      "1.",
                                      ".5",
                                      "1XB",
                                      "1GiBs",
                                      "1e3",
                                      "0x10",
                                      " 1",
                                      "1 2",
                                      "inf",
                                      "1Gx",
                                      "1bb",
                                      "9223372036854775808",
                                      "99999999999TiB"};
    uint64_t bytes;

    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        CHECK(size_parse(cases[i].text, &bytes));
        CHECK(bytes == cases[i].bytes);
    }
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        if (size_parse(bad[i], &bytes)) print_error("accepted '%s'\n", bad[i]);
        CHECK(!size_parse(bad[i], &bytes));
    }
}

TEST(config_auto_sizes_are_zero_and_zero_is_refused)
{
    config c = good(CONFIG_SERVE, "--cache-size 1GiB --cache-size auto");

    CHECK(c.cache_size == CONFIG_AUTO);
    config_free(&c);
    CHECK(refused(CONFIG_SERVE, "--cache-size 0", "must not be 0"));
    CHECK(refused(CONFIG_SERVE, "--max-body-size auto", "is not a size"));
}

TEST(config_command_line_wins_over_environment_over_file)
{
    static const char text[] = "threads = 1\nmax_queue = 2\nlisten = a:1\n";
    char *environment[] = {"XQUANTD_THREADS=3", "XQUANTD_MAX_QUEUE=4", "HOME=/", NULL};
    const char *path = file_of(text, sizeof text - 1);
    char line[128];
    config c;

    snprintf(line, sizeof line, "--threads 5 --config %s", path);
    CHECK(load(&c, CONFIG_SERVE, line, environment) == NULL);
    unlink(path);
    CHECK(c.threads == 5 && c.max_queue == 4 && strcmp(c.listen, "a:1") == 0);
    config_free(&c);
}

TEST(config_environment_names_the_file_and_errors_name_the_variable)
{
    char variable[128];
    char *environment[] = {variable, NULL};
    const char *path = file_of("threads = 7\n", 12);
    config c;
    char *error;

    snprintf(variable, sizeof variable, "XQUANTD_CONFIG=%s", path);
    CHECK(load(&c, CONFIG_SERVE, "", environment) == NULL);
    unlink(path);
    CHECK(c.threads == 7);
    config_free(&c);
    snprintf(variable, sizeof variable, "XQUANTD_THREADS=many");
    error = load(&c, CONFIG_SERVE, "", environment);
    CHECK(error && strstr(error, "XQUANTD_THREADS: 'many' is not a whole number"));
    free(error);
}

TEST(config_other_variables_are_left_alone)
{
    char *environment[] = {"XQUANTD_PORT=tcp://10.0.0.1:80",
                           "XQUANTD_HOST=x",
                           "XQUANTD_TEMP=9",
                           "XQUANTD_threads=3",
                           "XQUANTD_MAX_QUEUE=",
                           "XQUANTD_",
                           NULL};
    config c;

    CHECK(load(&c, CONFIG_SERVE, "", environment) == NULL);
    CHECK(c.threads == 0 && c.max_queue == 512);
    config_free(&c);
    CHECK(load(&c, CONFIG_COMPLETE, "", environment) == NULL);
    CHECK(c.temp > 0.7 && c.temp < 0.9);
    config_free(&c);
}

TEST(config_no_row_is_called_port_or_host)
{
    CHECK(!option_find("port", 4, ~0u) && !option_find("host", 4, ~0u));
}

TEST(config_rows_have_distinct_names_and_letters)
{
    for (const option *o = option_table; o < option_table + option_count; o++) {
        CHECK(option_find(o->name, strlen(o->name), ~0u) == o);
        CHECK(!o->letter || option_find_letter(o->letter, ~0u) == o);
    }
}

TEST(config_files_skip_comments_and_blanks)
{
    static const char text[] = "\xef\xbb\xbf# one\n\n; two\n  threads = 2  ; three\r\n"
                               "\tmax-queue: 9";
    config c;

    CHECK(load_text(&c, text, sizeof text - 1, no_environment) == NULL);
    CHECK(c.threads == 2 && c.max_queue == 9);
    config_free(&c);
}

TEST(config_files_are_strict_and_errors_name_the_line)
{
    static char long_line[300];
    config c;
    char *error;

    CHECK(file_refused("threads = 2\nthreds = 3\n",
                       ":2: unknown key 'threds'; did you mean threads?"));
    CHECK(file_refused("prompt = x\n", ":1: unknown key 'prompt'"));
    CHECK(file_refused("\n\nthreads = x\n", ":3: threads: 'x' is not a whole number"));
    CHECK(file_refused("threads = 1\nthreads = 2\n", ":2: this key was set before"));
    CHECK(file_refused("log_level = debug info\n", ":1: log_level: 'debug info' is none of"));
    CHECK(file_refused("threads 1\n", ":1: not a `key = value` line"));
    CHECK(file_refused("[serve]\nthreads = 1\n", ":1: sections are not used"));
    CHECK(file_refused("config = x\n", ":1: this option cannot be set in a file"));
    CHECK(file_refused("model = a\n  b\n", ":2: not a `key = value` line"));
    memset(long_line, 'x', sizeof long_line - 1);
    memcpy(long_line, "model = ", 8);
    CHECK(file_refused(long_line, ":1: the line is too long"));
    error = load_text(&c, "model = a\0b\n", 12, no_environment);
    CHECK(error && strstr(error, ":1: the line holds a NUL byte"));
    free(error);
    CHECK(refused(CONFIG_SERVE, "--config /nowhere/x.conf", "/nowhere/x.conf: No such file"));
    CHECK(refused(CONFIG_SERVE, "--config /", "/: Is a directory"));
}

/* What a config_print_* writes, and its length. The caller frees it. */
static char *printed(const config *c, size_t *n)
{
    char *text = NULL;
    FILE *out = open_memstream(&text, n);

    if (c)
        config_print(out, c, CONFIG_SERVE);
    else
        config_print_sample(out);
    fclose(out);
    return text;
}

TEST(config_prints_a_file_that_loads_to_the_same)
{
    config c = good(CONFIG_SERVE, "--cache-size 3MiB --listen [::1]:1 --log-level warn -t 3");
    config again;
    size_t n, m;
    char *text = printed(&c, &n);
    char *second;

    CHECK(load_text(&again, text, n, no_environment) == NULL);
    CHECK(again.cache_size == 3 << 20 && again.threads == 3);
    CHECK(strcmp(again.listen, "[::1]:1") == 0 && strcmp(again.log_level, "warn") == 0);
    second = printed(&again, &m);
    CHECK(strcmp(text, second) == 0);
    free(second);
    free(text);
    config_free(&again);
    config_free(&c);
}

TEST(config_sample_loads_commented_out_and_in)
{
    config c = good(CONFIG_SERVE, "");
    config sample;
    size_t n, m;
    char *text = printed(NULL, &n);
    char *defaults, *second;

    CHECK(load_text(&sample, text, n, no_environment) == NULL);
    config_free(&sample);
    for (char *p = text; (p = strchr(p, '#')); p++)
        if (p[1] != ' ') *p = ' ';
    CHECK(load_text(&sample, text, n, no_environment) == NULL);
    defaults = printed(&c, &m);
    second = printed(&sample, &n);
    CHECK(strcmp(defaults, second) == 0);
    free(defaults);
    free(second);
    free(text);
    config_free(&sample);
    config_free(&c);
}

TEST(config_help_lists_the_options_of_one_subcommand)
{
    char *text = NULL;
    size_t n;
    FILE *out = open_memstream(&text, &n);

    config_print_help(out, CONFIG_COMPLETE);
    fclose(out);
    CHECK(strstr(text, "  -n, --n-predict N "));
    CHECK(strstr(text, "      --top-p X "));
    CHECK(!strstr(text, "--listen"));
    for (char *line = text; line && *line; line = strchr(line, '\n') + 1)
        CHECK(strcspn(line, "\n") <= 96);
    free(text);
}

TEST(config_nearest_needs_a_near_name)
{
    static const char *const names[] = {"serve", "complete", "inspect"};

    CHECK(strcmp(nearest_name("srve", names, 3), "serve") == 0);
    CHECK(strcmp(nearest_name("sevre", names, 3), "serve") == 0);
    CHECK(strcmp(nearest_name("compleet", names, 3), "complete") == 0);
    CHECK(strcmp(nearest_name("comp", names, 3), "complete") == 0);
    CHECK(nearest_name("banana", names, 3) == NULL);
    CHECK(nearest_name("on", (const char *const[]){"no"}, 1)); /* a swap counts once */
    CHECK(nearest_name("", names, 3) == NULL);
    CHECK(nearest_name("x", names, 0) == NULL);
}
