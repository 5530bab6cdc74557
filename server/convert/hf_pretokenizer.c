/* hf_pretokenizer.c - spells the steps out, and finds the row that has them.
 *
 * GGUF has one word for the way a vocabulary cuts text ("llama-bpe"), tokenizer.json a list of
 * steps with their expressions. The steps are written as text, a line each, and compared with
 * those of the rows: a vocabulary that cuts in almost the same way would give other tokens, so
 * it is refused, with its steps in the sentence. */
#include "server/convert/hf_pretokenizer.h"

#include <stdlib.h>
#include <string.h>

#include "server/text.h"

/* What changes the cut is spelt out; a step of another type shows by its name alone, and then
 * no row matches. */
static void add_step(text_builder *t, const cJSON *step)
{
    const cJSON *type = json_get(step, "type"), *pattern = json_get(step, "pattern");
    const cJSON *regex = json_get(pattern, "Regex");
    const char *name = cJSON_IsString(type) ? type->valuestring : "";

    if (!regex) regex = json_get(pattern, "String");
    if (strcmp(name, "Split") == 0 && cJSON_IsString(regex)) {
        text_add_string(t, "split ");
        text_add_string(t, regex->valuestring);
    } else if (strcmp(name, "Digits") == 0 &&
               cJSON_IsTrue(json_get(step, "individual_digits"))) {
        text_add_string(t, "digits");
    } else if (strcmp(name, "ByteLevel") == 0) {
        text_add_string(t,
                        cJSON_IsFalse(json_get(step, "use_regex")) ? "bytes plain" : "bytes");
    } else {
        text_add_string(t, name);
    }
    text_add_string(t, "\n");
}

static bool steps_match(const char *steps, const char *row)
{
    const size_t n = strlen(row);

    return row[n - 1] == '*' ? strncmp(steps, row, n - 1) == 0 : strcmp(steps, row) == 0;
}

static const char *name_steps(const char *steps, const cJSON *ignore_merges)
{
    typedef enum whole { APART, WHOLE, EITHER } whole;
    static const struct {
        const char *name;
        whole kept;
        const char *steps;
    } rows[] = {
#define HF_PRETOKENIZER(name, kept, steps) {name, kept, steps},
#include "server/convert/hf_pretokenizers.def"
#undef HF_PRETOKENIZER
    };
    const whole wanted = cJSON_IsFalse(ignore_merges) ? APART : WHOLE;

    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
        if (steps_match(steps, rows[i].steps) &&
            (rows[i].kept == wanted || rows[i].kept == EITHER))
            return rows[i].name;
    return NULL;
}

const char *hf_pretokenizer_name(const hf_vocab *v, fault *why)
{
    const cJSON *pre = json_get(v->f->tokenizer, "pre_tokenizer");
    const cJSON *list = json_get(pre, "pretokenizers"), *step;
    text_builder t = {0};
    const char *name;
    char *steps;

    text_add_string(&t, "");
    cJSON_ArrayForEach (step, list) add_step(&t, step);
    if (!list && pre) add_step(&t, pre);
    steps = text_take(&t, NULL);
    if (!steps) {
        fault_refuse(why, ERR_JSON, NULL, "out of memory");
        return NULL;
    }
    name = name_steps(steps, json_get(v->model, "ignore_merges"));
    if (!name) hf_vocab_refuse(why, "its way to cut text is not known:", steps);
    free(steps);
    return name;
}

/* Does the first of a normalizer's or pre-tokenizer's steps put a space before the text? */
static bool has_step(const cJSON *item, const char *member, const char *type)
{
    const cJSON *list = json_get(item, member), *step, *name = json_get(item, "type");

    if (cJSON_IsString(name) && strcmp(name->valuestring, type) == 0) return true;
    cJSON_ArrayForEach (step, list) {
        name = json_get(step, "type");
        if (cJSON_IsString(name) && strcmp(name->valuestring, type) == 0) return true;
    }
    return false;
}

/* Three generations of saying it: a normalizer that prepends, Metaspace with a scheme, and
 * before that with a flag that is true where it is absent. */
bool hf_pretokenizer_adds_space(const hf_folder *f)
{
    const cJSON *pre = json_get(f->tokenizer, "pre_tokenizer");
    const cJSON *scheme = json_get(pre, "prepend_scheme");

    if (has_step(json_get(f->tokenizer, "normalizer"), "normalizers", "Prepend")) return true;
    if (!has_step(pre, "pretokenizers", "Metaspace")) return false;
    if (cJSON_IsString(scheme)) return strcmp(scheme->valuestring, "never") != 0;
    return !cJSON_IsFalse(json_get(pre, "add_prefix_space"));
}
