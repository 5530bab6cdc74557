/* request_lists.c - the members that hold many: stop strings and logit biases.
 *
 * Both are bounded by what they cost, not by how many they are: a stop string is looked for at
 * each byte of an answer, a bias is added at each token. */
#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "server/api/request.h"

/* --- stop --- */

enum { STOP_BYTES = 4096, BIAS_TEXT_IDS = 1024 };

static bool refuse_stop(fault *why, const char *sentence)
{
    return fault_refuse(why, ERR_INVALID, "stop", sentence, (int)STOP_BYTES);
}

/* An empty stop string stops nothing: clients send it for an empty form field. */
static bool add_stop(generation_in *in, const char *stop, fault *why)
{
    if (!stop[0]) return true;
    in->stop[in->n_stop] = strdup(stop);
    if (!in->stop[in->n_stop]) return fault_fail(why, ERR_NOMEM);
    in->n_stop++;
    return true;
}

/* Before any is copied: a list of a megabyte is refused at once. */
static bool check_stops(const cJSON *list, size_t *n, fault *why)
{
    size_t bytes = 0;
    const cJSON *item;

    *n = 0;
    cJSON_ArrayForEach (item, list) {
        if (!cJSON_IsString(item)) return refuse_stop(why, "'stop' must hold strings only.");
        bytes += strlen(item->valuestring);
        if (bytes > STOP_BYTES)
            return refuse_stop(why, "The strings of 'stop' may have %d bytes in all.");
        ++*n;
    }
    return true;
}

bool request_read_stop(generation_in *in, const cJSON *body, fault *why)
{
    const cJSON *stop = json_get(body, "stop"), *item;
    cJSON one = {.type = cJSON_Array};
    cJSON only;
    size_t n;

    if (!stop) return true;
    if (cJSON_IsString(stop)) { /* as a list of one */
        only = *stop;
        only.next = NULL;
        one.child = &only;
        stop = &one;
    }
    if (!cJSON_IsArray(stop)) return refuse_stop(why, "'stop' must be a string or an array.");
    if (!check_stops(stop, &n, why)) return false;
    if (!n) return true;
    in->stop = calloc(n, sizeof *in->stop);
    if (!in->stop) return fault_fail(why, ERR_NOMEM);
    cJSON_ArrayForEach (item, stop)
        if (!add_stop(in, item->valuestring, why)) return false;
    return true;
}

/* --- logit_bias: {"id or text": number}, or [[id or "text", number], ...] --- */

static bool refuse_bias(fault *why, const char *sentence)
{
    return fault_refuse(why, ERR_INVALID, "logit_bias", "%s", sentence);
}

/* One entry: an id, or a text whose every token gets the number. */
typedef struct bias_entry {
    const char *text; /* NULL: id */
    double id, add;
} bias_entry;

/* A key of digits is an id, as everywhere. */
static bool read_key(bias_entry *out, const cJSON *item)
{
    char *end;

    errno = 0;
    *out = (bias_entry){.id = (double)strtol(item->string, &end, 10)};
    /* Digits that no long holds are still an id, and no vocabulary has it: add_id says so. */
    if (errno) out->id = -1;
    if (end == item->string || *end) out->text = item->string;
    if (!cJSON_IsNumber(item)) return false;
    out->add = item->valuedouble;
    return true;
}

/* false is llama.cpp's word for never. */
static bool read_pair(bias_entry *out, const cJSON *item)
{
    const cJSON *what = cJSON_IsArray(item) ? item->child : NULL;
    const cJSON *add = what ? what->next : NULL;

    if (!add || add->next || !(cJSON_IsNumber(add) || cJSON_IsFalse(add))) return false;
    *out = (bias_entry){.add = cJSON_IsFalse(add) ? -100 : add->valuedouble};
    if (cJSON_IsString(what))
        out->text = what->valuestring;
    else if (cJSON_IsNumber(what))
        out->id = what->valuedouble;
    else
        return false;
    return true;
}

