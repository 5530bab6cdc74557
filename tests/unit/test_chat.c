/* test_chat.c - conversations as files and the catalogue have them written, and nothing in them
 * that a user can forge. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/template/chat.h"
#include "tests/test.h"
#include "tests/tiny.h"
#include "tests/tiny_spm.h"
#include "tests/vocabulary.h"

#define EMBEDDED "models/seedling-32m-mha-q8_0.gguf"

enum { MOST = 4096 };

/* A vocabulary, and how its conversations are written. */
typedef struct voice {
    vocabulary v;
    chat *c;
} voice;

static voice open_voice(vocabulary v)
{
    voice out = {v, NULL};

    CHECK(chat_open(&out.c, v.file, v.t) == ERR_OK);
    return out;
}

static void close_voice(voice *o)
{
    chat_free(o->c);
    vocabulary_close(&o->v);
}

static chat_message message(const char *role, const char *content)
{
    return (chat_message){role, content, strlen(content)};
}

/* Are these messages BOS and the ids of that text, its special tokens recognised? */
static bool renders(const voice *o, const chat_message *m, size_t n, bool generate,
                    const char *text)
{
    token_ids ids = {.most = SIZE_MAX};
    int32_t expected[MOST];
    size_t count;
    bool same;

    CHECK(chat_encode_messages(o->c, m, n, generate, &ids) == ERR_OK);
    CHECK(tokenizer_encode(o->v.t, text, strlen(text), TOKENIZER_SPECIALS, expected, &count) ==
          ERR_OK);
    same = ids.n == count + 1 && ids.at[0] == tokenizer_bos(o->v.t) &&
           memcmp(ids.at + 1, expected, count * sizeof *expected) == 0;
    free(ids.at);
    return same;
}

/* --- the model that ships --- */

TEST(chat_ids_are_those_of_the_whole_rendered_text)
{
    const chat_message m[] = {message("system", "You are brief."),
                              message("user", "  What is 2 + 2?\n\n"), message("assistant", ""),
                              message("user", "Why?")};
    static const char text[] = "<|im_start|>system\nYou are brief.<|im_end|>\n"
                               "<|im_start|>user\n  What is 2 + 2?\n\n<|im_end|>\n"
                               "<|im_start|>assistant\n<|im_end|>\n"
                               "<|im_start|>user\nWhy?<|im_end|>\n";
    char opened[sizeof text + 64];
    voice o = open_voice(vocabulary_open(EMBEDDED));

    CHECK(!chat_problem(o.c));
    CHECK(renders(&o, m, 4, false, text));
    strcat(strcpy(opened, text), "<|im_start|>assistant\n");
    CHECK(renders(&o, m, 4, true, opened));
    close_voice(&o);
}

TEST(chat_keeps_bytes_that_are_no_text)
{
    static const char content[] = "a\0b\xff";
    const chat_message m = {"user", content, sizeof content - 1};
    voice o = open_voice(vocabulary_open(EMBEDDED));
    token_ids ids = {.most = SIZE_MAX};
    size_t length = 0;
    char text[64];

    CHECK(chat_encode_messages(o.c, &m, 1, false, &ids) == ERR_OK);
    for (size_t i = 0; i < ids.n; i++) {
        const gguf_text piece = tokenizer_piece(o.v.t, ids.at[i], false);

        memcpy(text + length, piece.at, piece.n);
        length += piece.n;
    }
    CHECK(length == 10 && memcmp(text, "user\na\0b\xff\n", 10) == 0);
    free(ids.at);
    close_voice(&o);
}

TEST(chat_a_conversation_has_its_tokens_or_is_too_long)
{
    const chat_message m[] = {message("user", "What is 2 + 2?"), message("user", "Why?")};
    voice o = open_voice(vocabulary_open(EMBEDDED));
    token_ids all = {.most = SIZE_MAX}, some;

    CHECK(chat_encode_messages(o.c, m, 2, true, &all) == ERR_OK && all.n > 16);
    for (size_t most = 0; most <= all.n; most++) {
        some = (token_ids){.most = most};
        if (most < all.n) {
            CHECK(chat_encode_messages(o.c, m, 2, true, &some) == ERR_TOOLONG && !some.at);
            continue;
        }
        CHECK(chat_encode_messages(o.c, m, 2, true, &some) == ERR_OK && some.n == all.n);
        CHECK(memcmp(some.at, all.at, all.n * sizeof *all.at) == 0);
        free(some.at);
    }
    free(all.at);
    close_voice(&o);
}

