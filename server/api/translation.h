/* translation.h - what the translators of dialects share: a chat completion's body that is made
 * member by member of another body.
 *
 * Values move from one document to the other, they are not copied: a body may have megabytes.
 * Each call returns false where memory is short, or `why` says what is wrong. Any thread. */
#ifndef SERVER_API_TRANSLATION_H
#define SERVER_API_TRANSLATION_H

#include "server/api/request.h"

typedef struct translation {
    cJSON *from;     /* the dialect's body */
    cJSON *to;       /* the chat completion's */
    cJSON *messages; /* its messages, which to owns */
    const request_env *env;
    fault *why;
} translation;

/* Move what dialects.def lets through, and begin the messages. */
bool translation_begin(translation *t, cJSON *from, unsigned where, const request_env *env,
                       fault *why);

/* On success *body becomes the new one; in any case the other is freed. Returns good. */
bool translation_end(translation *t, cJSON **body, bool good);

/* A value becomes a member, or an element, and belongs to the object, or is freed. NULL: no
 * memory. */
bool translation_put(const translation *t, cJSON *object, const char *name, cJSON *value);
bool translation_add(const translation *t, cJSON *array, cJSON *value);
bool translation_put_text(const translation *t, cJSON *object, const char *name,
                          const char *text);

/* The member goes over under another name; no such member, or null: nothing happens. */
bool translation_move(const translation *t, cJSON *from, const char *name, cJSON *to,
                      const char *inner);

/* Another message; NULL: no memory. */
cJSON *translation_message(const translation *t, const char *role);

/* {"type": "function", "function": {..}} behind the array's last; NULL: no memory. Returns the
 * inner object. */
cJSON *translation_function(const translation *t, cJSON *array);

/* "path[i].name is what it must not be": 400 with that member's path. */
bool translation_refuse(const translation *t, err e, const char *path, const char *format, ...)
    __attribute__((format(printf, 4, 5)));

#endif
