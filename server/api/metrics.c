/* metrics.c - counters, histograms and their exposition, all made from metrics.def.
 *
 * The table is included three times: for the numbers of histograms, to open them, and to write
 * the text, in its own order. What is counted elsewhere (cache, batch, process) is read when
 * somebody asks, not kept twice. Nothing here needs a lock: the loop counts and the loop
 * writes.
 */
#include "server/api/metrics.h"

#include <assert.h>
#include <dirent.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "engine/clock.h"
#include "engine/utf8.h"
#include "server/log.h"
#include "server/text.h"

enum { MAX_BOUNDS = 32, MAX_HTTP_ROWS = 512 };

#define FAMILY(type, name, help)
#define ROWS(name, function)
#define SAMPLE(name, labels, value)
#define PROCESS(type, name, value, help)
#define HISTOGRAM(name, bounds, labels, help) HISTOGRAM_##name,
enum {
#include "server/api/metrics.def"
    HISTOGRAMS
};
#undef HISTOGRAM

typedef struct histogram {
    const double *bounds; /* [n], rising; past the last one there is +Inf */
    size_t n;
    uint64_t counts[MAX_BOUNDS + 1]; /* not cumulative */
    double sum;
} histogram;

typedef struct http_row {
    const char *route, *method;
    int status;
    uint64_t count;
} http_row;

struct metrics {
    char *build_labels, *model_labels; /* of the info series */
    char *model;                       /* model_name="..." */
    double started_seconds;
    http_row http[MAX_HTTP_ROWS];
    size_t n_http;
    uint64_t finished[FINISH_COUNT], failed;
    uint64_t rejected[REJECT_COUNT];
    uint64_t cached_tokens;
    double token_bounds[MAX_BOUNDS];
    histogram histograms[HISTOGRAMS];
};

/* Lists of vLLM, so that its dashboards fit. The ends of the lists are zeros. */
static const double bounds_ttft[MAX_BOUNDS] = {.001, .005, .01, .02, .04, .06, .08, .1,
                                               .25,  .5,   .75, 1,   2.5, 5,   7.5, 10,
                                               20,   40,   80,  160, 640, 2560};
static const double bounds_itl[MAX_BOUNDS] = {.01, .025, .05, .075, .1,  .15, .2, .3, .4, .5,
                                              .75, 1,    2.5, 5,    7.5, 10,  20, 40, 80};
static const double bounds_request[MAX_BOUNDS] = {
    .3, .5, .8, 1, 1.5, 2, 2.5, 5, 10, 15, 20, 30, 40, 50, 60, 120, 240, 480, 960, 1920, 7680};
static const double bounds_bytes[MAX_BOUNDS] = {256,    1024,    4096,    16384,   65536,
                                                262144, 1048576, 4194304, 16777216};

/* --- the process --- */

static double process_resident_bytes(void)
{
    FILE *f = fopen("/proc/self/statm", "r");
    unsigned long pages = 0;

    if (!f) return NAN;
    if (fscanf(f, "%*u %lu", &pages) != 1) pages = 0;
    fclose(f);
    return (double)pages * (double)sysconf(_SC_PAGESIZE);
}

/* /proc rather than counting opens: libraries open files too. */
static double process_open_fds(void)
{
    DIR *d = opendir("/proc/self/fd");
    double n = -1; /* the directory's own */

    if (!d) return NAN;
    for (const struct dirent *e; (e = readdir(d));) n += e->d_name[0] != '.';
    closedir(d);
    return n;
}

static double process_max_fds(void)
{
    struct rlimit limit;

    if (getrlimit(RLIMIT_NOFILE, &limit)) return NAN;
    return limit.rlim_cur == RLIM_INFINITY ? INFINITY : (double)limit.rlim_cur;
}

/* --- one sample --- */

static void add_number(text_builder *t, double x)
{
    if (isnan(x))
        text_add_string(t, "NaN\n");
    else if (isinf(x))
        text_add_string(t, x > 0 ? "+Inf\n" : "-Inf\n");
    else
        text_addf(t, "%.17g\n", x);
}

