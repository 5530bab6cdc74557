/* test_metrics.c - the exposition: its form, its sums, and what each count moves. */
#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/utf8.h"
#include "server/api/metrics.h"
#include "tests/test.h"

static const metrics_info info = {.version = "1.2",
                                  .model_name = "a\"b\\c\nd",
                                  .arch = "llama",
                                  .cache_mode = "xq4",
                                  .cache_bits = 4.25,
                                  .group_size = 64,
                                  .ctx_size = 2048};

static metrics *make(void)
{
    metrics *m = NULL;

    CHECK(metrics_new(&m, &info) == ERR_OK);
    return m;
}

static char *scrape(const metrics *m, const sched_stats *stats)
{
    metrics_scrape s = {.ready = true};
    size_t n = 0;
    char *text;

    if (stats) s.sched = *stats;
    text = metrics_text(m, &s, &n);

    CHECK(text && strlen(text) == n);
    return text;
}

/* The value of the sample whose line begins with `series`; -1 where there is none. */
static double value_of(const char *text, const char *series)
{
    const size_t n = strlen(series);

    for (const char *line = text; line && *line; line = strchr(line, '\n'), line += !!line)
        if (strncmp(line, series, n) == 0 && line[n] == ' ') return strtod(line + n, NULL);
    return -1;
}

/* The value of one series now. */
static double now(const metrics *m, const char *series)
{
    char *text = scrape(m, NULL);
    const double x = value_of(text, series);

    free(text);
    return x;
}

#define MODEL "model_name=\"a\\\"b\\\\c\\nd\""

TEST(metrics_text_is_well_formed)
{
    metrics *m = make();
    char *text = scrape(m, NULL), family[128] = "";
    size_t n = strlen(text);

    CHECK(n && text[n - 1] == '\n' && !strchr(text, '\r') && utf8_valid(text, n));
    for (char *line = strtok(text, "\n"); line; line = strtok(NULL, "\n")) {
        char name[128];

        if (strncmp(line, "# TYPE ", 7) == 0)
            CHECK(strcmp((sscanf(line + 7, "%127s", name), name), family) == 0);
        else if (strncmp(line, "# HELP ", 7) == 0)
            CHECK(sscanf(line + 7, "%127s", family) == 1);
        else /* a sample belongs to the family above it */
            CHECK(strncmp(line, family, strlen(family)) == 0);
    }
    free(text);
    metrics_free(m);
}

TEST(metrics_heads_each_family_once)
{
    metrics *m = make();
    char *text = scrape(m, NULL);

    for (char *line = strstr(text, "# HELP "); line; line = strstr(line + 1, "# HELP ")) {
        char name[128], head[160];

        CHECK(sscanf(line + 7, "%127s", name) == 1);
        snprintf(head, sizeof head, "# HELP %s ", name);
        CHECK(strstr(text, head) == line);
    }
    free(text);
    metrics_free(m);
}

TEST(metrics_counters_start_at_zero)
{
    metrics *m = make();

    CHECK(now(m, "xquantd_requests_total{" MODEL ",finish_reason=\"stop\"}") == 0);
    CHECK(now(m, "xquantd_requests_rejected_total{reason=\"queue_full\"}") == 0);
    CHECK(now(m, "xquantd_http_requests_total{route=\"/v1/models\",method=\"GET\","
                 "code=\"200\"}") == 0);
    CHECK(now(m, "xquantd_time_to_first_token_seconds_count{" MODEL "}") == 0);
    CHECK(now(m, "xquantd_ready") == 1);
    metrics_free(m);
}

TEST(metrics_escapes_label_values)
{
    metrics *m = make();
    char *text = scrape(m, NULL);

    CHECK(strstr(text, "xquantd_model_info{" MODEL ",arch=\"llama\",") != NULL);
    CHECK(strstr(text, "cache_bits=\"4.25\"") != NULL);
    CHECK(strstr(text, "xquantd_build_info{version=\"1.2\",revision=\"\",") != NULL);
    free(text);
    metrics_free(m);
}

TEST(metrics_counts_http_by_route_method_and_code)
{
    metrics *m = make();
    const char *series = "xquantd_http_requests_total{route=\"other\",method=\"GET\","
                         "code=\"404\"}";

    CHECK(now(m, series) == -1);
    metrics_count_http(m, "other", "GET", 404);
    metrics_count_http(m, "other", "GET", 404);
    metrics_count_http(m, "other", "GET", 405);
    CHECK(now(m, series) == 2);
    metrics_count_rejected(m, REJECT_CONTEXT_LENGTH);
    CHECK(now(m, "xquantd_requests_rejected_total{reason=\"context_length\"}") == 1);
    metrics_free(m);
}

