/* fetch.c - HTTP through libcurl into a file that grows.
 *
 *   part opened and locked -> asked for what is missing -> bytes appended -> checked -> renamed
 *
 *   cut, or 5xx       asked again from where it stands; three times without a new byte end it
 *   416               the part was whole already; else it is emptied and begun anew
 *   other bytes       than asked for, 4xx, a full disk: refused, and the part stays
 *   no more time      the part stays, too
 *   wrong sum, length the part is removed: it cannot become right
 *
 * The lock keeps a second process from appending to the same part. The sum is taken of what
 * lies on the disk, for the bytes came in several answers, perhaps to several processes. */
#include "server/convert/fetch.h"

#include <ctype.h>
#include <curl/curl.h>
#include <errno.h>
#include <fcntl.h>
#include <openssl/evp.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "engine/clock.h"
#include "server/progress.h"

enum { SHA_BYTES = FETCH_SHA_BYTES, TRIES = 3, CONNECT_S = 30, SILENCE_S = 60, REDIRECTS = 8 };

typedef struct fetch {
    const fetch_wish *wish;
    CURL *curl;
    char *part;          /* path */
    int fd;              /* of the part */
    int64_t have, total; /* bytes of it; of the whole, -1: not known */
    bool locked;         /* the part is ours */
    bool begun;          /* this answer's body */
    int64_t from;        /* where this answer's body begins, -1: it does not say */
    int failed;          /* errno of a write */
    bool other;          /* what the server has is not what is asked for */
    bool named;          /* the server has named a checksum: */
    unsigned char sha[SHA_BYTES];
    progress bar;
    char said[CURL_ERROR_SIZE];
    char *why;
    size_t n;
} fetch;

/* --- what the server says --- */

static int hex_digit(char c)
{
    static const char digits[] = "0123456789abcdef";
    const char *at = c ? strchr(digits, tolower((unsigned char)c)) : NULL;

    return at ? (int)(at - digits) : -1;
}

/* "64 hex digits" within quotes: a SHA-256. Other tags are none: a hub's are one for large
 * files alone, and a web server's may be anything. */
static void read_tag(fetch *f, const char *tag)
{
    unsigned char sha[SHA_BYTES];

    if (strncmp(tag, "W/", 2) == 0) tag += 2;
    if (*tag == '"') tag++;
    for (int i = 0; i < SHA_BYTES; i++, tag += 2) {
        const int high = hex_digit(tag[0]), low = high < 0 ? -1 : hex_digit(tag[1]);

        if (low < 0) return;
        sha[i] = (unsigned char)(high << 4 | low);
    }
    if (hex_digit(*tag) >= 0) return;
    memcpy(f->sha, sha, sizeof sha);
    f->named = true;
}

/* "bytes 100-199/200", or of a refusal "bytes * /200" without the space. */
static void read_range(fetch *f, const char *text)
{
    long long from, to, total;

    if (sscanf(text, "bytes %lld-%lld/%lld", &from, &to, &total) == 3) {
        f->from = from;
        f->total = total;
    } else if (sscanf(text, "bytes */%lld", &total) == 1) {
        f->total = total;
    }
}

/* Headers of every answer on the way come by here: a redirect names the sum (X-Linked-Etag),
 * the host it leads to the length. An ETag of the last host does not outweigh the first's name.
 */
static size_t on_header(char *data, size_t one, size_t n, void *arg)
{
    char line[512], *colon, *value;
    fetch *f = arg;

    (void)one;
    snprintf(line, sizeof line, "%.*s", (int)n, data);
    if (strncmp(line, "HTTP/", 5) == 0) { /* of a redirect, or at last of the file */
        f->total = f->from = -1;
        f->begun = false;
    }
    colon = strchr(line, ':');
    if (!colon) return n;
    *colon = '\0';
    for (value = colon + 1; *value == ' ';) value++;
    if (strcasecmp(line, "x-linked-etag") == 0 || (strcasecmp(line, "etag") == 0 && !f->named))
        read_tag(f, value);
    if (strcasecmp(line, "content-range") == 0) read_range(f, value);
    if (strcasecmp(line, "content-length") == 0 && f->total < 0)
        f->total = strtoll(value, NULL, 10);
    return n;
}