/* `{` and what stands before the closing brace: nothing, the model's name, labels. */
static void add_sample(text_builder *t, const metrics *m, const char *name, const char *suffix,
                       const char *labels, double value)
{
    const bool named = labels[0] == '$';

    text_addf(t, "xquantd_%s%s", name, suffix);
    if (labels[0]) text_addf(t, "{%s%s}", named ? m->model : "", labels + named);
    text_add_string(t, " ");
    add_number(t, value);
}

static void add_head(text_builder *t, const char *prefix, const char *name, const char *type,
                     const char *help)
{
    text_addf(t, "# HELP %s%s %s\n# TYPE %s%s %s\n", prefix, name, help, prefix, name, type);
}

static void add_process(text_builder *t, const char *name, const char *type, double value,
                        const char *help)
{
    add_head(t, "process_", name, type, help);
    text_addf(t, "process_%s ", name);
    add_number(t, value);
}

/* --- samples whose labels are made here --- */

static void add_build_info(text_builder *t, const metrics *m, const sched_stats *st)
{
    (void)st;
    text_addf(t, "xquantd_build_info{%s} 1\n", m->build_labels);
}

static void add_model_info(text_builder *t, const metrics *m, const sched_stats *st)
{
    (void)st;
    text_addf(t, "xquantd_model_info{%s} 1\n", m->model_labels);
}

static void add_http_requests(text_builder *t, const metrics *m, const sched_stats *st)
{
    (void)st;
    for (size_t i = 0; i < m->n_http; i++) {
        const http_row *row = &m->http[i];

        text_addf(t,
                  "xquantd_http_requests_total{route=\"%s\",method=\"%s\",code=\"%d\"} %llu\n",
                  row->route, row->method, row->status, (unsigned long long)row->count);
    }
}

static double usage_ratio(const cache_stats *c)
{
    return c->capacity_tokens ? (double)c->active_tokens / (double)c->capacity_tokens : 0;
}

static double compression_ratio(const cache_stats *c)
{
    const uint64_t used = c->codes_bytes + c->scales_bytes + c->index_bytes;

    if (used) return (double)c->fp16_bytes / (double)used;
    return c->bits_per_element > 0 ? 16 / c->bits_per_element : 1;
}

/* The forward pass times how it gets tiles. Where they are read in place that is but a look at
 * a table between attention's products, and nothing is rebuilt. */
static double remat_seconds(const sched_stats *st)
{
    return st->cache.rebuild_seconds +
           (st->cache.streaming ? st->forward_seconds[FORWARD_TILE] : 0);
}

static double attention_seconds(const sched_stats *st)
{
    return st->forward_seconds[FORWARD_ATTEND] +
           (st->cache.streaming ? 0 : st->forward_seconds[FORWARD_TILE]);
}

/* --- histograms --- */

/* The bounds end at the first zero, so that a list needs no length beside it. */
static void histogram_init(histogram *h, const double *bounds)
{
    h->bounds = bounds;
    while (h->n < MAX_BOUNDS && bounds[h->n] > 0) h->n++;
}

/* n observations of x. */
static void histogram_add(histogram *h, double x, uint64_t n)
{
    size_t i = 0;

    while (i < h->n && x > h->bounds[i]) i++;
    h->counts[i] += n;
    h->sum += x * (double)n;
}

/* Counts are kept by bucket and summed here: an observation touches one, and scrapes are rare.
 */
static void add_histogram(text_builder *t, const metrics *m, const char *name,
                          const char *labels, const histogram *h)
{
    const char *comma = labels[0] ? "," : "";
    uint64_t count = 0;
    char with_bound[128];

    for (size_t i = 0; i < h->n; i++) {
        count += h->counts[i];
        snprintf(with_bound, sizeof with_bound, "%s%sle=\"%.15g\"", labels, comma,
                 h->bounds[i]);
        add_sample(t, m, name, "_bucket", with_bound, (double)count);
    }
    count += h->counts[h->n];
    snprintf(with_bound, sizeof with_bound, "%s%sle=\"+Inf\"", labels, comma);
    add_sample(t, m, name, "_bucket", with_bound, (double)count);
    add_sample(t, m, name, "_sum", labels, h->sum);
    add_sample(t, m, name, "_count", labels, (double)count);
}

