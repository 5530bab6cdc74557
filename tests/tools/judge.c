/* judge.c - which documents a schema's grammar accepts: for tests that bring schemas as data.
 *
 * Each line of stdin is a JSON array of strings: a schema, then documents. Each line of stdout
 * answers one: a 1 or 0 for each document, or "refused PATH". */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "server/json.h"
#include "tests/accepts.h"

static void judge(const cJSON *line)
{
    const cJSON *schema = line->child, *doc;
    fault why;
    program *p = accepts_open(ACCEPTS_SCHEMA, schema->valuestring, &why);

    if (!p) {
        printf("refused %s\n", why.field);
        return;
    }
    for (doc = schema->next; doc; doc = doc->next)
        putchar(accepts_text(p, doc->valuestring) ? '1' : '0');
    putchar('\n');
    program_free(p);
}

/* All are strings, the first of them the schema? */
static bool is_good(const cJSON *line)
{
    const cJSON *item;

    cJSON_ArrayForEach (item, line)
        if (!cJSON_IsString(item)) return false;
    return cJSON_IsArray(line) && line->child;
}

int main(void)
{
    char *text = NULL;
    size_t room = 0;
    ssize_t n;

    while ((n = getline(&text, &room, stdin)) > 0) {
        cJSON *line = NULL;
        fault why = {0};

        text[n - (text[n - 1] == '\n')] = '\0';
        if (json_parse(&line, text, strlen(text), &why) && is_good(line))
            judge(line);
        else
            printf("refused the line\n");
        cJSON_Delete(line);
    }
    free(text);
    return 0;
}