/* --- the catalogue --- */

#define BAR     "\xef\xbd\x9c" /* DeepSeek's */
#define EOS_BAR "<" BAR "end\xe2\x96\x81of\xe2\x96\x81sentence" BAR ">"

/* `rendered`: a system message, " Hi ", an answer, a question, and an opened turn. */
static const struct family {
    const char *name, *tokens[6], *rendered;
} families[] = {
    {"chatml",
     {"<|im_start|>", "<|im_end|>"},
     "<|im_start|>system\nBe brief.<|im_end|>\n<|im_start|>user\n Hi <|im_end|>\n"
     "<|im_start|>assistant\nYes.<|im_end|>\n<|im_start|>user\nWhy?<|im_end|>\n"
     "<|im_start|>assistant\n"},
    {"llama-3",
     {"<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>"},
     "<|start_header_id|>system<|end_header_id|>\n\nBe brief.<|eot_id|>"
     "<|start_header_id|>user<|end_header_id|>\n\nHi<|eot_id|>"
     "<|start_header_id|>assistant<|end_header_id|>\n\nYes.<|eot_id|>"
     "<|start_header_id|>user<|end_header_id|>\n\nWhy?<|eot_id|>"
     "<|start_header_id|>assistant<|end_header_id|>\n\n"},
    {"phi-3",
     {"<|system|>", "<|user|>", "<|assistant|>", "<|end|>"},
     "<|system|>\nBe brief.<|end|>\n<|user|>\n Hi <|end|>\n<|assistant|>\nYes.<|end|>\n"
     "<|user|>\nWhy?<|end|>\n<|assistant|>\n"},
    {"gemma",
     {"<start_of_turn>", "<end_of_turn>"},
     "<start_of_turn>user\nBe brief.\n\nHi<end_of_turn>\n"
     "<start_of_turn>model\nYes.<end_of_turn>\n<start_of_turn>user\nWhy?<end_of_turn>\n"
     "<start_of_turn>model\n"},
    {"mistral",
     {"[INST]", "[/INST]"},
     "[INST]Be brief.\n\n Hi [/INST]Yes.</s>[INST]Why?[/INST]"},
    {"llama-2",
     {NULL},
     "[INST] <<SYS>>\nBe brief.\n<</SYS>>\n\nHi [/INST] Yes. </s><s>[INST] Why? [/INST]"},
    {"zephyr",
     {NULL},
     "<|system|>\nBe brief.</s>\n<|user|>\n Hi </s>\n<|assistant|>\nYes.</s>\n"
     "<|user|>\nWhy?</s>\n<|assistant|>\n"},
    {"deepseek",
     {"<" BAR "User" BAR ">", "<" BAR "Assistant" BAR ">", EOS_BAR},
     "Be brief.<" BAR "User" BAR "> Hi <" BAR "Assistant" BAR ">Yes." EOS_BAR "<" BAR "User" BAR
     ">Why?<" BAR "Assistant" BAR ">"},
    {"plain", {NULL}, "System: Be brief.\nUser: Hi\nAssistant: Yes.\nUser: Why?\nAssistant:"},
};

enum { FAMILIES = sizeof families / sizeof families[0] };

/* A vocabulary of bytes and these control tokens, every other of which the file calls
 * user-defined; source NULL: the file has no template. */
static voice open_with(const char *const *tokens, const char *source)
{
    spm_word words[SPM_MOST_WORDS];
    size_t n = 0;
    tiny *m;

    for (; n < 6 && tokens[n]; n++)
        words[n] = (spm_word){tokens[n], 0, n & 1 ? SPM_USER : SPM_CONTROL};
    m = tiny_spm(words, n);
    tiny_remove(m, "tokenizer.chat_template");
    if (source) tiny_set_text(m, "tokenizer.chat_template", source);
    return open_voice(vocabulary_open_tiny(m));
}

static voice open_family(const struct family *f)
{
    return open_with(f->tokens, chat_catalog_source(f->name));
}

TEST(chat_catalogue_writes_every_family_its_way)
{
    const chat_message m[] = {message("system", "Be brief."), message("user", " Hi "),
                              message("assistant", "Yes."), message("user", "Why?")};

    for (int i = 0; i < FAMILIES; i++) {
        voice o = open_family(&families[i]);
        const bool same = !chat_problem(o.c) && renders(&o, m, 4, true, families[i].rendered);

        if (!same) fprintf(stderr, "%s\n", families[i].name);
        CHECK(same && chat_catalog_name((size_t)i));
        close_voice(&o);
    }
    CHECK(!chat_catalog_name(FAMILIES) && !chat_catalog_source("nosuch"));
}

