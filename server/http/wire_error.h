/* wire_error.h - what an err is on the wire: one table, one shape.
 * {"error":{"message","type","param","code"}}, all four keys always. */
#ifndef SERVER_HTTP_WIRE_ERROR_H
#define SERVER_HTTP_WIRE_ERROR_H

#include "engine/err.h"

typedef struct wire_error {
    int status;
    const char *type, *code; /* code NULL: null on the wire */
} wire_error;

/* The row for e; every err has one. */
wire_error wire_error_for(err e);

/* The object, malloc'd JSON: the body of an answer, or the data of an event in a stream. code,
 * param NULL: null. NULL: out of memory. */
char *wire_error_body(const char *type, const char *code, const char *param,
                      const char *message);

#endif
