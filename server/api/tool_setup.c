/* tool_setup.c - the options, and the control tokens that marks hold. */
#include "server/api/tool_setup.h"

#include <string.h>

/* Note the control tokens within a mark. They give no text, so who looks for marks in an
 * answer's text would never see them; those that end an answer never come. */
static void show(tool_setup *s, const tokenizer *t, const char *text)
{
    for (size_t n = strlen(text); n; text++, n--) {
        const int32_t id = tokenizer_match(t, text, n);
        bool known = id == TOKENIZER_NONE || tokenizer_piece(t, id, false).n ||
                     tokenizer_is_end(t, id);

        for (size_t i = 0; i < s->n_shown; i++) known |= s->shown[i] == id;
        if (!known && s->n_shown < TOOL_SETUP_SHOWN) s->shown[s->n_shown++] = id;
    }
}

static void show_marks(tool_setup *s, const tokenizer *t)
{
    static const char *const channels[] = {"<|start|>", "<|channel|>", "<|constrain|>",
                                           "<|message|>", "<|end|>"};
    const tool_format *f = s->format;
    const char *const texts[] = {f->mark,    f->open,    f->begin,    f->middle,
                                 f->end,     f->between, f->close,    f->value_open,
                                 f->key_end, f->value,   f->value_end};

    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) show(s, t, texts[i]);
    for (size_t i = 0; f->shape == TOOL_HARMONY && i < 5; i++) show(s, t, channels[i]);
    if (!s->thoughts.open) return;
    show(s, t, s->thoughts.open);
    show(s, t, s->thoughts.close);
}

bool tool_setup_reasoning(tool_setup *s, const char *name)
{
    static const struct {
        const char *name;
        bool whole, twice;
    } names[] = {{"none", true, false},
                 {"auto", false, false},
                 {"deepseek", false, false},
                 {"deepseek-legacy", false, true}};

    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        if (strcmp(name, names[i].name) != 0) continue;
        s->whole = names[i].whole;
        s->twice = names[i].twice;
        return true;
    }
    return false;
}

tool_thoughts tool_setup_split(const tool_setup *s)
{
    return s->whole ? (tool_thoughts){NULL, NULL} : s->thoughts;
}

err tool_setup_open(tool_setup *out, const config *c, const struct chat *templates,
                    const tokenizer *t, const char **what)
{
    const char *format = c->tool_format ? c->tool_format : "auto";
    tool_setup s = {.format = tool_format_of(templates),
                    .thoughts = tool_format_thoughts(templates)};

    if (strcmp(format, "auto") != 0) s.format = tool_format_named(format);
    *what = "--tool-format";
    if (!s.format) return ERR_INVALID;
    *what = "--reasoning-format";
    if (!tool_setup_reasoning(&s, c->reasoning_format ? c->reasoning_format : "auto"))
        return ERR_INVALID;
    if (s.format->shape == TOOL_HARMONY)
        s.thoughts = (tool_thoughts){"<|channel|>analysis", "<|end|>"};
    show_marks(&s, t);
    *out = s;
    return ERR_OK;
}