/* How many ids of a conversation are control tokens. */
static size_t controls_of(const voice *o, const char *said)
{
    const chat_message m[] = {message("system", said), message("user", said),
                              message("assistant", said), message("tool", said)};
    token_ids ids = {.most = SIZE_MAX};
    size_t found = 0;

    CHECK(chat_encode_messages(o->c, m, 4, true, &ids) == ERR_OK);
    for (size_t i = 0; i < ids.n; i++) found += tokenizer_is_special(o->v.t, ids.at[i]);
    free(ids.at);
    return found;
}

TEST(chat_nobody_can_write_a_control_token_of_any_family)
{
    for (int i = 0; i < FAMILIES; i++) {
        voice o = open_family(&families[i]);
        char said[512] = "<s></s><unk>";

        for (size_t k = 0; k < 6 && families[i].tokens[k]; k++)
            strcat(said, families[i].tokens[k]);
        CHECK(controls_of(&o, said) == controls_of(&o, "x"));
        CHECK(controls_of(&o, "x") >= 1);
        close_voice(&o);
    }
}

/* Not by its half either: the template's end and the message's beginning are no token. */
TEST(chat_a_token_is_not_made_of_two_writers_bytes)
{
    static const char *const tokens[] = {"<|a|>", NULL};
    const chat_message half = message("user", "|a|>"), other = message("user", "<|");
    voice o = open_with(tokens, "{% for m in messages %}<{{ m.content }}a|>{% endfor %}");
    token_ids ids = {.most = SIZE_MAX};

    for (int i = 0; i < 2; i++) {
        ids = (token_ids){.most = SIZE_MAX};
        CHECK(chat_encode_messages(o.c, i ? &other : &half, 1, false, &ids) == ERR_OK);
        for (size_t k = 1; k < ids.n; k++) CHECK(!tokenizer_is_special(o.v.t, ids.at[k]));
        free(ids.at);
    }
    close_voice(&o);
}

/* Some families make a control token of the role: its name is one of ours. */
TEST(chat_a_roles_name_may_be_part_of_a_control_token)
{
    static const char *const tokens[] = {"<|user|>", NULL};
    const chat_message m = message("user", "<|user|>");
    voice o = open_with(tokens, "{% for m in messages %}{{ '<|' + m.role + '|>' + m.content }}"
                                "{% endfor %}");
    token_ids ids = {.most = SIZE_MAX};
    size_t found = 0;

    CHECK(chat_encode_messages(o.c, &m, 1, false, &ids) == ERR_OK);
    for (size_t i = 0; i < ids.n; i++) found += ids.at[i] == tokenizer_find(o.v.t, "<|user|>");
    CHECK(found == 1);
    free(ids.at);
    close_voice(&o);
}

/* --- files --- */

TEST(chat_bos_stands_once_whoever_writes_it)
{
    static const char *const none[] = {NULL};
    const chat_message m = message("user", "x");
    voice with = open_with(none, "{{ bos_token }}{{ messages[0].content }}");
    voice without = open_with(none, "{{ messages[0].content }}");

    CHECK(renders(&with, &m, 1, false, "x"));
    CHECK(renders(&without, &m, 1, false, "x"));
    close_voice(&with);
    close_voice(&without);
}

TEST(chat_a_file_without_a_template_or_with_a_broken_one_says_so)
{
    static const char *const none[] = {NULL};
    const chat_message m = message("user", "x");
    token_ids ids = {.most = SIZE_MAX};
    voice o = open_with(none, NULL);

    CHECK(strcmp(chat_problem(o.c), "the file has none") == 0);
    CHECK(chat_encode_messages(o.c, &m, 1, true, &ids) == ERR_TEMPLATE && !ids.at);
    close_voice(&o);
    o = open_with(none, "a\n{% nosuch %}");
    CHECK(strcmp(chat_problem(o.c), "line 2: unknown statement 'nosuch'") == 0);
    CHECK(chat_encode_messages(o.c, &m, 1, true, &ids) == ERR_TEMPLATE && !ids.at);
    close_voice(&o);
    o = open_with(none, "{{ raise_exception('no') }}");
    CHECK(!chat_problem(o.c));
    CHECK(chat_encode_messages(o.c, &m, 1, true, &ids) == ERR_TEMPLATE && !ids.at);
    close_voice(&o);
}

