/* tool_parse_tell.c - pieces are put together: bytes in one buffer, and where each begins.
 *
 *   entries  | text 0 | call 1 | arguments 1 | text 2 |      kind, call, from, n
 *   bytes    the texts of all, one behind the other
 *
 * The buffer moves while it grows: so entries say where a text begins, and become pieces, which
 * point to it, once all are there. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "server/api/tool_parse_state.h"
#include "server/json.h"

void tool_parse_clear(text_builder *t)
{
    t->n = 0;
    if (t->at) t->at[0] = '\0';
}

static tool_entry *add_entry(tool_parser *p)
{
    const size_t more = p->room ? 2 * p->room : 8;
    tool_entry *bigger;
    piece *pieces;

    if (p->n_entries < p->room) return &p->entries[p->n_entries++];
    bigger = realloc(p->entries, more * sizeof *bigger);
    if (bigger) p->entries = bigger;
    pieces = bigger ? realloc(p->pieces, more * sizeof *pieces) : NULL;
    if (pieces) p->pieces = pieces;
    p->failed |= !pieces;
    if (!pieces) return NULL;
    p->room = more;
    return &p->entries[p->n_entries++];
}

/* Bytes of one kind that follow each other are one piece. */
void tool_parse_tell(tool_parser *p, piece_kind kind, const char *bytes, size_t n)
{
    const int call = kind == PIECE_ARGUMENTS ? p->calls - 1 : 0;
    tool_entry *e = p->n_entries ? &p->entries[p->n_entries - 1] : NULL;

    if (!n || (kind == PIECE_REASONING && p->setup.silent)) return;
    if (!e || e->kind != kind || e->call != call) {
        e = add_entry(p);
        if (!e) return;
        *e = (tool_entry){.kind = kind, .call = call, .from = p->bytes.n};
    }
    text_add(&p->bytes, bytes, n);
    e->n += n;
}

void tool_parse_arguments(tool_parser *p, const char *bytes, size_t n)
{
    if (p->open)
        tool_parse_tell(p, PIECE_ARGUMENTS, bytes, n);
    else
        text_add(&p->early, bytes, n);
}

void tool_parse_quoted(tool_parser *p, char c)
{
    char escape[8] = {'\\', c};

    if (c == '"' || c == '\\') {
        tool_parse_arguments(p, escape, 2);
    } else if ((unsigned char)c >= 0x20) {
        tool_parse_arguments(p, &c, 1);
    } else {
        const char *letter = strchr("b\bf\fn\nr\rt\t", c);

        escape[1] = letter ? letter[-1] : 'u';
        if (!letter) snprintf(escape + 2, 5, "%04x", (unsigned)(unsigned char)c);
        tool_parse_arguments(p, escape, strlen(escape));
    }
}

/* Nine letters and digits where the format has so many, else a name as OpenAI has it. */
static void make_id(const tool_parser *p, char id[RANDOM_ID_BYTES])
{
    static const char letters[] =
        "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
    const int n = p->setup.format->ids;
    uint64_t x = random_number();

    if (!n) {
        random_id(id, "call_");
        return;
    }
    for (int i = 0; i < n; i++, x /= 62) id[i] = letters[x % 62];
    id[n] = '\0';
}

static const cJSON *find_function(const tool_parser *p, const char *name)
{
    const cJSON *f, *own;

    cJSON_ArrayForEach (f, p->setup.functions) {
        own = json_get(f, "name");
        if (cJSON_IsString(own) && strcmp(own->valuestring, name) == 0) return f;
    }
    return NULL;
}

void tool_parse_call(tool_parser *p, const char *name)
{
    tool_entry *e = add_entry(p);
    char id[RANDOM_ID_BYTES];

    p->schema = json_get(find_function(p, name), "parameters");
    p->open = true;
    p->calls++;
    tool_parse_clear(&p->raw);
    tool_parse_clear(&p->blanks);
    if (!e) return;
    make_id(p, id);
    *e = (tool_entry){
        .kind = PIECE_CALL, .call = p->calls - 1, .from = p->bytes.n, .n = strlen(name)};
    text_add(&p->bytes, name, e->n + 1);
    e->id = p->bytes.n;
    text_add(&p->bytes, id, strlen(id) + 1);
    tool_parse_tell(p, PIECE_ARGUMENTS, p->early.at, p->early.n);
    tool_parse_clear(&p->early);
}

/* Places become pointers now that the bytes stay where they are. */
err tool_parse_take(tool_parser *p, const piece **pieces, size_t *n)
{
    const char *at = p->bytes.at;

    if (p->failed || p->bytes.failed || p->blanks.failed || p->raw.failed || p->word.failed ||
        p->early.failed)
        return ERR_NOMEM;
    for (size_t i = 0; i < p->n_entries; i++) {
        const tool_entry *e = &p->entries[i];
        const bool call = e->kind == PIECE_CALL;

        p->pieces[i] = (piece){.kind = e->kind,
                               .call = e->call,
                               .id = call ? at + e->id : NULL,
                               .name = call ? at + e->from : NULL,
                               .text = call ? NULL : at + e->from,
                               .len = call ? 0 : e->n};
    }
    *pieces = p->pieces;
    *n = p->n_entries;
    p->n_entries = 0;
    p->bytes.n = 0;
    return ERR_OK;
}

bool tool_parse_waits(const tool_parser *p)
{
    return p->n_entries > 0;
}
