/* test_tok_split.c - what each pre-tokenizer makes of texts: expected pieces written by hand,
 * after the patterns that the families publish. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/tokenizer/tok_split.h"
#include "engine/utf8.h"
#include "tests/test.h"

static const char *const rows[] = {
#define PRETOKENIZER(name, keeps_words, adds_bos, normal, ...) name,
#include "engine/tokenizer/pretokenizers.def"
#undef PRETOKENIZER
};

enum { ROWS = sizeof rows / sizeof rows[0], MOST = 512 };

static tok_split *open_named(const char *name)
{
    tok_split *s = NULL;

    CHECK(tok_split_open(&s, (gguf_text){name, strlen(name)}) == ERR_OK);
    return s;
}

/* Pieces with a | between them. */
typedef struct joined {
    char text[MOST];
    size_t n;
} joined;

static err join(void *arg, gguf_text piece)
{
    joined *j = arg;

    CHECK(piece.n && j->n + piece.n + 2 < MOST);
    if (j->n) j->text[j->n++] = '|';
    memcpy(j->text + j->n, piece.at, piece.n);
    j->n += piece.n;
    j->text[j->n] = '\0';
    return ERR_OK;
}

/* Does the text that the pieces are become these pieces? */
static bool cuts_so(const char *name, const char *pieces)
{
    tok_split *s = open_named(name);
    joined j = {{0}, 0};
    char text[MOST];
    size_t n = 0;
    bool same;

    for (const char *c = pieces; *c; c++)
        if (*c != '|') text[n++] = *c;
    CHECK(tok_split_text(s, (gguf_text){text, n}, join, &j) == ERR_OK);
    same = strcmp(j.text, pieces) == 0;
    if (!same) fprintf(stderr, "%s: '%s', not '%s'\n", name, j.text, pieces);
    tok_split_close(s);
    return same;
}

/* names: separated by spaces. */
typedef struct expectation {
    const char *names, *pieces;
} expectation;

static void check_all(const expectation *list, size_t n)
{
    char names[256];

    for (size_t i = 0; i < n; i++) {
        snprintf(names, sizeof names, "%s", list[i].names);
        for (char *name = strtok(names, " "); name; name = strtok(NULL, " "))
            CHECK(cuts_so(name, list[i].pieces));
    }
}

#define CHECK_ALL(list) check_all(list, sizeof list / sizeof list[0])

#define LIKE_GPT_2   "gpt-2 phi-2 mpt olmo "
#define LIKE_LLAMA_3 "llama-bpe llama-v3 llama3 dbrx smaug-bpe "
#define LIKE_QWEN_2  "qwen2 deepseek-r1-qwen stablelm2 "
#define LIKE_SMOLLM  "smollm starcoder refact command-r "
#define LIKE_GPT_4O  "gpt-4o llama4 "

TEST(split_contractions)
{
    static const expectation list[] = {
        {LIKE_GPT_2 LIKE_SMOLLM, "I|'m| can|'t|,| they|'|LL| '|em"},
        {LIKE_LLAMA_3 LIKE_QWEN_2, "I|'m| can|'t|,| they|'LL| '|em"},
        {"tekken", "I|'m| can|'t|,| they|'LL| '|em"},
        {LIKE_GPT_4O, "I'm| can't|,| they'LL| '|em"},
        {"deepseek-llm deepseek-coder", "I|'|m| can|'|t|,| they|'|LL| '|em"},
        {"deepseek-v3", "I|'m| can|'t|,| they|'LL| '|em"},
        {"default falcon", "I|'|m| can|'|t|,| they|'|LL| |'|em"},
    };

    CHECK_ALL(list);
}

