/* test_chat_setup.c - which template a server writes conversations with, by options and file.
 */
#include "server/chat_setup.h"

#include <stdlib.h>
#include <string.h>

#include "engine/template/chat.h"
#include "tests/test.h"
#include "tests/tiny.h"
#include "tests/vocabulary.h"

/* A file with that template; NULL: with none. */
static vocabulary open_with(const char *source)
{
    tiny *m = tiny_new();

    tiny_remove(m, "tokenizer.chat_template");
    if (source) tiny_set_text(m, "tokenizer.chat_template", source);
    return vocabulary_open_tiny(m);
}

static err open_setup(chat_setup *s, const vocabulary *v, const config *c, fault *why)
{
    *why = (fault){0};
    return chat_setup_open(s, c, v->file, v->t, why);
}

TEST(chat_setup_without_options_has_the_files_template)
{
    vocabulary v = open_with("own");
    const config c = {0};
    chat_setup s;
    fault why;

    CHECK(open_setup(&s, &v, &c, &why) == ERR_OK);
    CHECK(strcmp(chat_source(s.templates), "own") == 0);
    CHECK(!s.plain && !s.kwargs && !*s.file_problem);
    chat_setup_close(&s);
    vocabulary_close(&v);
}

TEST(chat_setup_writes_plain_lines_only_when_asked_to)
{
    static const char *const bad[] = {NULL, "{% nosuch %}"};

    for (int i = 0; i < 2; i++) {
        vocabulary v = open_with(bad[i]);
        config c = {0};
        chat_setup s;
        fault why;

        CHECK(open_setup(&s, &v, &c, &why) == ERR_OK);
        CHECK(chat_problem(s.templates) && !s.plain && *s.file_problem);
        chat_setup_close(&s);
        c.plain_chat = true;
        CHECK(open_setup(&s, &v, &c, &why) == ERR_OK);
        CHECK(!chat_problem(s.templates) && s.plain && *s.file_problem);
        CHECK(strcmp(chat_source(s.templates), chat_catalog_source("plain")) == 0);
        chat_setup_close(&s);
        vocabulary_close(&v);
    }
}

/* Where the file's works, --plain-chat changes nothing. */
TEST(chat_setup_options_name_templates_and_values)
{
    vocabulary v = open_with("own");
    config c = {.plain_chat = true, .chat_template_kwargs = (char *)"{\"a\":1}"};
    chat_setup s;
    fault why;

    CHECK(open_setup(&s, &v, &c, &why) == ERR_OK && !s.plain);
    CHECK(strcmp(chat_source(s.templates), "own") == 0 && cJSON_IsObject(s.kwargs));
    chat_setup_close(&s);
    c.chat_template = (char *)"chatml";
    CHECK(open_setup(&s, &v, &c, &why) == ERR_OK);
    CHECK(strcmp(chat_source(s.templates), chat_catalog_source("chatml")) == 0);
    chat_setup_close(&s);
    c.chat_template = (char *)"/nonexistent/file";
    CHECK(open_setup(&s, &v, &c, &why) == ERR_OPEN);
    CHECK(strcmp(why.field, "--chat-template: /nonexistent/file") == 0);
    c = (config){.chat_template_kwargs = (char *)"[]"};
    CHECK(open_setup(&s, &v, &c, &why) == ERR_JSON);
    CHECK(strstr(why.field, "--chat-template-kwargs"));
    vocabulary_close(&v);
}
