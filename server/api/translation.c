/* translation.c - one document becomes another.
 *
 *   from {input, tools, top_p, ..}      to {messages, tools, top_p, ..}
 *
 * Whatever is put or added has an owner at once, so that a failure has two things to free. */
#include "server/api/translation.h"

#include <stdarg.h>
#include <stdio.h>

bool translation_begin(translation *t, cJSON *from, unsigned where, const request_env *env,
                       fault *why)
{
    *t = (translation){.from = from, .to = cJSON_CreateObject(), .env = env, .why = why};
    if (!t->to) return fault_fail(why, ERR_NOMEM);
    if (!request_move_members(from, t->to, where, "", why)) return false;
    t->messages = cJSON_AddArrayToObject(t->to, "messages");
    return t->messages ? true : fault_fail(why, ERR_NOMEM);
}

bool translation_end(translation *t, cJSON **body, bool good)
{
    if (good) {
        cJSON_Delete(*body);
        *body = t->to;
    } else {
        cJSON_Delete(t->to);
    }
    t->to = NULL;
    return good;
}

bool translation_put(const translation *t, cJSON *object, const char *name, cJSON *value)
{
    if (object && value && cJSON_AddItemToObject(object, name, value)) return true;
    cJSON_Delete(value);
    return fault_fail(t->why, ERR_NOMEM);
}

bool translation_add(const translation *t, cJSON *array, cJSON *value)
{
    if (array && value && cJSON_AddItemToArray(array, value)) return true;
    cJSON_Delete(value);
    return fault_fail(t->why, ERR_NOMEM);
}

bool translation_put_text(const translation *t, cJSON *object, const char *name,
                          const char *text)
{
    return translation_put(t, object, name, cJSON_CreateString(text));
}

bool translation_move(const translation *t, cJSON *from, const char *name, cJSON *to,
                      const char *inner)
{
    if (!json_get(from, name)) return true;
    return translation_put(t, to, inner, cJSON_DetachItemFromObjectCaseSensitive(from, name));
}

cJSON *translation_message(const translation *t, const char *role)
{
    cJSON *message = cJSON_CreateObject();

    if (!translation_add(t, t->messages, message)) return NULL;
    return translation_put_text(t, message, "role", role) ? message : NULL;
}

cJSON *translation_function(const translation *t, cJSON *array)
{
    cJSON *outer = cJSON_CreateObject();

    if (!translation_add(t, array, outer) ||
        !translation_put_text(t, outer, "type", "function"))
        return NULL;
    if (!translation_put(t, outer, "function", cJSON_CreateObject())) return NULL;
    return cJSON_GetObjectItemCaseSensitive(outer, "function");
}

bool translation_refuse(const translation *t, err e, const char *path, const char *format, ...)
{
    char sentence[256];
    va_list args;

    va_start(args, format);
    vsnprintf(sentence, sizeof sentence, format, args);
    va_end(args);
    return fault_refuse(t->why, e, path, "%s", sentence);
}