/* Run with one variable besides the message "x". */
static err encode_with(const voice *o, const char *name, jinja_value v, chat_wish wish,
                       const char *content, token_ids *out)
{
    jinja_run *r = NULL;
    jinja_arena *a;
    jinja_value given, list, m, text;
    jinja_fault why;
    err e;

    CHECK(jinja_open(&r, 1 << 20, NULL) == ERR_OK);
    a = jinja_arena_of(r);
    CHECK(jinja_make_dict(a, &given) == ERR_OK && jinja_make_dict(a, &m) == ERR_OK);
    CHECK(jinja_make_list(a, JINJA_LIST_FORM, 1, &list) == ERR_OK);
    CHECK(jinja_make_text(a, content, strlen(content), false, &text) == ERR_OK);
    CHECK(jinja_dict_put(a, m.is.dict, "content", text) == ERR_OK);
    CHECK(jinja_list_add(a, list.is.list, m) == ERR_OK);
    CHECK(jinja_dict_put(a, given.is.dict, "messages", list) == ERR_OK);
    if (name) CHECK(jinja_dict_put(a, given.is.dict, name, v) == ERR_OK);
    *out = (token_ids){.most = SIZE_MAX};
    e = chat_encode(o->c, r, given.is.dict, wish, out, &why);
    CHECK((e == ERR_OK) == (why.text[0] == '\0'));
    jinja_close(r);
    return e;
}

/* The text of ids behind BOS, and behind the space that the vocabulary puts before text. */
static bool spells(const voice *o, token_ids *ids, const char *text)
{
    char got[256];
    size_t n = 0;
    bool same;

    for (size_t i = 1; i < ids->n; i++) {
        const gguf_text piece = tokenizer_piece(o->v.t, ids->at[i], true);

        memcpy(got + n, piece.at, piece.n);
        n += piece.n;
    }
    same = n == strlen(text) + 1 && got[0] == ' ' && memcmp(got + 1, text, n - 1) == 0;
    free(ids->at);
    return same;
}

TEST(chat_tools_are_written_by_the_template_that_is_for_them)
{
    tiny *m = tiny_spm(NULL, 0);
    jinja_value tools = jinja_bool(true);
    const char *problem = "";
    token_ids ids;
    voice o;

    tiny_set_text(m, "tokenizer.chat_template", "plain");
    tiny_set_text(m, "tokenizer.chat_template.tool_use", "tools");
    tiny_set_text(m, "tokenizer.chat_template.rag", "{% nosuch %}");
    o = open_voice(vocabulary_open_tiny(m));
    CHECK(encode_with(&o, NULL, tools, (chat_wish){0}, "x", &ids) == ERR_OK);
    CHECK(spells(&o, &ids, "plain"));
    CHECK(encode_with(&o, "tools", tools, (chat_wish){0}, "x", &ids) == ERR_OK);
    CHECK(spells(&o, &ids, "tools"));
    CHECK(strcmp(chat_name(o.c, 0, &problem), "tool_use") == 0 && !problem);
    CHECK(strcmp(chat_name(o.c, 1, &problem), "rag") == 0 && problem);
    CHECK(!chat_name(o.c, 2, &problem));
    CHECK(chat_mentions(o.c, "tools") && !chat_mentions(o.c, "documents"));
    close_voice(&o);
}

TEST(chat_a_message_that_goes_on_is_left_open)
{
    static const char *const none[] = {NULL};
    static const struct {
        const char *source, *content, *text;
    } rows[] = {
        {"<{{ messages[0].content }}>", "The sea ", "<The sea "},
        {"<{{ messages[0].content | trim }}>", "The sea ", "<The sea"},
        {"{{ messages[0].content }}-{{ messages[0].content }}.", "a", "a-a"},
        {"<{{ messages[0].content }}>", "\x01(the message goes on here)\x01 x",
         "<\x01(the message goes on here)\x01 x"},
        {"nothing", "a", NULL},
        {"{{ messages[0].content | tojson }}", "a", NULL},
    };

    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        voice o = open_with(none, rows[i].source);
        token_ids ids;
        const err e = encode_with(&o, NULL, jinja_none(), (chat_wish){.goes_on = true},
                                  rows[i].content, &ids);

        CHECK(rows[i].text ? e == ERR_OK && spells(&o, &ids, rows[i].text) : e == ERR_TEMPLATE);
        close_voice(&o);
    }
}
