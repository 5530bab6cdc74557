/* json.h - cJSON behind a parser that believes nothing, and typed getters.
 *
 * A getter leaves its result alone where the member is absent or null (both mean the
 * default), and returns false with a sentence, the parameter at fault and its code where
 * the member is not what it should be. Member names are matched case-sensitively. */
#ifndef SERVER_JSON_H
#define SERVER_JSON_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <cjson/cJSON.h>

#include "server/fault.h"

enum {
    JSON_MAX_DEPTH = 200,      /* cJSON parses and frees recursively */
    JSON_MAX_VALUES = 1 << 20, /* cJSON takes 64 bytes a value, a client two */
    JSON_FILE_VALUES = 1 << 24 /* of a file that a person names: a large vocabulary has 2M */
};

/* Parse one value: the n bytes at text, text[n] == 0. Refused: what is no UTF-8, NUL bytes
 * and \u0000 (C strings would end there), malformed \u escapes and lone surrogates, with the
 * path of the member they are in, text after the value, more than JSON_MAX_DEPTH levels or
 * JSON_MAX_VALUES values. A byte order mark is skipped. The caller frees *out with
 * cJSON_Delete. */
bool json_parse(cJSON **out, const char *text, size_t n, fault *why);

/* The same for a file's text, called `name` in the sentence; up to JSON_FILE_VALUES. */
bool json_parse_file(cJSON **out, const char *text, size_t n, const char *name, fault *why);

/* The member, or NULL where it is absent or null. */
const cJSON *json_get(const cJSON *object, const char *name);

/* A finite number within [min, max]; for get_int an integer. */
bool json_get_number(const cJSON *object, const char *name, double min, double max, double *out,
                     fault *why);
bool json_get_int(const cJSON *object, const char *name, int64_t min, int64_t max, int64_t *out,
                  fault *why);
bool json_get_bool(const cJSON *object, const char *name, bool *out, fault *why);
/* Borrowed from the document. */
bool json_get_string(const cJSON *object, const char *name, const char **out, fault *why);

/* An integer that may need all 64 bits: where the double is not exact, the digits are read
 * again from text, what json_parse was given, at its top level. */
bool json_get_int64(const cJSON *object, const char *text, const char *name, int64_t *out,
                    fault *why);

/* Is it a whole number within [min, max]? For elements of arrays. */
bool json_is_int(const cJSON *item, int64_t min, int64_t max);

#endif