/* --- bytes --- */

/* Before the first byte: a file that was replaced on the hub costs no hour of downloading. */
static bool is_another(const fetch *f)
{
    const fetch_wish *w = f->wish;

    if (w->bytes && f->total >= 0 && (uint64_t)f->total != w->bytes) return true;
    return w->sha && f->named && memcmp(w->sha, f->sha, SHA_BYTES) != 0;
}

/* A part of a file goes on where we stopped; a whole file begins anew. */
static bool begin_body(fetch *f)
{
    long status = 0;

    curl_easy_getinfo(f->curl, CURLINFO_RESPONSE_CODE, &status);
    f->begun = true;
    f->other = is_another(f);
    if (f->other) return false;
    if (status == 206 && f->from != f->have) return false;
    if (status != 206 && f->have) {
        if (ftruncate(f->fd, 0) != 0) return false;
        f->have = 0;
    }
    /* a disk that is too small should say so now */
    return f->total <= 0 || fallocate(f->fd, FALLOC_FL_KEEP_SIZE, 0, f->total) == 0 ||
           (errno != ENOSPC && errno != EFBIG);
}

/* Bytes go to the disk as they come. Anything but n ends the transfer as CURLE_WRITE_ERROR. */
static size_t on_body(char *data, size_t one, size_t n, void *arg)
{
    size_t done = 0;
    fetch *f = arg;

    (void)one;
    errno = 0;
    if (!f->begun && !begin_body(f)) {
        f->failed = errno;
        return 0;
    }
    while (done < n) {
        const ssize_t wrote = write(f->fd, data + done, n - done);

        if (wrote < 0 && errno == EINTR) continue;
        if (wrote <= 0) {
            f->failed = errno;
            return 0;
        }
        done += (size_t)wrote;
    }
    f->have += (int64_t)n;
    if (f->total > 0) progress_show(&f->bar, (double)f->have / (double)f->total);
    return n;
}

/* --- one file --- */

static err refuse(fetch *f, const char *what)
{
    snprintf(f->why, f->n, "%s", what);
    return ERR_DOWNLOAD;
}

static err refuse_errno(fetch *f, int code)
{
    snprintf(f->why, f->n, "%s: %s", f->part, strerror(code));
    return ERR_DOWNLOAD;
}

/* Appending needs no offset of ours: what is there is what we have. A process that ends without
 * a byte removes its part: then what we hold the lock of may have lost its name. */
static err open_part(fetch *f)
{
    struct stat s, named;

    if (asprintf(&f->part, "%s.part", f->wish->path) < 0) {
        f->part = NULL;
        return refuse(f, "out of memory");
    }
    f->fd = open(f->part, O_RDWR | O_CREAT | O_APPEND | O_CLOEXEC, 0644);
    if (f->fd < 0 || fstat(f->fd, &s) != 0) return refuse_errno(f, errno);
    if (flock(f->fd, LOCK_EX | LOCK_NB) != 0 || stat(f->part, &named) != 0 ||
        named.st_ino != s.st_ino)
        return refuse(f, "another process is downloading it");
    f->locked = true;
    f->have = (int64_t)s.st_size;
    return ERR_OK;
}

