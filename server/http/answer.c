/* answer.c - whole answers: JSON, errors, and when to come again. */
#include "server/http/answer.h"

#include <ctype.h>
#include <stdio.h>
#include <string.h>

#include "server/http/wire_error.h"
#include "server/http/wire_form.h"

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
    /* No memory for the text either: http_answer makes of a NULL body what it has kept for
     * that. */
    char *body = wire_form_of(http_path(r))->body(status, type, code, param, message);

    add_retry_headers(r, status);
    if (!http_is_gone(r)) http_note_error(r, code, param, message);
    http_answer(r, status, "application/json", body, body ? strlen(body) : 0);
}

void answer_err(http_request *r, err e)
{
    const wire_error row = wire_error_for(e);
    char sentence[160];

    /* err.def words its texts for the middle of a line on stderr; a client shows a sentence. */
    snprintf(sentence, sizeof sentence, "%s.", err_text(e));
    sentence[0] = (char)toupper((unsigned char)sentence[0]);
    answer_error(r, row.status, row.type, row.code, NULL, sentence);
}

/* The official clients look for milliseconds first; others know Retry-After alone. */
void answer_add_retry(http_request *r, unsigned seconds)
{
    char text[16];

    snprintf(text, sizeof text, "%u", seconds);
    http_add_header(r, "Retry-After", text);
    snprintf(text, sizeof text, "%u000", seconds);
    http_add_header(r, "retry-after-ms", text);
}

void answer_busy(http_request *r, unsigned seconds)
{
    answer_add_retry(r, seconds);
    answer_err(r, ERR_BUSY);
}

/* A builder that ran out of memory has no text at all: never half an object with a 200. */
void answer_json(http_request *r, text_builder *t)
{
    size_t n = 0;
    char *body = text_take(t, &n);

    if (body)
        http_answer(r, 200, "application/json", body, n);
    else
        answer_err(r, ERR_NOMEM);
}

void answer_fault(http_request *r, const fault *why)
{
    const wire_error row = wire_error_for(why->e);

    if (why->sentence[0])
        answer_error(r, row.status, row.type, row.code, why->field[0] ? why->field : NULL,
                     why->sentence);
    else
        answer_err(r, why->e);
}
