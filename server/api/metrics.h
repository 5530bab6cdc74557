/* metrics.h - the figures of /metrics: counters and histograms kept here, the rest read
 * from the scheduler and the process when somebody asks.
 *
 * Every series is in metrics.def. All labels are ours: nothing that a client wrote becomes
 * one. Loop thread only. Format: Prometheus text exposition 0.0.4. */
#ifndef SERVER_API_METRICS_H
#define SERVER_API_METRICS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "engine/err.h"
#include "server/sched/generation.h"
#include "server/sched/sched.h"

#define METRICS_CONTENT_TYPE "text/plain; version=0.0.4; charset=utf-8"

/* Why a request was refused before it was scheduled. */
typedef enum metrics_reject {
    REJECT_QUEUE_FULL,
    REJECT_CONTEXT_LENGTH,
    REJECT_CACHE_CAPACITY,
    REJECT_DRAINING,
    REJECT_COUNT
} metrics_reject;

/* What the info series say; constant while the process runs. Copied; NULL: empty. */
typedef struct metrics_info {
    const char *version, *revision, *blas, *isa;
    const char *model_name, *arch, *weight_dtype;
    const char *cache_mode;
    double cache_bits; /* per element of K and V */
    size_t group_size; /* values that share a scale; 0: the mode has no groups */
    size_t ctx_size;   /* the bucket list of token counts ends here */
} metrics_info;

typedef struct metrics metrics;

/* Every counter starts at 0. The caller frees. ERR_NOMEM. */
err metrics_new(metrics **out, const metrics_info *info);
void metrics_free(metrics *m);

/* One answer was sent (or the client left: 499). route: a path of routes.def, or "other";
 * a constant that outlives m, like method. */
void metrics_count_http(metrics *m, const char *route, const char *method, int status);
void metrics_observe_body(metrics *m, size_t bytes);

void metrics_count_rejected(metrics *m, metrics_reject why);

/* n tokens came `seconds` after the one before them. */
void metrics_observe_tokens(metrics *m, size_t n, double seconds);

/* A generation that was scheduled has ended, failed or not; arrived_ns and now_ns by the
 * clock of out's times. */
void metrics_count_generation(metrics *m, const generation *g, bool failed, uint64_t arrived_ns,
                              uint64_t now_ns);

/* What is read from elsewhere for one scrape. */
typedef struct metrics_scrape {
    sched_stats sched;
    bool ready;
    unsigned connections;
    uint64_t refused; /* connections */
    size_t sessions, hot_sessions;
} metrics_scrape;

/* The whole exposition, malloc'd; *n its bytes. NULL: out of memory. */
char *metrics_text(const metrics *m, const metrics_scrape *s, size_t *n);

#endif
