/* chat.h - a conversation to token ids, as the model's own template writes it.
 *
 *   tokenizer.chat_template  --jinja-->  text, each byte the template's or a request's
 *                            --tokenizer-->  ids: control tokens only of the template's bytes
 *
 * A file may have several templates; tokenizer.chat_template.tool_use writes what comes with
 * tools. All are compiled when the model is opened. A file without one, or with one that is not
 * understood, is a model all the same: chat_problem says what is wrong, and whoever wants a
 * conversation written is refused. */
#ifndef ENGINE_TEMPLATE_CHAT_H
#define ENGINE_TEMPLATE_CHAT_H

#include <stdbool.h>
#include <stddef.h>

#include "engine/err.h"
#include "engine/gguf/gguf.h"
#include "engine/template/jinja.h"
#include "engine/tokenizer/tokenizer.h"

typedef struct chat chat;

/* The templates of g, of which t is the vocabulary; both outlive *out. The caller frees.
 * Errors: NOMEM. */
err chat_open(chat **out, const gguf *g, const tokenizer *t);

/* Templates of somebody else in their place: the n bytes at source, which need not stay.
 * ERR_NOMEM.
 */
err chat_open_source(chat **out, const char *source, size_t n, const tokenizer *t);
void chat_free(chat *c);

/* What keeps the default template from being used, with its line, or NULL. Static or c's. And
 * of the others: the i-th of the file whose name is not the default's, NULL past the last. */
const char *chat_problem(const chat *c);
const char *chat_name(const chat *c, size_t i, const char **problem);

/* The template of that name in the catalogue, or NULL; number i's name, NULL past the last. */
const char *chat_catalog_source(const char *name);
const char *chat_catalog_name(size_t i);

/* The default template's text, "" where there is none. */
const char *chat_source(const chat *c);

/* Does the template's text have this word? What it does not name it cannot make use of. */
bool chat_mentions(const chat *c, const char *word);

/* What a template is run with besides the variables that the caller has put into `given`. */
typedef struct chat_wish {
    bool generate; /* open the assistant's turn */
    bool goes_on;  /* leave the last message open, so that it is continued */
} chat_wish;

/* Encode the conversation of `given`: messages, and whatever else the template may ask for; it
 * gets what every template has (bos_token, eos_token, and tools and documents as none where
 * they are missing). BOS first where the vocabulary wants one and the template writes none.
 * out->most and out->cancel are the caller's; out->at is malloc'd, and his to free where there
 * is no error. Errors: NOMEM, those of tokenizer_append; TEMPLATE: why says what is wrong. */
err chat_encode(const chat *c, jinja_run *r, jinja_dict *given, chat_wish wish, token_ids *out,
                jinja_fault *why);

/* The same of messages that are texts alone, for who has no request. */
typedef struct chat_message {
    const char *role; /* a name that counts as the template's own */
    const char *content;
    size_t content_bytes;
} chat_message;

err chat_encode_messages(const chat *c, const chat_message *messages, size_t n, bool generate,
                         token_ids *out);

/* What a run of so many bytes of messages may take of memory. */
size_t chat_run_bytes(size_t bytes);

#endif