TEST(metrics_histograms_are_cumulative)
{
    metrics *m = make();

    metrics_observe_tokens(m, 2, 0.1); /* 0.05 each: on a bound, which is inclusive */
    metrics_observe_tokens(m, 1, 0.06);
    metrics_observe_tokens(m, 1, 1000);
    CHECK(now(m, "xquantd_inter_token_latency_seconds_bucket{" MODEL ",le=\"0.025\"}") == 0);
    CHECK(now(m, "xquantd_inter_token_latency_seconds_bucket{" MODEL ",le=\"0.05\"}") == 2);
    CHECK(now(m, "xquantd_inter_token_latency_seconds_bucket{" MODEL ",le=\"80\"}") == 3);
    CHECK(now(m, "xquantd_inter_token_latency_seconds_bucket{" MODEL ",le=\"+Inf\"}") == 4);
    CHECK(now(m, "xquantd_inter_token_latency_seconds_count{" MODEL "}") == 4);
    CHECK(now(m, "xquantd_inter_token_latency_seconds_sum{" MODEL "}") > 1000.15);
    metrics_free(m);
}

TEST(metrics_token_buckets_reach_the_context)
{
    metrics *m = make();

    CHECK(now(m, "xquantd_request_prompt_tokens_bucket{" MODEL ",le=\"1\"}") == 0);
    CHECK(now(m, "xquantd_request_prompt_tokens_bucket{" MODEL ",le=\"5000\"}") == 0);
    CHECK(now(m, "xquantd_request_prompt_tokens_bucket{" MODEL ",le=\"10000\"}") == -1);
    metrics_free(m);
}

TEST(metrics_a_generation_moves_its_times_and_sizes)
{
    const uint64_t s = 1000000000;
    generation g = {.in = {.n_ids = 300},
                    .out = {.finish = FINISH_LENGTH,
                            .n_tokens = 11,
                            .queued_ns = 10 * s,
                            .started_ns = 12 * s,
                            .first_ns = 15 * s,
                            .ended_ns = 20 * s}};
    metrics *m = make();

    metrics_count_generation(m, &g, false, 9 * s, 21 * s);
    CHECK(now(m, "xquantd_requests_total{" MODEL ",finish_reason=\"length\"}") == 1);
    CHECK(now(m, "xquantd_time_to_first_token_seconds_sum{" MODEL "}") == 6);
    CHECK(now(m, "xquantd_request_queue_seconds_sum{" MODEL "}") == 2);
    CHECK(now(m, "xquantd_request_prefill_seconds_sum{" MODEL "}") == 3);
    CHECK(now(m, "xquantd_request_decode_seconds_sum{" MODEL "}") == 5);
    CHECK(now(m, "xquantd_request_duration_seconds_sum{" MODEL "}") == 12);
    CHECK(now(m, "xquantd_request_time_per_output_token_seconds_sum{" MODEL "}") == 0.5);
    CHECK(now(m, "xquantd_request_prompt_tokens_sum{" MODEL "}") == 300);
    CHECK(now(m, "xquantd_request_generation_tokens_sum{" MODEL "}") == 11);
    g.out = (generation_out){.finish = FINISH_ABORT, .queued_ns = 10 * s};
    metrics_count_generation(m, &g, false, 9 * s, 21 * s);
    metrics_count_generation(m, &g, true, 9 * s, 21 * s);
    CHECK(now(m, "xquantd_requests_total{" MODEL ",finish_reason=\"abort\"}") == 1);
    CHECK(now(m, "xquantd_requests_total{" MODEL ",finish_reason=\"error\"}") == 1);
    CHECK(now(m, "xquantd_time_to_first_token_seconds_count{" MODEL "}") == 1);
    metrics_free(m);
}

