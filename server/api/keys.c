/* keys.c - API keys, their hashes and their limits.
 *
 * A minute's tokens are a bucket that fills steadily and holds one minute's worth. A request is
 * admitted while the bucket is not empty and is charged what it really used when it is over, so
 * the bucket may go below zero: the next one waits until that is made up for. */
#include "server/api/keys.h"

#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include <openssl/crypto.h>
#include <openssl/evp.h>

/* KEYS_MAX: every request compares its hash with all keys, whatever is found (find_hash), on
 * the loop. BUSY_SECONDS: when another request ends cannot be reckoned. */
enum { FILE_BYTES = 1 << 20, LINE_BYTES = 1024, KEYS_MAX = 10000, BUSY_SECONDS = 1 };

struct key {
    key *next;
    unsigned char hash[KEYS_HASH_BYTES];
    char name[KEYS_NAME_BYTES];
    uint64_t max_requests, max_tokens, tokens_per_minute; /* 0: no limit */
    uint64_t requests, tokens;                            /* in use */
    double bucket;                                        /* tokens left of this minute's */
    uint64_t filled_ns; /* when that was true; 0: never used */
    bool listed;        /* in the file as it was last read */
};

struct keys {
    char *path;
    key *all;
    size_t listed;
};

/* --- reading --- */

/* The limits by name: one row, one word of a line. */
static const struct {
    const char *name;
    size_t at;
} limits[] = {
    {"requests", offsetof(key, max_requests)},
    {"tokens", offsetof(key, max_tokens)},
    {"tokens_per_minute", offsetof(key, tokens_per_minute)},
};

/* malloc'd; never with the key in it, for it goes into logs. */
static char *sentence(const char *path, int line, const char *what)
{
    const int n = snprintf(NULL, 0, "%s:%d: %s", path, line, what);
    char *text = malloc((size_t)n + 1);

    if (text) snprintf(text, (size_t)n + 1, "%s:%d: %s", path, line, what);
    return text;
}

/* SHA-256, not a slow hash: keys are long and random, and every request pays for it. */
static void hash_key(const char *text, unsigned char out[KEYS_HASH_BYTES])
{
    EVP_Digest(text, strlen(text), out, NULL, EVP_sha256(), NULL);
}

static bool read_number(const char *text, uint64_t *out)
{
    char *end;

    errno = 0;
    *out = strtoull(text, &end, 10);
    return isdigit((unsigned char)*text) && !*end && !errno;
}

/* One NAME=VALUE behind a key; NULL, or what is wrong with it. */
static const char *read_word(key *x, char *word)
{
    char *value = strchr(word, '=');

    if (!value) return "is not NAME=VALUE behind the key";
    *value++ = '\0';
    if (strcmp(word, "name") == 0) {
        if (!*value || strlen(value) >= sizeof x->name) return "name is empty or too long";
        strcpy(x->name, value);
        return NULL;
    }
    for (size_t i = 0; i < sizeof limits / sizeof *limits; i++) {
        if (strcmp(word, limits[i].name) != 0) continue;
        return read_number(value, (uint64_t *)((char *)x + limits[i].at))
                   ? NULL
                   : "has a limit that is no number";
    }
    return "has a word that is none of name, requests, tokens, tokens_per_minute";
}

/* The key and limits of a line; *empty: it has none. NULL, or what is wrong. */
static const char *read_line(key *x, char *line, bool *empty)
{
    char *rest = line, *word;

    line[strcspn(line, "#\r\n")] = '\0';
    word = strtok_r(line, " \t", &rest);
    *empty = !word;
    if (*empty) return NULL;
    hash_key(word, x->hash);
    /* From here on the key is in no memory of ours: a core dump shows hashes. */
    OPENSSL_cleanse(word, strlen(word));
    while ((word = strtok_r(NULL, " \t", &rest))) {
        const char *wrong = read_word(x, word);

        if (wrong) return wrong;
    }
    return NULL;
}

/* listed: only a key that the file has now. One that was taken out of it lives on while its
 * requests do, and must not let new ones in. */
static key *find_hash(const keys *k, const unsigned char hash[KEYS_HASH_BYTES], bool listed)
{
    key *found = NULL;

    /* to the end, whatever is found: the time tells nothing */
    for (key *x = k->all; x; x = x->next)
        if (CRYPTO_memcmp(x->hash, hash, KEYS_HASH_BYTES) == 0 && x->listed >= listed)
            found = x;
    return found;
}

/* A list of what a file holds, newest first; NULL or a sentence. */
static char *read_keys(const char *path, FILE *f, key **list)
{
    char line[LINE_BYTES];
    size_t n = 0;

    for (int at = 1; fgets(line, sizeof line, f); at++) {
        key *x = calloc(1, sizeof *x);
        const char *wrong = NULL;
        bool empty = false;

        if (!x)
            wrong = err_text(ERR_NOMEM);
        else if (!strchr(line, '\n') && !feof(f))
            wrong = "is too long a line";
        else
            wrong = read_line(x, line, &empty);
        if (!wrong && !empty && find_hash(&(keys){.all = *list}, x->hash, false))
            wrong = "has a key that stands above already";
        if (!wrong && !empty && ++n > KEYS_MAX) wrong = "is one key too many";
        OPENSSL_cleanse(line, sizeof line);
        if (wrong || empty) free(x);
        if (wrong) return sentence(path, at, wrong);
        if (empty) continue;
        x->next = *list;
        *list = x;
    }
    if (ferror(f)) return sentence(path, 0, strerror(errno));
    return n ? NULL : sentence(path, 1, "there is no key in this file");
}