/* Steps by their size, which the scheduler has counted. */
static void add_batch_tokens(text_builder *t, const metrics *m, const sched_stats *st)
{
    double bounds[BATCH_SIZES];
    histogram h = {.bounds = bounds, .n = BATCH_SIZES, .sum = (double)st->batch.rows};

    for (size_t i = 0; i < BATCH_SIZES; i++) bounds[i] = (double)((size_t)1 << i);
    memcpy(h.counts, st->batch.sizes, sizeof st->batch.sizes);
    add_histogram(t, m, "batch_tokens", "$", &h);
}

/* 1, 2, 5, 10 ... until the longest context is in. */
static void make_token_bounds(double bounds[MAX_BOUNDS], size_t ctx_size)
{
    static const double steps[] = {1, 2, 5};
    double scale = 1;

    for (size_t i = 0; i + 1 < MAX_BOUNDS; i++) {
        bounds[i] = steps[i % 3] * scale;
        if (bounds[i] >= (double)ctx_size) return;
        if (i % 3 == 2) scale *= 10;
    }
}

/* --- making it --- */

/* A model's name comes from a file: cut where it stops being UTF-8, and escaped as the format
 * wants it. */
static void add_label(text_builder *t, const char *name, const char *value)
{
    const size_t n = value ? utf8_prefix(value, strlen(value)) : 0;

    text_addf(t, "%s%s=\"", t->n ? "," : "", name);
    for (size_t i = 0; i < n; i++) {
        if (value[i] == '\n')
            text_add_string(t, "\\n");
        else
            text_addf(t, "%s%c", value[i] == '"' || value[i] == '\\' ? "\\" : "", value[i]);
    }
    text_add_string(t, "\"");
}

/* Once: they never change, and a scrape does not allocate for them. */
static err make_labels(metrics *m, const metrics_info *info)
{
    text_builder build = {0}, loaded = {0}, name = {0};
    char number[32];

    add_label(&build, "version", info->version);
    add_label(&build, "revision", info->revision);
    add_label(&build, "blas", info->blas);
    add_label(&build, "isa", info->isa);
    add_label(&loaded, "model_name", info->model_name);
    add_label(&loaded, "arch", info->arch);
    add_label(&loaded, "weight_dtype", info->weight_dtype);
    add_label(&loaded, "cache_mode", info->cache_mode);
    snprintf(number, sizeof number, "%.6g", info->cache_bits);
    add_label(&loaded, "cache_bits", number);
    snprintf(number, sizeof number, "%zu", info->group_size);
    add_label(&loaded, "group_size", number);
    add_label(&name, "model_name", info->model_name);
    m->build_labels = text_take(&build, NULL);
    m->model_labels = text_take(&loaded, NULL);
    m->model = text_take(&name, NULL);
    return m->build_labels && m->model_labels && m->model ? ERR_OK : ERR_NOMEM;
}

/* The row of the counter, made at need; NULL where the table is full. Routes and methods are
 * constants of ours, so what clients send cannot grow it. */
static http_row *http_row_of(metrics *m, const char *route, const char *method, int status)
{
    for (size_t i = 0; i < m->n_http; i++)
        if (m->http[i].status == status && strcmp(m->http[i].route, route) == 0 &&
            strcmp(m->http[i].method, method) == 0)
            return &m->http[i];
    if (m->n_http == MAX_HTTP_ROWS) return NULL;
    m->http[m->n_http] = (http_row){.route = route, .method = method, .status = status};
    return &m->http[m->n_http++];
}

