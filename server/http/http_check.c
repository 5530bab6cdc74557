/* http_check.c - requests that must not reach a handler: ambiguous framing above all.
 *
 * libmicrohttpd 0.9.75 takes the first of two Content-Lengths, accepts one beside a
 * Transfer-Encoding, waits for ever on a coding it does not know, takes a bare CR into a value,
 * and cuts a value at a NUL: with a proxy in front that is request smuggling. Such requests
 * are answered 400 and the connection closes.
 *
 * Lines are judged from where they lie: 0.9.75 parses them in place and writes a NUL over each
 * byte of a line's end, so that its buffer holds
 *
 *   method 0 target 0 version 0 0 name 0 blanks value 0 0 name 0 blanks value 0 0 0 0
 *                             gap                       gap                   end of the head
 *
 * One NUL was a bare LF: who ends every line so may (RFC 9112, 2.2), one among others is
 * refused. Anything else is a NUL within the value, a line that begins with a NUL or a colon,
 * which 0.9.75 takes for the end of the head, or a folded line, which is put together elsewhere
 * and which RFC 9112, 5.2 lets a server refuse. Other versions keep headers elsewhere, and
 * refuse this themselves. */
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
const http_refusal http_refuse_first_line = {400, NULL,
                                             "The request's first line is not valid.", true};
const http_refusal http_refuse_memory = {503, "server_is_overloaded", "Out of memory.", false};

static const http_refusal line_end = {
    400, NULL, "A header's line is folded, has an odd end, or holds a NUL character.", true};

typedef struct headers_seen {
    unsigned hosts, lengths, codings;
    bool chunked, compressed, bad_name, bad_line;
    uint64_t length;
    const char *end; /* of the line before; NULL: not known */
    ptrdiff_t gap;   /* bytes that end a line; 0: not yet seen */
} headers_seen;

bool http_parses_in_place(void)
{
    return strcmp(MHD_get_version(), "0.9.75") == 0;
}

bool http_is_tchar(char c)
{
    static const char others[] = "!#$%&'*+-.^_`|~";
    const bool alphanumeric = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
                              (c >= '0' && c <= '9');

    return alphanumeric || (c != '\0' && strchr(others, c));
}

static bool is_token(const char *name, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (!http_is_tchar(name[i])) return false;
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

/* n: the value's bytes as they came. It may have been trimmed where it lies. */
static void judge_line(headers_seen *seen, const char *name, const char *value, size_t n)
{
    const ptrdiff_t gap = name - seen->end;

    if (seen->gap ? gap != seen->gap : gap != 1 && gap != 2) seen->bad_line = true;
    seen->gap = gap;
    seen->end = value + n;
}

/* A name or an address, and a port: nothing that would end it in a URL. Blanks behind a value
 * are no part of it. */
static bool is_host(const char *value)
{
    const size_t n = strcspn(value, " \t\"#/<>?@\\^`{|}");

    return value[n + strspn(value + n, " \t")] == '\0';
}

static bool is_word(const char *value, const char *word)
{
    const size_t n = strlen(word);

    return strncasecmp(value, word, n) == 0 && value[n + strspn(value + n, " \t")] == '\0';
}

static enum MHD_Result note(void *cls, enum MHD_ValueKind kind, const char *name,
                            size_t name_bytes, const char *value, size_t value_bytes)
{
    headers_seen *seen = cls;

    (void)kind;
    if (!value) value = "";
    if (seen->end) judge_line(seen, name, value, value_bytes);
    if (strpbrk(name, "\r\n") || strpbrk(value, "\r\n")) seen->bad_line = true;
    if (!is_token(name, name_bytes)) seen->bad_name = true;
    if (strcasecmp(name, "Host") == 0) seen->hosts += is_host(value) ? 1 : 2;
    if (strcasecmp(name, "Content-Length") == 0) {
        seen->lengths++;
        seen->length = parse_length(value);
    }
    if (strcasecmp(name, "Transfer-Encoding") == 0) {
        seen->codings++;
        seen->chunked = strcasecmp(value, "chunked") == 0;
    }
    if (strcasecmp(name, "Content-Encoding") == 0 && !is_word(value, "identity"))
        seen->compressed = true;
    return MHD_YES;
}

/* Its parts follow each other, with one byte between them. */
static bool is_line_whole(const http_line *line)
{
    return line->method + strlen(line->method) + 1 == line->target &&
           line->target + line->target_bytes + 1 == line->version;
}

/* After the last value come its own line end and that of an empty line, and no more. */
static bool is_end_of_head(struct MHD_Connection *c, const http_line *line,
                           const headers_seen *seen)
{
    const size_t head =
        MHD_get_connection_info(c, MHD_CONNECTION_INFO_REQUEST_HEADER_SIZE)->header_size;
    const ptrdiff_t left = line->method + head - seen->end;

    return seen->gap ? left == 2 * seen->gap : left == 2 || left == 4;
}

const http_refusal *http_check_headers(struct MHD_Connection *c, const http_line *line,
                                       size_t max_body_bytes, bool *chunked)
{
    const bool in_place = http_parses_in_place();
    headers_seen seen = {.end = in_place ? line->version + strlen(line->version) : NULL};
    const bool modern = strcmp(line->version, "HTTP/1.0") != 0;

    MHD_get_connection_values_n(c, MHD_HEADER_KIND, note, &seen);
    *chunked = seen.chunked;
    if (!is_token(line->method, strlen(line->method))) return &http_refuse_first_line;
    if (in_place && !is_line_whole(line)) return &http_refuse_first_line;
    if (seen.bad_line || (in_place && !is_end_of_head(c, line, &seen))) return &line_end;
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
    return strpbrk(raw, " \r\n") ? &http_refuse_first_line
           : strstr(raw, "%00")  ? &zero_byte
                                 : NULL;
}