TEST(split_digits)
{
    static const expectation list[] = {
        {LIKE_GPT_2, "1234567| 12|th|1"},
        {LIKE_LLAMA_3 LIKE_GPT_4O "deepseek-v3 default", "123|456|7| |12|th|1"},
        {"falcon", "123|456|7| 12|th|1"},
        {LIKE_QWEN_2 LIKE_SMOLLM "tekken deepseek-coder", "1|2|3|4|5|6|7| |1|2|th|1"},
        {"deepseek-llm", "1234567| |12|th|1"},
        /* a fraction, a Roman numeral and an Arabic digit are numbers, too */
        {LIKE_GPT_2, "\xc2\xbd\xe2\x85\xa7\xd9\xa3"},
        {LIKE_QWEN_2, "\xc2\xbd|\xe2\x85\xa7|\xd9\xa3"},
    };

    CHECK_ALL(list);
}

/* U+4F60 U+597D U+FF0C U+4E16 U+754C: "hello, world" in Chinese */
#define HELLO "\xe4\xbd\xa0\xe5\xa5\xbd"
#define COMMA "\xef\xbc\x8c"
#define WORLD "\xe4\xb8\x96\xe7\x95\x8c"

TEST(split_scripts_without_spaces)
{
    static const expectation list[] = {
        {LIKE_GPT_2 "default deepseek-llm deepseek-v3", HELLO "|" COMMA "|" WORLD "|12"},
        {LIKE_LLAMA_3 LIKE_GPT_4O, HELLO "|" COMMA WORLD "|12"},
        {LIKE_QWEN_2 "tekken", HELLO "|" COMMA WORLD "|1|2"},
        {LIKE_SMOLLM "deepseek-coder", HELLO "|" COMMA "|" WORLD "|1|2"},
        /* Latin letters stick to them, or do not */
        {LIKE_GPT_2 LIKE_LLAMA_3, HELLO "ab" WORLD},
        {"deepseek-llm deepseek-coder", HELLO "|ab|" WORLD},
        {"deepseek-v3", HELLO "|ab|" WORLD},
    };

    CHECK_ALL(list);
}

TEST(split_white_space)
{
    static const expectation list[] = {
        {LIKE_GPT_2 LIKE_SMOLLM "default falcon", "a| | b|\n\n|\n|x| \n"},
        {LIKE_LLAMA_3 LIKE_QWEN_2 LIKE_GPT_4O "tekken deepseek-v3", "a| | b|\n\n\n|x| \n"},
        {"deepseek-coder", "a| | b|\n|\n|\n|x| |\n"},
        {"deepseek-llm", "a| | b|\n|\n|\n|x| |\n"},
        {LIKE_LLAMA_3, "a| \n \n| b|\t\t|\tc|   "},
        {LIKE_GPT_2, "a| \n \n| b|\t\t|\t|c|   "},
        {"deepseek-llm", "a|\t\t|\tc|   "},
        /* a no-break space is one, U+180E is none */
        {LIKE_GPT_2, "a|\xc2\xa0|b|\xe1\xa0\x8e|c"},
        {LIKE_LLAMA_3, "a|\xc2\xa0"
                       "b|\xe1\xa0\x8e"
                       "c"},
    };

    CHECK_ALL(list);
}

TEST(split_punctuation)
{
    static const expectation list[] = {
        {LIKE_GPT_2 LIKE_SMOLLM, "a|//|\n|/|b| (|c|).|\n"},
        {LIKE_LLAMA_3 LIKE_QWEN_2, "a|//\n|/b| (|c|).\n"},
        {"tekken " LIKE_GPT_4O, "a|//\n/|b| (|c|).\n"},
        {"deepseek-llm deepseek-coder", "a|//|\n|/|b| (|c|).|\n"},
        {"default falcon", "a|//|\n|/|b| |(|c|).|\n"},
        {"deepseek-v3", "a|//\n|/b| (|c|).\n"},
        {LIKE_LLAMA_3, "x|+=$|y| ==\xe2\x82\xac|"
                       "z"},
        /* their range of CJK, U+0800 to U+4E00, holds the euro sign, too */
        {"deepseek-llm deepseek-coder", "x|+=$|y| ==|\xe2\x82\xac|z"},
    };

    CHECK_ALL(list);
}

/* a combining acute, and an emoji */
#define ACUTE "\xcc\x81"
#define LLAMA "\xf0\x9f\xa6\x99"