static bool read_entry(bias_entry *out, const cJSON *list, const cJSON *item, fault *why)
{
    const bool good = cJSON_IsObject(list) ? read_key(out, item) : read_pair(out, item);

    if (!good)
        return refuse_bias(why, "'logit_bias' must be an object of token ids or texts with "
                                "numbers, or an array of such pairs.");
    /* OpenAI's bounds; at either end a token is as good as certain or ruled out. */
    if (fabs(out->add) <= 100) return true;
    return refuse_bias(why, "A value of 'logit_bias' must be a number from -100 to 100.");
}

/* The ids of a text as it stands inside other text; a control token is spelled by its name. */
static bool encode(const tokenizer *t, const char *text, token_ids *ids, fault *why)
{
    const int32_t control = tokenizer_find(t, text);
    err e;

    /* Encoded as a text it would be its letters: nobody who bans <|im_end|> means those. */
    if (control != TOKENIZER_NONE)
        e = token_ids_put(ids, control);
    else
        e = tokenizer_append(t, text, strlen(text), TOKENIZER_INSIDE, ids);
    if (e == ERR_TOOLONG)
        return fault_refuse(why, ERR_INVALID, "logit_bias",
                            "A text of 'logit_bias' may have %d tokens at most.",
                            (int)BIAS_TEXT_IDS);
    if (e != ERR_OK) return fault_fail(why, e);
    return ids->n ? true : refuse_bias(why, "A text of 'logit_bias' must not be empty.");
}

static bool add_text(generation_in *in, const bias_entry *x, const tokenizer *t, fault *why)
{
    int32_t room[BIAS_TEXT_IDS];
    token_ids ids = {.at = room, .most = BIAS_TEXT_IDS};

    if (!encode(t, x->text, &ids, why)) return false;
    for (size_t i = 0; i < ids.n; i++)
        in->bias[in->sample.n_bias++] = (sample_bias){.id = room[i], .add = (float)x->add};
    return true;
}

/* The most ids that a text may be; a control token's name is one, however short. */
static size_t most_ids(const tokenizer *t, const char *text)
{
    const size_t most = tokenizer_most_ids(t, strlen(text)) + 1;

    return most < BIAS_TEXT_IDS ? most : BIAS_TEXT_IDS;
}

static bool add_id(generation_in *in, const bias_entry *x, size_t V, fault *why)
{
    if (!(x->id >= 0 && x->id < (double)V) || x->id != floor(x->id))
        return fault_refuse(why, ERR_INVALID, "logit_bias",
                            "A token id in 'logit_bias' must be an integer from 0 to %zu.",
                            V - 1);
    in->bias[in->sample.n_bias++] = (sample_bias){.id = (int32_t)x->id, .add = (float)x->add};
    return true;
}

/* All entries are checked, and room is counted for the most tokens that they may be. */
static bool count_biases(const cJSON *list, const tokenizer *t, size_t *room, fault *why)
{
    const cJSON *item;
    bias_entry x;

    *room = 0;
    cJSON_ArrayForEach (item, list) {
        if (!read_entry(&x, list, item, why)) return false;
        *room += x.text ? most_ids(t, x.text) : 1;
    }
    return true;
}

bool request_read_bias(generation_in *in, const cJSON *body, const tokenizer *t, fault *why)
{
    const cJSON *list = json_get(body, "logit_bias"), *item;
    bias_entry x;
    size_t room;

    if (!list) return true;
    if (!cJSON_IsObject(list) && !cJSON_IsArray(list))
        return refuse_bias(why, "'logit_bias' must be an object, or an array of pairs.");
    if (!count_biases(list, t, &room, why)) return false;
    if (!room) return true;
    in->bias = calloc(room, sizeof *in->bias);
    if (!in->bias) return fault_fail(why, ERR_NOMEM);
    in->sample.bias = in->bias;
    cJSON_ArrayForEach (item, list) {
        if (!read_entry(&x, list, item, why)) return false;
        if (!(x.text ? add_text(in, &x, t, why) : add_id(in, &x, tokenizer_size(t), why)))
            return false;
    }
    return true;
}
