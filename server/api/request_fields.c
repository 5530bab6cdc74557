/* request_fields.c - what is done with each member of a request: the table fields.def.
 *
 *   body, message, stream_options, and the bodies of other dialects
 *     member  in a row   USED      read elsewhere
 *                        ACCEPTED  a debug line says why it has no effect
 *                        REFUSED   400 that names it, unless its value asks for nothing
 *             in none    let through; its name is logged, once a process
 *
 * Refusing what is unknown would shut out every client that is newer than this server; letting
 * through what is known to matter would answer another question in silence. */
#include <pthread.h>
#include <stdio.h>
#include <string.h>

#include "server/api/request.h"
#include "server/log.h"

enum { CHAT = 1, TEXT = 2, BODIES = CHAT | TEXT, MESSAGE = 4, OPTIONS = 8 };
enum { RESPONSES = 16, ANTHROPIC = 32, CHATS = 64, GENERATES = 128, KNOBS = 256, INFILL = 512 };
enum { EMBEDS = 1024 };
_Static_assert((int)CHAT == REQUEST_CHAT && (int)TEXT == REQUEST_TEXT &&
                   (int)MESSAGE == REQUEST_MESSAGE && (int)OPTIONS == REQUEST_OPTIONS &&
                   (int)RESPONSES == REQUEST_RESPONSES && (int)ANTHROPIC == REQUEST_ANTHROPIC &&
                   (int)CHATS == REQUEST_CHATS && (int)GENERATES == REQUEST_GENERATES &&
                   (int)KNOBS == REQUEST_KNOBS && (int)INFILL == REQUEST_INFILL &&
                   (int)EMBEDS == REQUEST_EMBEDS,
               "the table's short names are those of request.h");

/* --- values that ask for nothing --- */

static bool is_empty(const cJSON *item)
{
    if (cJSON_IsString(item)) return item->valuestring[0] == '\0';
    if (cJSON_IsNumber(item)) return item->valuedouble == 0;
    if (cJSON_IsArray(item) || cJSON_IsObject(item)) return item->child == NULL;
    return cJSON_IsFalse(item);
}

static bool is_true(const cJSON *item)
{
    return cJSON_IsTrue(item);
}

static bool is_one(const cJSON *item)
{
    return cJSON_IsNumber(item) && item->valuedouble == 1;
}

/* Peers turn a sampler off by 0 or by -1. */
static bool is_off(const cJSON *item)
{
    return cJSON_IsNumber(item) && (item->valuedouble == 0 || item->valuedouble == -1);
}

static bool is_text(const cJSON *item)
{
    const cJSON *first = cJSON_IsArray(item) ? item->child : NULL;

    if (!first) return is_empty(item);
    return !first->next && cJSON_IsString(first) && strcmp(first->valuestring, "text") == 0;
}

/* Without tools, both words let the model do what it does anyhow. */
static bool is_auto(const cJSON *item)
{
    if (!cJSON_IsString(item)) return is_empty(item);
    return strcmp(item->valuestring, "auto") == 0 || strcmp(item->valuestring, "none") == 0;
}

/* --- the table --- */

typedef struct row {
    const char *name;
    unsigned where;
    bool (*is_neutral)(const cJSON *item); /* REFUSED */
    const char *why;                       /* ACCEPTED */
    const char *inner;                     /* MOVED: the member that it becomes */
} row;

static const row table[] = {
#define NUMBER(kind, name, member, min, max) {#name, BODIES, NULL, NULL, NULL},
#define USED(name, where)                    {#name, where, NULL, NULL, NULL},
#define ACCEPTED(name, where, why)           {#name, where, NULL, why, NULL},
#define REFUSED(name, where, neutral)        {#name, where, is_##neutral, NULL, NULL},
#include "server/api/fields.def"
#define MOVED(name, where, inner)     {#name, where, NULL, NULL, #inner},
#define USED(name, where)             {#name, where, NULL, NULL, NULL},
#define ACCEPTED(name, where, why)    {#name, where, NULL, why, NULL},
#define REFUSED(name, where, neutral) {#name, where, is_##neutral, NULL, NULL},
#include "server/api/dialects.def"
};

/* The row for this place; else one of the other endpoint, whose member means nothing here. */
static const row *find_row(const char *name, unsigned where)
{
    const row *other = NULL;

    for (size_t i = 0; i < sizeof table / sizeof *table; i++) {
        if (strcmp(table[i].name, name) != 0) continue;
        if (table[i].where & where) return &table[i];
        if ((where & BODIES) && (table[i].where & BODIES)) other = &table[i];
    }
    return other;
}

/* --- unknown names --- */

enum { KEPT_NAMES = 64, KEPT_BYTES = 48 };

static struct {
    pthread_mutex_t lock; /* bodies are read by several workers */
    char names[KEPT_NAMES][KEPT_BYTES];
    size_t n;
} unknown = {.lock = PTHREAD_MUTEX_INITIALIZER};

/* Clients choose the names: so few are kept, and no line follows when they are used up. */
bool request_note_unknown(const char *name)
{
    char cut[KEPT_BYTES];
    bool known = false, noted;

    snprintf(cut, sizeof cut, "%s", name);
    pthread_mutex_lock(&unknown.lock);
    for (size_t i = 0; i < unknown.n && !known; i++) known = !strcmp(unknown.names[i], cut);
    noted = !known && unknown.n < KEPT_NAMES;
    if (noted) memcpy(unknown.names[unknown.n++], cut, sizeof cut);
    pthread_mutex_unlock(&unknown.lock);
    if (noted) log_line(LOG_INFO, "unknown member of a request", "name", LOG_TEXT(cut), NULL);
    return noted;
}

/* --- one object --- */

static bool check_member(const cJSON *item, unsigned where, const char *path, fault *why)
{
    const row *r = find_row(item->string, where);
    char name[128];

    if (cJSON_IsNull(item)) return true;
    if (!r) {
        request_note_unknown(item->string);
        return true;
    }
    if (r->where & where && r->why)
        log_line(LOG_DEBUG, "member without effect", "name", LOG_TEXT(r->name), "why",
                 LOG_TEXT(r->why), NULL);
    if (r->where & where ? !r->is_neutral || r->is_neutral(item) : is_empty(item)) return true;
    snprintf(name, sizeof name, "%s%s", path, r->name);
    return fault_refuse(why, ERR_UNSUPPORTED, name, "'%s' is not supported.", name);
}

/* --- another dialect's body --- */

/* Of what is in no row the inner request's own check decides. */
bool request_move_members(cJSON *from, cJSON *to, unsigned where, const char *path, fault *why)
{
    cJSON *item = from->child, *next;

    for (; item; item = next) {
        const row *r = find_row(item->string, where);
        char name[KEPT_BYTES];

        next = item->next;
        if (cJSON_IsNull(item)) continue;
        if (r && !check_member(item, where, path, why)) return false;
        if (r && !r->inner) continue;
        snprintf(name, sizeof name, "%s", r ? r->inner : item->string);
        cJSON_DetachItemViaPointer(from, item);
        if (cJSON_AddItemToObject(to, name, item)) continue;
        cJSON_Delete(item);
        return fault_fail(why, ERR_NOMEM);
    }
    return true;
}

bool request_check_members(const cJSON *object, unsigned where, const char *path, fault *why)
{
    const cJSON *item;

    cJSON_ArrayForEach (item, object)
        if (!check_member(item, where, path, why)) return false;
    return true;
}
