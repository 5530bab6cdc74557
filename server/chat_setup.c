/* chat_setup.c - --chat-template, --chat-template-kwargs, --plain-chat.
 *
 *   --chat-template NAME   the catalogue's      a broken one ends the start
 *   --chat-template FILE   a file's             likewise
 *   none                   the model file's     a broken one is said, and chats are refused,
 *                                               or answered in plain lines with --plain-chat */
#include "server/chat_setup.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/template/chat.h"
#include "server/document.h"
#include "server/json.h"

/* An option is at fault: `field` is what the command's message begins with. */
static err blame(fault *why, err e, const char *option, const char *sentence)
{
    err_blame(why, e, option);
    if (why && sentence)
        snprintf(why->field, sizeof why->field, "%s: %.220s", option, sentence);
    return e;
}

/* A name of the catalogue counts before a file that is called like it. */
static err open_named(chat_setup *s, const char *named, const tokenizer *t, fault *why)
{
    const char *source = chat_catalog_source(named);
    size_t n = source ? strlen(source) : 0;
    char *read = NULL;
    err e;

    if (!source) source = read = document_read(named, &n);
    if (!source) return blame(why, ERR_OPEN, "--chat-template", named);
    e = chat_open_source(&s->templates, source, n, t);
    free(read);
    if (e == ERR_OK && chat_problem(s->templates))
        e = blame(why, ERR_TEMPLATE, "--chat-template", chat_problem(s->templates));
    return e;
}

static err open_plain(chat_setup *s, const tokenizer *t)
{
    const char *source = chat_catalog_source("plain");

    chat_free(s->templates);
    s->templates = NULL;
    s->plain = true;
    return chat_open_source(&s->templates, source, strlen(source), t);
}

static err open_file(chat_setup *s, const config *c, const gguf *g, const tokenizer *t)
{
    TRY(chat_open(&s->templates, g, t));
    if (!chat_problem(s->templates)) return ERR_OK;
    snprintf(s->file_problem, sizeof s->file_problem, "%s", chat_problem(s->templates));
    return c->plain_chat ? open_plain(s, t) : ERR_OK;
}

static err read_kwargs(chat_setup *s, const char *text, fault *why)
{
    fault wrong;

    if (!*text) return ERR_OK;
    if (!json_parse(&s->kwargs, text, strlen(text), &wrong))
        return blame(why, ERR_JSON, "--chat-template-kwargs", wrong.sentence);
    if (cJSON_IsObject(s->kwargs)) return ERR_OK;
    return blame(why, ERR_JSON, "--chat-template-kwargs", "not an object");
}

err chat_setup_open(chat_setup *out, const config *c, const gguf *g, const tokenizer *t,
                    fault *why)
{
    const char *named = c->chat_template ? c->chat_template : "";
    chat_setup s = {0};
    err e = *named ? open_named(&s, named, t, why) : open_file(&s, c, g, t);

    if (e == ERR_OK)
        e = read_kwargs(&s, c->chat_template_kwargs ? c->chat_template_kwargs : "", why);
    if (e == ERR_OK)
        *out = s;
    else
        chat_setup_close(&s);
    return e;
}

void chat_setup_close(chat_setup *s)
{
    chat_free(s->templates);
    cJSON_Delete(s->kwargs);
    *s = (chat_setup){0};
}
