/* fuzz_tools.c - any text as an answer of any format, in any cuts.
 *
 * The first byte chooses the format, the second where thoughts are. Cut at each byte or not at
 * all, the answer must say the same; pieces come in their order, calls count from 0, and text
 * is UTF-8 by itself where the answer is. Seeds: tests/fuzz/tools/. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "engine/utf8.h"
#include "server/api/tool_parse.h"
#include "server/text.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const char functions[] =
    "[{\"name\":\"f\",\"parameters\":{\"properties\":{\"s\":{\"type\":\"string\"},"
    "\"a\":{\"type\":\"integer\"},\"n\":{\"type\":[\"string\",\"null\"]},\"x\":{}}}},"
    "{\"name\":\"g\"}]";

static void must(bool holds)
{
    if (!holds) abort();
}

/* All that is told, each piece behind a byte for its kind where that changes. */
static void tell(text_builder *t, int *last, const piece *p, int *calls)
{
    const char kind = (char)('0' + p->kind);

    if (p->kind == PIECE_CALL) {
        must(p->call == (*calls)++ && p->id[0] && p->name[0]);
        text_addf(t, "%c%s", kind, p->name);
    } else {
        must(p->len > 0 && (p->kind != PIECE_ARGUMENTS || p->call == *calls - 1));
        must(utf8_valid(p->text, p->len));
        if (*last != (int)p->kind) text_add(t, &kind, 1);
        text_add(t, p->text, p->len);
    }
    *last = (int)p->kind;
}

static char *parse(const tool_parse_setup *s, const char *text, size_t n, bool cut,
                   size_t *told)
{
    tool_parser *p;
    text_builder t = {0};
    int last = -1, calls = 0;

    must(tool_parse_new(&p, s) == ERR_OK);
    for (size_t i = 0, m; i <= n; i += m) {
        const piece *pieces;
        size_t count;

        m = cut && i < n ? 1 : n - i;
        while (i + m < n && ((unsigned char)text[i + m] & 0xc0) == 0x80) m++;
        tool_parse_feed(p, text + i, m);
        if (i + m == n) tool_parse_end(p);
        must(tool_parse_take(p, &pieces, &count) == ERR_OK);
        for (size_t k = 0; k < count; k++) tell(&t, &last, &pieces[k], &calls);
        if (i + m == n) break;
    }
    must(tool_parse_calls(p) == (size_t)calls);
    tool_parse_free(p);
    text_add(&t, "", 0);
    return text_take(&t, told);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static cJSON *list;
    const char *text = (const char *)data + 2;
    tool_parse_setup s = {0};
    size_t formats = 0, n, m;
    char *whole, *cut;

    if (size < 2 || size > 4096 || memchr(data + 2, 0, size - 2)) return 0;
    if (!utf8_valid(text, size - 2)) return 0;
    if (!list) list = cJSON_Parse(functions);
    while (tool_format_at(formats)) formats++;
    s.format = tool_format_at(data[0] % (formats + 1));
    s.functions = s.format ? list : NULL;
    if (data[1] & 1) s.thoughts = (tool_thoughts){"<think>", "</think>"};
    s.opened = data[1] & 2;
    s.silent = data[1] & 4;
    s.twice = data[1] & 8;
    whole = parse(&s, text, size - 2, false, &n);
    cut = parse(&s, text, size - 2, true, &m);
    must(n == m && (!n || memcmp(whole, cut, n) == 0));
    free(whole);
    free(cut);
    return 0;
}
