/* answer.c - the table from err to status, type and code, and the error object. */
#include "server/http/answer.h"

#include <assert.h>
#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "server/text.h"

#define INVALID "invalid_request_error"
#define SERVER  "server_error"

/* What can only happen while a file is read or the daemon starts is a plain 500, should it
 * ever reach a request; so is success, which nobody should answer with. */
static const answer_row rows[ERR_COUNT] = {
    [ERR_OK] = {500, SERVER, NULL},
    [ERR_NOMEM] = {503, SERVER, "server_is_overloaded"},
    [ERR_OPEN] = {500, SERVER, NULL},
    [ERR_READ] = {500, SERVER, NULL},
    [ERR_MAGIC] = {500, SERVER, NULL},
    [ERR_VERSION] = {500, SERVER, NULL},
    [ERR_TRUNCATED] = {500, SERVER, NULL},
    [ERR_TOOMANY] = {500, SERVER, NULL},
    [ERR_STRING] = {500, SERVER, NULL},
    [ERR_KEYTYPE] = {500, SERVER, NULL},
    [ERR_DUPLICATE] = {500, SERVER, NULL},
    [ERR_MISSING] = {500, SERVER, NULL},
    [ERR_RANGE] = {500, SERVER, NULL},
    [ERR_ALIGN] = {500, SERVER, NULL},
    [ERR_SHAPE] = {500, SERVER, NULL},
    [ERR_OFFSET] = {500, SERVER, NULL},
    [ERR_TENSORTYPE] = {500, SERVER, NULL},
    [ERR_ARCH] = {500, SERVER, NULL},
    [ERR_PART] = {500, SERVER, NULL},
    [ERR_TOKENIZER] = {500, SERVER, NULL},
    [ERR_TEMPLATE] = {400, INVALID, "unsupported_parameter"},
    [ERR_MODE] = {500, SERVER, NULL},
    [ERR_MODEMODEL] = {500, SERVER, NULL},
    [ERR_PLAN] = {500, SERVER, NULL},
    [ERR_PLANMODEL] = {500, SERVER, NULL},
    [ERR_DEGRADE] = {500, SERVER, NULL},
    [ERR_NOPLAN] = {500, SERVER, NULL},
    [ERR_DOWNLOAD] = {500, SERVER, NULL},
    [ERR_SPLITFIRST] = {500, SERVER, NULL},
    [ERR_SPLITNAME] = {500, SERVER, NULL},
    [ERR_SPLIT] = {500, SERVER, NULL},
    [ERR_CHANGED] = {500, SERVER, NULL},
    [ERR_NOFIT] = {500, SERVER, NULL},
    [ERR_LOCK] = {500, SERVER, NULL},
    [ERR_UTF8] = {400, INVALID, "invalid_value"},
    [ERR_TOOLONG] = {400, INVALID, "context_length_exceeded"},
    [ERR_EMPTY] = {400, INVALID, "invalid_value"},
    [ERR_NOROOM] = {400, INVALID, "context_length_exceeded"}, /* waiting would not help */
    [ERR_BUSY] = {429, "rate_limit_error", "rate_limit_exceeded"},
    [ERR_CANCELED] = {503, SERVER, "draining"}, /* to a client that still waits */
    [ERR_TIMEOUT] = {504, SERVER, "timeout"},
    [ERR_DRAINING] = {503, SERVER, "draining"},
    [ERR_ADDRESS] = {500, SERVER, NULL},
    [ERR_SYSTEM] = {500, SERVER, NULL},
};

answer_row answer_for(err e)
{
    assert((unsigned)e < ERR_COUNT);
    return rows[e];
}

char *answer_body(const char *type, const char *code, const char *param, const char *message)
{
    text_builder t = {0};

    text_add_string(&t, "{\"error\":{\"message\":");
    text_add_json_string(&t, message);
    text_add_string(&t, ",\"type\":");
    text_add_json_string(&t, type);
    text_add_string(&t, ",\"param\":");
    text_add_json_string(&t, param);
    text_add_string(&t, ",\"code\":");
    text_add_json_string(&t, code);
    text_add_string(&t, "}}");
    return text_take(&t, NULL);
}

/* Overload passes; any other 5xx would only be computed, and fail, once more. */
static void add_retry_headers(http_request *r, int status)
{
    if (status == 503) {
        http_add_header(r, "Retry-After", "5");
    } else if (status >= 500) {
        http_add_header(r, "x-should-retry", "false");
    }
}

void answer_error(http_request *r, int status, const char *type, const char *code,
                  const char *param, const char *message)
{
    char *body = answer_body(type, code, param, message);

    add_retry_headers(r, status);
    http_answer(r, status, "application/json", body, body ? strlen(body) : 0);
}

void answer_err(http_request *r, err e)
{
    const answer_row row = answer_for(e);
    char sentence[160];

    snprintf(sentence, sizeof sentence, "%s.", err_text(e));
    sentence[0] = (char)toupper((unsigned char)sentence[0]);
    answer_error(r, row.status, row.type, row.code, NULL, sentence);
}

void answer_busy(http_request *r, unsigned seconds)
{
    char text[16];

    snprintf(text, sizeof text, "%u", seconds);
    http_add_header(r, "Retry-After", text);
    snprintf(text, sizeof text, "%u000", seconds);
    http_add_header(r, "retry-after-ms", text);
    answer_err(r, ERR_BUSY);
}

void answer_json(http_request *r, text_builder *t)
{
    size_t n = 0;
    char *body = text_take(t, &n);

    if (body)
        http_answer(r, 200, "application/json", body, n);
    else
        answer_err(r, ERR_NOMEM);
}