static void free_list(key *list)
{
    while (list) {
        key *x = list;

        list = x->next;
        free(x);
    }
}

/* The keys of the list are those that are listed now. What is known keeps its counts, and what
 * is no longer listed stays in memory: its requests still run, and keys_release will come for
 * them. */
static void adopt(keys *k, key *list)
{
    for (key *x = k->all; x; x = x->next) x->listed = false;
    k->listed = 0;
    while (list) {
        key *x = list, *known = find_hash(k, x->hash, false);

        list = x->next;
        k->listed++;
        x->listed = true;
        if (!known) {
            x->next = k->all;
            k->all = x;
            continue;
        }
        memcpy(known->name, x->name, sizeof known->name);
        known->max_requests = x->max_requests;
        known->max_tokens = x->max_tokens;
        known->tokens_per_minute = x->tokens_per_minute;
        known->listed = true;
        free(x);
    }
}

/* The whole file is read before any of it counts: a mistake in its last line leaves all keys as
 * they were. */
char *keys_reload(keys *k)
{
    FILE *f = fopen(k->path, "re");
    key *list = NULL;
    char *wrong;

    if (!f) return sentence(k->path, 0, strerror(errno));
    fseek(f, 0, SEEK_END);
    if (ftell(f) > FILE_BYTES) {
        fclose(f);
        return sentence(k->path, 0, "is larger than 1 MiB");
    }
    rewind(f);
    wrong = read_keys(k->path, f, &list);
    fclose(f);
    if (wrong)
        free_list(list);
    else
        adopt(k, list);
    return wrong;
}

char *keys_open(keys **out, const char *path)
{
    keys *k = calloc(1, sizeof *k);
    char *wrong;

    if (k) k->path = strdup(path);
    if (!k || !k->path) {
        free(k);
        return sentence(path, 0, err_text(ERR_NOMEM));
    }
    wrong = keys_reload(k);
    if (wrong)
        keys_close(k);
    else
        *out = k;
    return wrong;
}

void keys_close(keys *k)
{
    if (!k) return;
    free_list(k->all);
    free(k->path);
    free(k);
}

size_t keys_count(const keys *k)
{
    return k->listed;
}

/* --- asking --- */

static const char *presented(const char *authorization, const char *x_api_key)
{
    static const char scheme[] = "Bearer ";

    if (!authorization) return x_api_key;
    /* Schemes have no case (RFC 9110, 11.1). Another one, Basic of a proxy, is not for us. */
    if (strncasecmp(authorization, scheme, sizeof scheme - 1) != 0) return x_api_key;
    authorization += sizeof scheme - 1;
    return authorization + strspn(authorization, " ");
}

key *keys_find(const keys *k, const char *authorization, const char *x_api_key)
{
    const char *text = presented(authorization, x_api_key);
    unsigned char hash[KEYS_HASH_BYTES];

    if (!text || !*text) return NULL;
    hash_key(text, hash);
    return find_hash(k, hash, true);
}

const char *keys_name(const key *x)
{
    return x->name;
}

/* Of the hash, not of the name: two keys may share a name, and a key that is renamed keeps its
 * place in the queue. */
uint64_t keys_tenant(const key *x)
{
    uint64_t id;

    memcpy(&id, x->hash, sizeof id);
    return id ? id : 1;
}

/* --- limits --- */

static void fill_bucket(key *x, uint64_t now_ns)
{
    const double most = (double)x->tokens_per_minute;
    const double seconds = x->filled_ns ? (double)(now_ns - x->filled_ns) / 1e9 : 60;

    x->bucket += seconds * most / 60;
    if (x->bucket > most) x->bucket = most;
    x->filled_ns = now_ns;
}

/* Until the bucket is above zero again. */
static unsigned bucket_seconds(const key *x)
{
    const double seconds = 1 - x->bucket * 60 / (double)x->tokens_per_minute;

    return seconds < 3600 ? (unsigned)seconds + 1 : 3600;
}

/* What can never be admitted is told apart from what only has to wait: a client that comes
 * again with the same request would come for ever. */
keys_verdict keys_admit(key *x, uint64_t tokens, uint64_t now_ns)
{
    if (x->max_requests && x->requests >= x->max_requests)
        return (keys_verdict){"requests", BUSY_SECONDS, false};
    if (x->max_tokens && tokens > x->max_tokens) return (keys_verdict){"tokens", 0, true};
    if (x->max_tokens && x->tokens + tokens > x->max_tokens)
        return (keys_verdict){"tokens", BUSY_SECONDS, false};
    if (x->tokens_per_minute) {
        fill_bucket(x, now_ns);
        if (x->bucket <= 0)
            return (keys_verdict){"tokens_per_minute", bucket_seconds(x), false};
    }
    x->requests++;
    x->tokens += tokens;
    return (keys_verdict){0};
}

void keys_release(key *x, uint64_t tokens, uint64_t used)
{
    x->requests--;
    x->tokens -= tokens;
    x->bucket -= (double)used;
}