static void set_options(fetch *f)
{
    const char *url = f->wish->url, *token = f->wish->token;
    const bool safe = strncasecmp(url, "https:", 6) == 0;

    curl_easy_setopt(f->curl, CURLOPT_URL, url);
    curl_easy_setopt(f->curl, CURLOPT_USERAGENT, "xquantd/" XQUANTD_VERSION);
    curl_easy_setopt(f->curl, CURLOPT_PROTOCOLS_STR, "http,https");
    curl_easy_setopt(f->curl, CURLOPT_REDIR_PROTOCOLS_STR, safe ? "https" : "http,https");
    curl_easy_setopt(f->curl, CURLOPT_FOLLOWLOCATION, 1L);
    curl_easy_setopt(f->curl, CURLOPT_MAXREDIRS, (long)REDIRECTS);
    curl_easy_setopt(f->curl, CURLOPT_FAILONERROR, 1L); /* or an error page is the model */
    curl_easy_setopt(f->curl, CURLOPT_SUPPRESS_CONNECT_HEADERS, 1L); /* a proxy's */
    curl_easy_setopt(f->curl, CURLOPT_CONNECTTIMEOUT, (long)CONNECT_S);
    /* no limit for the whole: a large model takes hours; only silence ends it */
    curl_easy_setopt(f->curl, CURLOPT_LOW_SPEED_LIMIT, 1L);
    curl_easy_setopt(f->curl, CURLOPT_LOW_SPEED_TIME, (long)SILENCE_S);
    curl_easy_setopt(f->curl, CURLOPT_ERRORBUFFER, f->said);
    curl_easy_setopt(f->curl, CURLOPT_HEADERFUNCTION, on_header);
    curl_easy_setopt(f->curl, CURLOPT_HEADERDATA, f);
    curl_easy_setopt(f->curl, CURLOPT_WRITEFUNCTION, on_body);
    curl_easy_setopt(f->curl, CURLOPT_WRITEDATA, f);
    if (token && *token) { /* libcurl keeps this from other hosts, unlike a header of ours */
        curl_easy_setopt(f->curl, CURLOPT_HTTPAUTH, (long)CURLAUTH_BEARER);
        curl_easy_setopt(f->curl, CURLOPT_XOAUTH2_BEARER, token);
    }
}

static err refuse_status(fetch *f, long status)
{
    if (status == 404)
        snprintf(f->why, f->n, "there is no such file (404)");
    else if (status == 401 || status == 403)
        snprintf(f->why, f->n, "the server answers %ld; it may want a token in HF_TOKEN",
                 status);
    else
        snprintf(f->why, f->n, "the server answers %ld", status);
    return ERR_DOWNLOAD;
}

/* Why an attempt failed, in words. */
static err refuse_attempt(fetch *f, CURLcode code, long status)
{
    if (code == CURLE_HTTP_RETURNED_ERROR) return refuse_status(f, status);
    if (code == CURLE_WRITE_ERROR && f->other)
        return refuse(f, "the server has another file of this name");
    if (code == CURLE_WRITE_ERROR && f->failed) return refuse_errno(f, f->failed);
    if (code == CURLE_WRITE_ERROR)
        return refuse(f, "the server sends another part of the file");
    snprintf(f->why, f->n, "%s%s", *f->said ? f->said : curl_easy_strerror(code),
             f->have ? "; what has come is kept, to go on from there" : "");
    return ERR_DOWNLOAD;
}

/* A fault that another attempt may not have. Names that do not resolve and certificates that do
 * not hold are not among them: a person should hear of those at once. */
static bool is_passing(CURLcode code, long status)
{
    return code == CURLE_PARTIAL_FILE || code == CURLE_RECV_ERROR || code == CURLE_SEND_ERROR ||
           code == CURLE_GOT_NOTHING || code == CURLE_OPERATION_TIMEDOUT ||
           code == CURLE_HTTP2_STREAM || (code == CURLE_HTTP_RETURNED_ERROR && status >= 500);
}

/* Milliseconds until it is given up, for libcurl, to which 0 is no limit; -1: now. */
static long time_left(const fetch *f)
{
    const uint64_t until = f->wish->until_ns, now = clock_ns();

    if (!until) return 0;
    return now + 1000000 < until ? (long)((until - now) / 1000000) : -1;
}

static err refuse_time(fetch *f)
{
    return refuse(f, f->have ? "it took too long; what has come is kept, to go on from there"
                             : "it took too long");
}

