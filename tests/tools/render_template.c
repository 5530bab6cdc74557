/* render_template.c - runs chat templates for tests/templates/check.py: a line of JSON in,
 * {"template": text, "given": [variables, ...]}, a line out, an answer to each: {"text": what
 * it writes, "request": the bytes of it that a request wrote} or {"error": sentence, "raised":
 * whether the template said so, "line": its line}. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/template/jinja.h"
#include "server/json.h"
#include "server/json_value.h"
#include "server/text.h"

enum { MOST_BYTES = 64 << 20 };

static void write_fault(text_builder *t, const jinja_fault *why, err e)
{
    text_add_string(t, "{\"error\":");
    text_add_json_string(t, why->text[0] ? why->text : err_text(e));
    text_addf(t, ",\"raised\":%s,\"line\":%d}", why->raised ? "true" : "false", why->line);
}

static size_t count_request(jinja_text text)
{
    size_t n = 0;

    for (size_t i = 0; i < text.n; i++) n += !jinja_text_trusted(text, i);
    return n;
}

static void render(text_builder *t, const jinja *template, const cJSON *given)
{
    jinja_run *r = NULL;
    jinja_fault why = {0};
    jinja_text text;
    jinja_value v;
    err e = jinja_open(&r, MOST_BYTES, NULL);

    if (e == ERR_OK) e = json_value_make(jinja_arena_of(r), given, &v);
    if (e == ERR_OK) e = jinja_render(r, template, v.is.dict, &text, &why);
    if (e == ERR_OK) {
        text_add_string(t, "{\"text\":");
        text_add_json(t, jinja_text_at(text), text.n);
        text_addf(t, ",\"request\":%zu}", count_request(text));
    } else
        write_fault(t, &why, e);
    jinja_close(r);
}

static void answer(text_builder *t, const cJSON *line)
{
    const char *source = json_get(line, "template")->valuestring;
    const cJSON *given;
    jinja *template = NULL;
    jinja_fault why = {0};
    const char *between = "[";
    const err e = jinja_compile(&template, source, strlen(source), &why);

    cJSON_ArrayForEach (given, json_get(line, "given")) {
        text_add_string(t, between);
        if (e == ERR_OK)
            render(t, template, given);
        else
            write_fault(t, &why, e);
        between = ",";
    }
    text_add_string(t, "]\n");
    jinja_free(template);
}

int main(void)
{
    char *line = NULL, *out;
    size_t room = 0, written;
    ssize_t n;

    while ((n = getline(&line, &room, stdin)) > 0) {
        text_builder t = {0};
        cJSON *body = NULL;
        fault why;

        if (!json_parse_file(&body, line, (size_t)n, "line", &why)) {
            fprintf(stderr, "%s\n", why.sentence);
            return 1;
        }
        answer(&t, body);
        cJSON_Delete(body);
        out = text_take(&t, &written);
        if (!out) return 1;
        fwrite(out, 1, written, stdout);
        fflush(stdout);
        free(out);
    }
    free(line);
    return 0;
}
