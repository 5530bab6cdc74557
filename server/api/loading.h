/* loading.h - what is answered before the model is there. */
#ifndef SERVER_API_LOADING_H
#define SERVER_API_LOADING_H

#include "server/http/http.h"

/* 503 with Retry-After: {"status":"loading","progress":0.42,"error":{...}}. The server behind r
 * has its runtime, loaded or not. */
void loading_answer(http_request *r);

#endif
