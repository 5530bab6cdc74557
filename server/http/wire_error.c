/* wire_error.c - the table from err to status, type and code, and the error object.
 *
 * Clients act on these words: OpenAI's libraries make an exception's class of the status,
 * send a request again at 429 and from 500 on, and programs compare `code`. So a row says
 * what a client should do next, and only then what went wrong here. */
#include "server/http/wire_error.h"

#include <assert.h>

#include "server/text.h"

#define INVALID "invalid_request_error"
#define SERVER  "server_error"

/* What can only happen while a file is read or the daemon starts is a plain 500, should it
 * ever reach a request; so is success, which nobody should answer with. */
static const wire_error rows[ERR_COUNT] = {
    [ERR_OK] = {500, SERVER, NULL},
    /* Passes when what runs has ended, unlike the other 5xx: hence the 503. */
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
    [ERR_ENCODER] = {500, SERVER, NULL},
    [ERR_TOKENIZER] = {500, SERVER, NULL},
    [ERR_TEMPLATE] = {400, INVALID, "unsupported_parameter"},
    [ERR_MODE] = {500, SERVER, NULL},
    [ERR_MODEMODEL] = {500, SERVER, NULL},
    [ERR_PLAN] = {500, SERVER, NULL},
    [ERR_PLANMODEL] = {500, SERVER, NULL},
    [ERR_OLDPLAN] = {500, SERVER, NULL},
    [ERR_SCRATCH] = {500, SERVER, NULL},
    [ERR_DEGRADE] = {500, SERVER, NULL},
    [ERR_NOPLAN] = {500, SERVER, NULL},
    [ERR_DOWNLOAD] = {500, SERVER, NULL},
    [ERR_SPLITFIRST] = {500, SERVER, NULL},
    [ERR_SPLITNAME] = {500, SERVER, NULL},
    [ERR_SPLIT] = {500, SERVER, NULL},
    [ERR_CHANGED] = {503, SERVER, "model_changed"},
    [ERR_NOFIT] = {500, SERVER, NULL},
    [ERR_LOCK] = {500, SERVER, NULL},
    [ERR_UTF8] = {400, INVALID, "invalid_value"},
    [ERR_JSON] = {400, INVALID, NULL},
    [ERR_INVALID] = {400, INVALID, "invalid_value"},
    [ERR_REQUIRED] = {400, INVALID, "missing_required_parameter"},
    [ERR_UNSUPPORTED] = {400, INVALID, "unsupported_parameter"},
    [ERR_NOMODEL] = {404, INVALID, "model_not_found"},
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

wire_error wire_error_for(err e)
{
    assert((unsigned)e < ERR_COUNT);
    return rows[e];
}

/* All four members, null where there is nothing to say: typed clients read each of them. */
char *wire_error_body(const char *type, const char *code, const char *param,
                      const char *message)
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
