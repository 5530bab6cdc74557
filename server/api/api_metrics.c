/* api_metrics.c - GET /metrics: the figures of the moment. */
#include "server/api/routes.h"
#include "server/api/server.h"
#include "server/http/answer.h"

/* Both listeners count as one: to the process they share file descriptors. */
void api_metrics(http_request *r)
{
    const server *s = http_server(r);
    metrics_scrape now = {
        .ready = s->ready,
        .connections = http_connections(s->api) + (s->admin ? http_connections(s->admin) : 0),
        .refused = http_refused(s->api) + (s->admin ? http_refused(s->admin) : 0)};
    size_t n = 0;
    char *body;

    now.sessions = sessions_count(s->sessions, &now.hot_sessions);
    sched_read_stats(s->sched, &now.sched);
    body = metrics_text(s->metrics, &now, &n);
    if (body)
        http_answer(r, 200, METRICS_CONTENT_TYPE, body, n);
    else
        answer_err(r, ERR_NOMEM);
}
