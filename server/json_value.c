/* json_value.c - cJSON's tree, walked; json_parse has bounded its depth. */
#include "server/json_value.h"

#include <math.h>
#include <string.h>

err json_value_text(jinja_arena *a, const char *text, jinja_value *out)
{
    return jinja_make_text(a, text, strlen(text), false, out);
}

/* cJSON keeps doubles: 1.0 and 1 are one to it. */
static jinja_value number(double v)
{
    return fabs(v) < 9e15 && v == floor(v) ? jinja_int((int64_t)v) : jinja_float(v);
}

static err make_list(jinja_arena *a, const cJSON *item, jinja_value *out)
{
    const cJSON *i;
    jinja_value v;

    TRY(jinja_make_list(a, JINJA_LIST_FORM, 0, out));
    cJSON_ArrayForEach (i, item) {
        TRY(json_value_make(a, i, &v));
        TRY(jinja_list_add(a, out->is.list, v));
    }
    return ERR_OK;
}

static err make_dict(jinja_arena *a, const cJSON *item, jinja_value *out)
{
    jinja_value key, v;
    const cJSON *i;

    TRY(jinja_make_dict(a, out));
    cJSON_ArrayForEach (i, item) {
        TRY(json_value_text(a, i->string, &key));
        TRY(json_value_make(a, i, &v));
        TRY(jinja_dict_set(a, out->is.dict, key, v));
    }
    return ERR_OK;
}

err json_value_make(jinja_arena *a, const cJSON *item, jinja_value *out)
{
    if (cJSON_IsString(item)) return json_value_text(a, item->valuestring, out);
    if (cJSON_IsArray(item)) return make_list(a, item, out);
    if (cJSON_IsObject(item)) return make_dict(a, item, out);
    *out = jinja_none();
    if (cJSON_IsBool(item)) *out = jinja_bool(cJSON_IsTrue(item));
    if (cJSON_IsNumber(item)) *out = number(item->valuedouble);
    return ERR_OK;
}