TEST(split_marks_and_emoji)
{
    static const expectation list[] = {
        {LIKE_GPT_2 LIKE_SMOLLM LIKE_LLAMA_3 LIKE_QWEN_2, "e|" ACUTE LLAMA "|x| " LLAMA},
        {"deepseek-llm deepseek-coder", "e|" ACUTE LLAMA "|x| " LLAMA},
        {"tekken " LIKE_GPT_4O, "e" ACUTE "|" LLAMA "x| " LLAMA},
        {"deepseek-v3", "e" ACUTE "|" LLAMA "|x| " LLAMA},
    };

    CHECK_ALL(list);
}

TEST(split_capitals)
{
    static const expectation list[] = {
        {LIKE_GPT_2 LIKE_LLAMA_3 LIKE_QWEN_2 LIKE_SMOLLM "deepseek-coder",
         "HelloWorld| XMLHttp| \xc3\x84pfel"},
        {"tekken " LIKE_GPT_4O, "Hello|World| XMLHttp| \xc3\x84pfel| NASA"},
        {"deepseek-llm",
         "HelloWorld| XMLHttp| \xc3\x84|pfel| \xd0\xbc\xd0\xb8\xd1\x80"}, /* :-~ holds letters
                                                                           */
    };

    CHECK_ALL(list);
}

TEST(split_names_that_are_not_in_the_table_are_refused)
{
    static const char *const names[] = {"", "gpt", "gpt-22", "llama", "Qwen2"};
    tok_split *s = NULL;

    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
        CHECK(tok_split_open(&s, (gguf_text){names[i], strlen(names[i])}) == ERR_TOKENIZER);
    CHECK(!s);
}

/* The text, and how far its pieces have come. */
typedef struct reading {
    gguf_text text;
    size_t at, pieces;
} reading;

static err read_on(void *arg, gguf_text piece)
{
    reading *r = arg;

    CHECK(piece.n && piece.at == r->text.at + r->at && piece.n <= r->text.n - r->at);
    r->at += piece.n;
    r->pieces++;
    return ERR_OK;
}

static size_t check_pieces(const char *name, gguf_text text)
{
    tok_split *s = open_named(name);
    reading r = {text, 0, 0};

    CHECK(tok_split_text(s, text, read_on, &r) == ERR_OK && r.at == text.n);
    tok_split_close(s);
    return r.pieces;
}

TEST(split_pieces_are_the_text)
{
    static const char *const parts[] = {
        "a", "Z", " ",   "\n",  "\r\n", "\t", "1",        "'s",  "'",        "/",
        "$", "`", COMMA, WORLD, ACUTE,  "\0", "\xc2\xa0", LLAMA, "\xd9\xa3", "ll"};
    uint64_t random = 1;
    char text[256];

    for (int i = 0; i < ROWS; i++) {
        for (int round = 0; round < 300; round++) {
            size_t n = 0;

            while (n < (size_t)round % 200) {
                const char *part;

                random = random * 6364136223846793005u + 1442695040888963407u;
                part = parts[(random >> 40) % (sizeof parts / sizeof parts[0])];
                memcpy(text + n, part, strlen(part) + (*part == '\0'));
                n += strlen(part) + (*part == '\0');
            }
            CHECK(utf8_valid(text, n));
            check_pieces(rows[i], (gguf_text){text, n});
        }
    }
}

TEST(split_of_long_runs_takes_steps_in_proportion)
{
    enum { N = 1 << 18 };
    static const char *const units[] = {"a", "A",   " ",   "\n",  "1",
                                        "!", ACUTE, WORLD, "\t ", "aA"};
    char *text = malloc(N);

    for (size_t u = 0; u < sizeof units / sizeof units[0]; u++) {
        const size_t length = strlen(units[u]), n = N / length * length;

        for (size_t i = 0; i < n; i++) text[i] = units[u][i % length];
        for (int i = 0; i < ROWS; i++) {
            text[n - 1] = length == 1 ? 'x' : text[n - 1]; /* blanks that do not end it */
            check_pieces(rows[i], (gguf_text){text, n});
        }
    }
    free(text);
}
