/* delivery_state.h - a delivery and its choices, for the files that make it and that tell of
 * it.
 *
 * A choice belongs to its delivery, its generation to the scheduler until it has ended. */
#ifndef SERVER_API_DELIVERY_STATE_H
#define SERVER_API_DELIVERY_STATE_H

#include "server/api/blocks.h"
#include "server/api/delivery.h"
#include "server/api/pieces.h"
#include "server/api/server.h"

typedef struct choice {
    struct delivery *of;
    generation *generation; /* the scheduler's until it has ended */
    reply reply;
    blocks blocks;
    size_t sent_tokens, sent_text;
    size_t observed; /* tokens that metrics have seen */
    bool reads;      /* the first of its prompt: the others begin on what it has read */
    bool runs;       /* at this moment */
    bool begun;      /* an event was written */
    pieces pieces;
    uint64_t last_token_ns;
} choice;

typedef struct delivery {
    http_request *http;
    const completion_kind *kind;
    server *server;
    request request;
    choice *choices; /* [n] by prompt */
    size_t n, left;  /* not ended */
    bool opened;     /* the headers of a stream are out */
    err result;      /* the first failure */
    key *key;        /* that counts it, or NULL */
    uint64_t held_tokens, used_tokens;
    struct delivery *next, *prev; /* of the server's that are under way */
} delivery;

/* Among those of its server that are under way, or no more. */
void delivery_list(delivery *d);
void delivery_unlist(delivery *d);

/* Tokens and time of all choices. */
reply_usage delivery_usage(const delivery *d);

/* Of each prompt's answers the likeliest come first, and are numbered so. Once all have ended.
 */
void delivery_order(delivery *d);

#endif
