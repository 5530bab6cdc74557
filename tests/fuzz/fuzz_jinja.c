/* fuzz_jinja.c - any bytes as a chat template: compiled, and run with a conversation.
 *
 * What is refused must say why, in valid UTF-8; no byte of what a request wrote may come out as
 * the template's own. Seeds: tests/fuzz/jinja/. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "engine/template/jinja.h"
#include "engine/utf8.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

/* Written with a letter that no template of ASCII has: it must never be the template's. */
#define SECRET "\xe2\x98\x83"

static void must(bool holds)
{
    if (!holds) abort();
}

static jinja_value text(jinja_run *r, const char *s)
{
    jinja_value v;

    must(jinja_make_text(jinja_arena_of(r), s, strlen(s), false, &v) == ERR_OK);
    return v;
}

static void put(jinja_run *r, jinja_value dict, const char *key, jinja_value v)
{
    must(jinja_dict_put(jinja_arena_of(r), dict.is.dict, key, v) == ERR_OK);
}

static jinja_value dict(jinja_run *r)
{
    jinja_value v;

    must(jinja_make_dict(jinja_arena_of(r), &v) == ERR_OK);
    return v;
}

static jinja_value message(jinja_run *r, const char *role)
{
    jinja_value m = dict(r), call = dict(r), calls;

    put(r, m, "role", text(r, role));
    put(r, m, "content", text(r, "a" SECRET " " SECRET "b\n"));
    put(r, call, "name", text(r, SECRET));
    put(r, call, "n", jinja_int(5));
    must(jinja_make_list(jinja_arena_of(r), JINJA_LIST_FORM, 0, &calls) == ERR_OK);
    must(jinja_list_add(jinja_arena_of(r), calls.is.list, call) == ERR_OK);
    put(r, m, "tool_calls", calls);
    return m;
}

static jinja_value variables(jinja_run *r)
{
    static const char *const roles[] = {"system", "user", "assistant", "tool"};
    jinja_value given = dict(r), list;

    must(jinja_make_list(jinja_arena_of(r), JINJA_LIST_FORM, 0, &list) == ERR_OK);
    for (size_t i = 0; i < sizeof roles / sizeof *roles; i++)
        must(jinja_list_add(jinja_arena_of(r), list.is.list, message(r, roles[i])) == ERR_OK);
    put(r, given, "messages", list);
    put(r, given, "add_generation_prompt", jinja_bool(true));
    put(r, given, "x", jinja_float(1.5));
    return given;
}

/* The secret's letter is the template's own nowhere. */
static void check_marks(jinja_text out)
{
    const char *at = jinja_text_at(out);

    for (size_t i = 0; i + 3 <= out.n; i++)
        if (memcmp(at + i, SECRET, 3) == 0) must(!jinja_text_trusted(out, i));
}

static void run(const jinja *t, bool ascii)
{
    jinja_run *r = NULL;
    jinja_fault why;
    jinja_text out;
    err e;

    must(jinja_open(&r, 4 << 20, NULL) == ERR_OK);
    e = jinja_render(r, t, variables(r).is.dict, &out, &why);
    must(e == ERR_OK || e == ERR_TEMPLATE);
    must((e == ERR_OK) == (why.text[0] == '\0') && utf8_valid(why.text, strlen(why.text)));
    if (e == ERR_OK && ascii) check_marks(out);
    jinja_close(r);
}

/* No bytes beyond ASCII, and no escapes that could write them. */
static bool is_ascii(const uint8_t *data, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (data[i] >= 0x80 || data[i] == '\\') return false;
    return true;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    jinja_fault why;
    jinja *t = NULL;
    err e;

    e = jinja_compile(&t, (const char *)data, n, &why);
    must(e == ERR_OK || e == ERR_TEMPLATE);
    must((e == ERR_OK) == (why.text[0] == '\0') && utf8_valid(why.text, strlen(why.text)));
    if (e == ERR_OK) run(t, is_ascii(data, n));
    jinja_free(t);
    return 0;
}