/* One request for what is missing; *again: whether to ask once more. */
static err attempt(fetch *f, bool *again)
{
    char range[32];
    const int64_t had = f->have;
    const long left = time_left(f);
    long status = 0;
    CURLcode code;

    if (left < 0) return refuse_time(f);
    curl_easy_setopt(f->curl, CURLOPT_TIMEOUT_MS, left);
    snprintf(range, sizeof range, "%lld-", (long long)f->have);
    curl_easy_setopt(f->curl, CURLOPT_RANGE, f->have ? range : NULL);
    *f->said = '\0';
    code = curl_easy_perform(f->curl);
    curl_easy_getinfo(f->curl, CURLINFO_RESPONSE_CODE, &status);
    if (code == CURLE_OK) return ERR_OK;
    if (code == CURLE_OPERATION_TIMEDOUT && left && time_left(f) < 0) return refuse_time(f);
    if (code == CURLE_HTTP_RETURNED_ERROR && status == 416 && had) {
        if (f->total == had) return ERR_OK; /* it was whole */
        *again = ftruncate(f->fd, 0) == 0;
        f->have = 0;
    } else {
        *again = is_passing(code, status);
    }
    return refuse_attempt(f, code, status);
}

static err transfer(fetch *f)
{
    err e = ERR_DOWNLOAD;

    for (int tries = 0; tries < TRIES; tries++) {
        const int64_t had = f->have;
        bool again = false;

        if (tries) sleep(1); /* a server that just restarts is not helped by haste */
        e = attempt(f, &again);
        if (e == ERR_OK || !again) break;
        if (f->have > had) tries = -1; /* bytes come: as often as it takes */
    }
    return e;
}

/* --- the check --- */

/* The part's SHA-256 as it lies on the disk. */
static err sum_part(fetch *f, EVP_MD_CTX *sum, unsigned char sha[EVP_MAX_MD_SIZE])
{
    static const size_t step = 1 << 20;
    unsigned char *bytes = malloc(step);
    int64_t done = 0;
    ssize_t got = -1;

    if (!bytes || !sum || EVP_DigestInit_ex(sum, EVP_sha256(), NULL) != 1) {
        free(bytes);
        return refuse(f, "out of memory");
    }
    while ((got = pread(f->fd, bytes, step, done)) > 0) {
        (void)EVP_DigestUpdate(sum, bytes, (size_t)got);
        done += got;
        progress_show(&f->bar, (double)done / (double)f->have);
    }
    free(bytes);
    if (got < 0) return refuse_errno(f, errno);
    return EVP_DigestFinal_ex(sum, sha, NULL) == 1 ? ERR_OK : refuse(f, "out of memory");
}

/* What has come is of no use. */
static err discard(fetch *f, const char *what)
{
    unlink(f->part);
    return refuse(f, what);
}

/* Only a sum that somebody names can be checked; without one the length has to do. */
static err check_part(fetch *f)
{
    const unsigned char *want = f->wish->sha ? f->wish->sha : f->sha;
    unsigned char sha[EVP_MAX_MD_SIZE];
    EVP_MD_CTX *sum;
    err e;

    if (!f->named && !f->wish->sha) return ERR_OK;
    progress_clear(&f->bar);
    sum = EVP_MD_CTX_new();
    e = sum_part(f, sum, sha);
    EVP_MD_CTX_free(sum);
    if (e != ERR_OK || memcmp(sha, want, SHA_BYTES) == 0) return e;
    return discard(f, f->wish->sha
                          ? "its checksum is not the catalogue's; it was removed"
                          : "its checksum is not what the server names; it was removed");
}

static err run(fetch *f)
{
    TRY(open_part(f));
    f->curl = curl_easy_init();
    if (!f->curl) return refuse(f, "out of memory");
    set_options(f);
    TRY(transfer(f));
    if (f->total >= 0 && f->have != f->total)
        return discard(f, "its length is not what the server said; it was removed");
    TRY(check_part(f));
    /* the bytes before the name, or a power cut leaves a whole name on half a file */
    if (fsync(f->fd) != 0 || rename(f->part, f->wish->path) != 0) return refuse_errno(f, errno);
    return ERR_OK;
}

err fetch_file(const fetch_wish *w, char *why, size_t n)
{
    fetch f = {.wish = w, .fd = -1, .total = -1, .why = why, .n = n};
    const err e = run(&f);

    progress_clear(&f.bar);
    curl_easy_cleanup(f.curl);
    if (e != ERR_OK && f.locked && f.have == 0) unlink(f.part); /* nothing to go on from */
    if (f.fd >= 0) close(f.fd);
    free(f.part);
    return e;
}
