/* reply.h - what both generation endpoints say in the same words: the frame of an answer
 * and of a stream's events, usage, token ids, tokens as text.
 *
 * Pure text: a reply reads a generation and writes into a text_builder. Loop thread only,
 * because it reads what the scheduler has published. */
#ifndef SERVER_API_REPLY_H
#define SERVER_API_REPLY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "server/api/piece.h"
#include "server/api/request.h"
#include "server/random.h"
#include "server/sched/generation.h"
#include "server/text.h"

typedef struct reply {
    char id[RANDOM_ID_BYTES]; /* "chatcmpl-..." */
    const char *model;        /* borrowed */
    uint64_t created;         /* seconds since 1970 */
    const request *request;
    const generation *generation; /* with in.ids still there */
    const request_prompt *prompt; /* its own */
    size_t index;                 /* of the choice */
    size_t characters;            /* of the answer's tokens so far, for text_offset */
    size_t calls;                 /* of tools, in its pieces so far */
    struct blocks *blocks;        /* what its pieces have become, for dialects that say it */
    unsigned events;              /* of its stream, for dialects that count them */
    uint64_t arrived_ns;          /* its request's first line */
    size_t thoughts;              /* tokens of it that were thoughts */
} reply;

/* What one event, or the whole answer, is about. */
typedef struct reply_slice {
    size_t token_from, token_to; /* tokens [from, to) */
    size_t text_from, text_to;   /* bytes of text */
    bool first;                  /* of the stream */
    bool last;                   /* the generation has ended: says why */
    const piece *pieces;         /* [n_pieces] that the text is made of */
    size_t n_pieces;
} reply_slice;

/* `{"id":..,"object":..,"created":..,"model":..,"system_fingerprint":..`; what one endpoint
 * adds follows, and then `,"choices":[`. */
void reply_open(text_builder *t, const reply *a, const char *object);

/* `data: ` and reply_open and `,"choices":[`; then what closes it: `"usage":null` where a
 * usage event will follow, else the timings of a choice that has ended; and the blank line. */
void reply_open_event(text_builder *t, const reply *a, const char *object);
void reply_close_event(text_builder *t, const reply *a, const reply_slice *s);

/* Tokens of all choices; a prompt counts once. */
typedef struct reply_usage {
    size_t prompt, cached, completion;
    size_t rewound;                    /* of prompt, computed again */
    size_t reasoning;                  /* of completion, thoughts */
    uint64_t prompt_ns, completion_ns; /* to the first token, and from there to the end */
} reply_usage;

/* The same of one choice that has ended. */
reply_usage reply_usage_of(const reply *a);

/* `"timings":{..}` by llama-server's names. */
void reply_add_timings(text_builder *t, const reply_usage *usage);

/* The end of a whole answer: its usage. */
void reply_close(text_builder *t, const reply *a, const reply_usage *usage);

/* The event with usage and no choices, if it was asked for, and `data: [DONE]`. */
void reply_end_events(text_builder *t, const reply *a, const char *object,
                      const reply_usage *usage);

/* `"usage":{..}` */
void reply_add_usage(text_builder *t, const reply_usage *usage);

/* `,"prompt_token_ids":[..]` and `,"token_ids":[..]`, where they were asked for. */
void reply_add_prompt_ids(text_builder *t, const reply *a);
void reply_add_token_ids(text_builder *t, const reply *a, const reply_slice *s);

/* Why it has ended: "stop", "length", "tool_calls" where it stopped to call tools. */
const char *reply_finish(const reply *a);

/* `"finish_reason":"stop","stop_reason":null`: null before the end; the second is the stop
 * string that ended it, if one did. */
void reply_add_finish(text_builder *t, const reply *a, const reply_slice *s);

/* The slice's pieces of a kind as one JSON string; and without its quotes. */
void reply_add_text(text_builder *t, const reply_slice *s, piece_kind kind);
void reply_add_escaped(text_builder *t, const reply_slice *s, piece_kind kind);

/* A token as a JSON string: its text, or "bytes:\\xf0\\x9f" where that is not UTF-8. */
void reply_add_token(text_builder *t, const reply *a, int32_t id);

/* The logprob of token i. Where it is among the best its number there is used, so that
 * "is it the best?" can be asked by comparing the two. */
float reply_logprob(const reply *a, size_t i);

/* `{"token":..,"logprob":..,"bytes":[..],"top_logprobs":[..]}` of token i, as chats and
 * responses have it. */
void reply_add_logprob(text_builder *t, const reply *a, size_t i);

#endif