TEST(metrics_cache_bytes_sum_to_the_capacity)
{
    const sched_stats st = {.cache = {.capacity_bytes = 1000,
                                      .codes_bytes = 100,
                                      .scales_bytes = 20,
                                      .index_bytes = 5,
                                      .free_bytes = 875,
                                      .capacity_tokens = 1024,
                                      .active_tokens = 128,
                                      .idle_tokens = 384,
                                      .pinned_tokens = 128,
                                      .fp16_bytes = 500,
                                      .bits_per_element = 4}};
    metrics *m = make();
    char *text = scrape(m, &st);

    CHECK(value_of(text, "xquantd_cache_used_bytes{tier=\"memory\",kind=\"codes\"}") +
              value_of(text, "xquantd_cache_used_bytes{tier=\"memory\",kind=\"scales\"}") +
              value_of(text, "xquantd_cache_used_bytes{tier=\"memory\",kind=\"index\"}") +
              value_of(text, "xquantd_cache_free_bytes{tier=\"memory\"}") ==
          value_of(text, "xquantd_cache_capacity_bytes{tier=\"memory\"}"));
    CHECK(value_of(text, "xquantd_cache_compression_ratio{" MODEL "}") == 4);
    CHECK(value_of(text, "xquantd_cache_usage_ratio{" MODEL "}") == 0.125);
    CHECK(value_of(text, "xquantd_cache_tokens{tier=\"memory\",state=\"evictable\"}") == 256);
    free(text);
    metrics_free(m);
}

TEST(metrics_show_the_sizes_of_steps)
{
    const sched_stats st = {
        .batch = {.sizes = {[0] = 5, [3] = 2, [BATCH_SIZES] = 1}, .rows = 5 + 16 + 5000}};
    metrics *m = make();
    char *text = scrape(m, &st);

    CHECK(value_of(text, "xquantd_batch_tokens_bucket{" MODEL ",le=\"1\"}") == 5);
    CHECK(value_of(text, "xquantd_batch_tokens_bucket{" MODEL ",le=\"4\"}") == 5);
    CHECK(value_of(text, "xquantd_batch_tokens_bucket{" MODEL ",le=\"8\"}") == 7);
    CHECK(value_of(text, "xquantd_batch_tokens_bucket{" MODEL ",le=\"2048\"}") == 7);
    CHECK(value_of(text, "xquantd_batch_tokens_bucket{" MODEL ",le=\"+Inf\"}") == 8);
    CHECK(value_of(text, "xquantd_batch_tokens_sum{" MODEL "}") == 5021);
    CHECK(value_of(text, "xquantd_batch_tokens_count{" MODEL "}") == 8);
    free(text);
    metrics_free(m);
}

/* Every row of the table: a family's help, or a sample's value as it is written there. */
typedef struct table_row {
    const char *name, *help, *value;
} table_row;

static const table_row table[] = {
#define FAMILY(type, name, help)              {#name, help, NULL},
#define SAMPLE(name, labels, value)           {#name, NULL, #value},
#define ROWS(name, function)                  {#name, NULL, #function},
#define PROCESS(type, name, value, help)      {#name, help, #value},
#define HISTOGRAM(name, bounds, labels, help) {#name, help, #bounds},
#include "server/api/metrics.def"
};

TEST(metrics_that_cannot_move_say_so)
{
    const char *help = "";
    size_t constants = 0;

    for (size_t i = 0; i < sizeof table / sizeof *table; i++) {
        const table_row *row = &table[i];

        if (row->help) help = row->help;
        if (!row->value || row->value[strspn(row->value, "0123456789.")]) continue;
        CHECK(strstr(help, "Always ") == help);
        constants++;
    }
    CHECK(constants == 1); /* preemptions_total */
}

TEST(metrics_count_no_rebuilding_where_tiles_are_read_in_place)
{
    sched_stats st = {.cache = {.rebuild_seconds = 1, .streaming = true},
                      .forward_seconds = {[FORWARD_TILE] = 2, [FORWARD_ATTEND] = 4}};
    const char *remat = "xquantd_step_phase_seconds_total{phase=\"rematerialize\"}";
    const char *attention = "xquantd_step_phase_seconds_total{phase=\"attention\"}";
    metrics *m = make();
    char *text = scrape(m, &st);

    CHECK(value_of(text, remat) == 3 && value_of(text, attention) == 4);
    CHECK(value_of(text, "xquantd_remat_seconds_total{" MODEL "}") == 3);
    free(text);
    st.cache.streaming = false;
    text = scrape(m, &st);
    CHECK(value_of(text, remat) == 1 && value_of(text, attention) == 6);
    CHECK(value_of(text, "xquantd_remat_seconds_total{" MODEL "}") == 1);
    CHECK(strstr(text, ",cache_bits=\"4.25\",group_size=\"64\"} 1\n"));
    free(text);
    metrics_free(m);
}