err metrics_new(metrics **out, const metrics_info *info)
{
    metrics *m = calloc(1, sizeof *m);

    if (!m) return ERR_NOMEM;
    if (make_labels(m, info) != ERR_OK) {
        metrics_free(m);
        return ERR_NOMEM;
    }
    m->started_seconds = (double)clock_unix_ns() * 1e-9; /* near enough to the process's */
    make_token_bounds(m->token_bounds, info->ctx_size);
    const double *const bounds_tokens = m->token_bounds;
#define HISTOGRAM(name, bounds, labels, help) \
    histogram_init(&m->histograms[HISTOGRAM_##name], bounds);
#include "server/api/metrics.def"
#undef HISTOGRAM
    /* Every route starts at 0, so that the first request is seen as a rise. */
#define ROUTE(method, path, handler, listeners, help) http_row_of(m, path, method, 200);
#include "server/api/routes.def"
#undef ROUTE
    *out = m;
    return ERR_OK;
}

void metrics_free(metrics *m)
{
    if (!m) return;
    free(m->build_labels);
    free(m->model_labels);
    free(m->model);
    free(m);
}

/* --- counting --- */

void metrics_count_http(metrics *m, const char *route, const char *method, int status)
{
    http_row *row = http_row_of(m, route, method, status);

    if (row) row->count++;
}

void metrics_observe_body(metrics *m, size_t bytes)
{
    histogram_add(&m->histograms[HISTOGRAM_http_request_body_bytes], (double)bytes, 1);
}

void metrics_count_rejected(metrics *m, metrics_reject why)
{
    assert((unsigned)why < REJECT_COUNT);
    m->rejected[why]++;
}

/* n observations of the mean, so that the count is that of tokens. */
void metrics_observe_tokens(metrics *m, size_t n, double seconds)
{
    if (n == 0) return;
    histogram_add(&m->histograms[HISTOGRAM_inter_token_latency_seconds], seconds / (double)n,
                  n);
}

/* A span of two times, either of which may never have come: a canceled request has no first
 * token, and must not count as one of 0 s. */
static void observe_span(histogram *h, uint64_t from_ns, uint64_t to_ns)
{
    if (from_ns && to_ns >= from_ns) histogram_add(h, clock_seconds_between(from_ns, to_ns), 1);
}

static void observe_times(metrics *m, const generation_out *o, uint64_t arrived_ns,
                          uint64_t now_ns)
{
    histogram *h = m->histograms;

    observe_span(&h[HISTOGRAM_time_to_first_token_seconds], arrived_ns, o->first_ns);
    observe_span(&h[HISTOGRAM_request_duration_seconds], arrived_ns, now_ns);
    observe_span(&h[HISTOGRAM_request_queue_seconds], o->queued_ns, o->started_ns);
    observe_span(&h[HISTOGRAM_request_prefill_seconds], o->started_ns, o->first_ns);
    observe_span(&h[HISTOGRAM_request_decode_seconds], o->first_ns, o->ended_ns);
    if (o->n_tokens > 1 && o->first_ns && o->ended_ns >= o->first_ns)
        histogram_add(
            &h[HISTOGRAM_request_time_per_output_token_seconds],
            clock_seconds_between(o->first_ns, o->ended_ns) / (double)(o->n_tokens - 1), 1);
}

void metrics_count_generation(metrics *m, const generation *g, bool failed, uint64_t arrived_ns,
                              uint64_t now_ns)
{
    const generation_out *o = &g->out;

    assert((unsigned)o->finish < FINISH_COUNT);
    if (failed)
        m->failed++;
    else
        m->finished[o->finish]++;
    m->cached_tokens += o->cached_tokens;
    observe_times(m, o, arrived_ns, now_ns);
    histogram_add(&m->histograms[HISTOGRAM_request_prompt_tokens], (double)g->in.n_ids, 1);
    histogram_add(&m->histograms[HISTOGRAM_request_generation_tokens], (double)o->n_tokens, 1);
}

/* --- the exposition --- */

#undef FAMILY
#undef ROWS
#undef SAMPLE
#undef PROCESS
#define FAMILY(type, name, help)         add_head(&t, "xquantd_", #name, #type, help);
#define ROWS(name, function)             function(&t, m, st);
#define SAMPLE(name, labels, value)      add_sample(&t, m, #name, "", labels, (double)(value));
#define PROCESS(type, name, value, help) add_process(&t, #name, #type, value, help);
#define HISTOGRAM(name, bounds, labels, help)           \
    add_head(&t, "xquantd_", #name, "histogram", help); \
    add_histogram(&t, m, #name, labels, &m->histograms[HISTOGRAM_##name]);

char *metrics_text(const metrics *m, const metrics_scrape *scrape, size_t *n)
{
    const sched_stats *st = &scrape->sched;
    text_builder t = {0};

#include "server/api/metrics.def"
    return text_take(&t, n);
}
