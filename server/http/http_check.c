/* http_check.c - requests that must not reach a handler: ambiguous framing above all.
 *
 * libmicrohttpd 0.9.75 takes the first of two Content-Lengths, accepts one beside a
 * Transfer-Encoding, and waits for ever on a coding it does not know: with a proxy in front
 * that is request smuggling. Such requests are answered 400 and the connection closes. */
#include <string.h>
#include <strings.h>

#include "server/http/http_state.h"

static const http_refusal framing = {400, NULL, "The request's length or host is ambiguous.",
                                     true};
static const http_refusal no_host = {400, NULL, "The request has no Host header.", true};
static const http_refusal header_name = {400, NULL, "A header's name is not valid.", true};
static const http_refusal zero_byte = {400, NULL, "The URL contains a NUL character.", false};
static const http_refusal encoding = {
    415, NULL, "A request body with a Content-Encoding is not supported.", false};
const http_refusal http_refuse_too_large = {413, "request_too_large",
                                            "The request body is too large.", true};
const http_refusal http_refuse_memory = {503, "server_is_overloaded", "Out of memory.", false};

typedef struct headers_seen {
    unsigned hosts, lengths, codings;
    bool chunked, compressed, bad_name;
    uint64_t length;
} headers_seen;

static bool is_token(const char *name, size_t n)
{
    static const char others[] = "!#$%&'*+-.^_`|~";

    for (size_t i = 0; i < n; i++) {
        const char c = name[i];
        const bool alphanumeric = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
                                  (c >= '0' && c <= '9');

        if (!alphanumeric && (c == '\0' || !strchr(others, c))) return false;
    }
    return n > 0;
}

/* Saturates; MHD itself refuses what is no number. */
static uint64_t parse_length(const char *text)
{
    uint64_t n = 0;

    for (; *text >= '0' && *text <= '9'; text++) {
        if (n > UINT64_MAX / 10 - 1) return UINT64_MAX;
        n = n * 10 + (uint64_t)(*text - '0');
    }
    return n;
}

static enum MHD_Result look(void *cls, enum MHD_ValueKind kind, const char *name,
                            size_t name_bytes, const char *value, size_t value_bytes)
{
    headers_seen *seen = cls;

    (void)kind, (void)value_bytes;
    if (!value) value = "";
    if (!is_token(name, name_bytes)) seen->bad_name = true;
    if (strcasecmp(name, "Host") == 0) seen->hosts++;
    if (strcasecmp(name, "Content-Length") == 0) {
        seen->lengths++;
        seen->length = parse_length(value);
    }
    if (strcasecmp(name, "Transfer-Encoding") == 0) {
        seen->codings++;
        seen->chunked = strcasecmp(value, "chunked") == 0;
    }
    if (strcasecmp(name, "Content-Encoding") == 0 && strcasecmp(value, "identity") != 0)
        seen->compressed = true;
    return MHD_YES;
}

const http_refusal *http_check_headers(struct MHD_Connection *c, const char *version,
                                       size_t max_body_bytes)
{
    headers_seen seen = {0};
    const bool modern = strcmp(version, "HTTP/1.0") != 0;

    MHD_get_connection_values_n(c, MHD_HEADER_KIND, look, &seen);
    if (seen.bad_name) return &header_name;
    if (seen.hosts > 1 || seen.lengths > 1 || seen.codings > 1) return &framing;
    if (seen.codings && (seen.lengths || !seen.chunked || !modern)) return &framing;
    if (modern && !seen.hosts) return &no_host;
    if (seen.length > max_body_bytes) return &http_refuse_too_large;
    return seen.compressed ? &encoding : NULL;
}

/* The handler would see the path cut at a decoded NUL. */
const http_refusal *http_check_uri(const char *raw)
{
    return strstr(raw, "%00") ? &zero_byte : NULL;
}
