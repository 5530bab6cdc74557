/* hf_pretokenizer.c - spells the steps out, and finds the row that has them.
 *
 * GGUF has one word for the way a vocabulary cuts text ("llama-bpe"), tokenizer.json a list of
 * steps with their expressions. The steps are written as text, a line each, and compared with
 * those of the rows: a vocabulary that cuts in almost the same way would give other tokens, so
 * it is refused, with its steps in the sentence. */
#include "server/convert/hf_pretokenizer.h"

#include <stdlib.h>
#include <string.h>

#include "engine/tokenizer/tok_kind.h"
#include "server/text.h"

static const char space_mark[] = "\xe2\x96\x81"; /* U+2581, SentencePiece's space */

/* To keep all that matches, or all but what does not, is the same where the expression matches
 * everything, as those of the rows do. Another behaviour is spelt out, and then no row matches.
 */
static void add_split(text_builder *t, const cJSON *step)
{
    const cJSON *pattern = json_get(step, "pattern"), *text = json_get(pattern, "Regex");
    const cJSON *behavior = json_get(step, "behavior");
    const char *how = cJSON_IsString(behavior) ? behavior->valuestring : "";
    const bool inverted = cJSON_IsTrue(json_get(step, "invert"));

    if (!text) text = json_get(pattern, "String");
    text_add_string(t, "split ");
    if (strcmp(how, inverted ? "Removed" : "Isolated") != 0)
        text_addf(t, "%s%s ", inverted ? "inverted " : "", how);
    text_add_string(t, cJSON_IsString(text) ? text->valuestring : "");
}

/* What changes the cut is spelt out; a step of another type shows by its name alone, and then
 * no row matches. */
static void add_step(text_builder *t, const cJSON *step)
{
    const cJSON *type = json_get(step, "type");
    const char *name = cJSON_IsString(type) ? type->valuestring : "";

    if (strcmp(name, "Split") == 0) {
        add_split(t, step);
    } else if (strcmp(name, "Digits") == 0 &&
               cJSON_IsTrue(json_get(step, "individual_digits"))) {
        text_add_string(t, "digits");
    } else if (strcmp(name, "ByteLevel") == 0) {
        text_add_string(t,
                        cJSON_IsFalse(json_get(step, "use_regex")) ? "bytes plain" : "bytes");
        if (cJSON_IsTrue(json_get(step, "add_prefix_space")))
            text_add_string(t, " space first");
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

/* All steps as text, for the caller to free. NULL: out of memory. */
static char *spell_steps(const cJSON *pre)
{
    const cJSON *list = json_get(pre, "pretokenizers"), *step;
    text_builder t = {0};

    text_add_string(&t, "");
    cJSON_ArrayForEach (step, list) add_step(&t, step);
    if (!list && pre) add_step(&t, pre);
    return text_take(&t, NULL);
}

/* --- SentencePiece's kinds --- */

/* Has a word a space behind its first character? */
static bool has_long_spaces(const hf_vocab *v)
{
    for (size_t i = 0; i < v->V; i++)
        if (v->text[i] && v->type[i] == TOK_NORMAL && *v->text[i] &&
            strstr(v->text[i] + 1, space_mark))
            return true;
    return false;
}

/* Three generations of saying it: a normalizer that prepends, Metaspace with a scheme, and
 * before that with a flag that is true where it is absent. A cut at each mark changes nothing
 * where no word has one behind its first character. */
static bool read_metaspace(const hf_vocab *v, hf_normalizer *z, const cJSON *step, fault *why)
{
    const cJSON *scheme = json_get(step, "prepend_scheme"),
                *mark = json_get(step, "replacement");
    const bool cuts = !cJSON_IsFalse(json_get(step, "split"));
    const char *when = cJSON_IsString(scheme) ? scheme->valuestring : NULL;

    if (cJSON_IsString(mark) && strcmp(mark->valuestring, space_mark) != 0)
        return hf_vocab_refuse(why, "Metaspace replaces spaces by", mark->valuestring);
    if (cuts && v->kind == HF_LLAMA && has_long_spaces(v))
        return hf_vocab_refuse(why,
                               "Metaspace with split is not supported for words that hold "
                               "spaces",
                               NULL);
    if (when && strcmp(when, "always") != 0 && strcmp(when, "first") != 0 &&
        strcmp(when, "never") != 0)
        return hf_vocab_refuse(why, "Metaspace has a prepend_scheme", when);
    z->marks = true;
    z->pads_single = v->kind == HF_LLAMA; /* unigram's keeps to SentencePiece */
    if (when ? strcmp(when, "never") != 0 : !cJSON_IsFalse(json_get(step, "add_prefix_space")))
        z->pads = true;
    z->pads_first = when && strcmp(when, "first") == 0;
    return true;
}

static bool is_step(const cJSON *step, const char *type)
{
    const cJSON *name = json_get(step, "type");

    return cJSON_IsString(name) && strcmp(name->valuestring, type) == 0;
}

/* Gemma's cuts at spaces, of which the marks have left none. */
static bool is_vain_split(const hf_normalizer *z, const cJSON *step)
{
    const cJSON *text = json_get(json_get(step, "pattern"), "String");

    return z->marks && is_step(step, "Split") && cJSON_IsString(text) &&
           strcmp(text->valuestring, " ") == 0;
}

static bool read_space_step(const hf_vocab *v, hf_normalizer *z, const cJSON *step, fault *why)
{
    char *steps;

    if (is_step(step, "Metaspace")) return read_metaspace(v, z, step, why);
    if (is_vain_split(z, step)) return true;
    if (v->kind == HF_T5 && is_step(step, "WhitespaceSplit")) return (z->joins_spaces = true);
    steps = spell_steps(step);
    hf_vocab_refuse(why, "its way to cut text is not known:", steps);
    free(steps);
    return false;
}

static bool read_spaces(const hf_vocab *v, hf_normalizer *z, const cJSON *pre, fault *why)
{
    const cJSON *list = json_get(pre, "pretokenizers"), *step;

    if (pre && !list && !read_space_step(v, z, pre, why)) return false;
    cJSON_ArrayForEach (step, list)
        if (!read_space_step(v, z, step, why)) return false;
    return z->marks || hf_vocab_refuse(why, "none of its steps marks spaces", NULL);
}

/* --- all kinds --- */

static const char *find_name(const hf_vocab *v, const cJSON *pre, fault *why)
{
    const char *name;
    char *steps = spell_steps(pre);

    if (!steps) {
        fault_refuse(why, ERR_JSON, NULL, "out of memory");
        return NULL;
    }
    name = name_steps(steps, json_get(v->model, "ignore_merges"));
    if (!name) hf_vocab_refuse(why, "its way to cut text is not known:", steps);
    free(steps);
    return name;
}

const char *hf_pretokenizer_name(const hf_vocab *v, hf_normalizer *z, fault *why)
{
    const cJSON *pre = json_get(v->f->tokenizer, "pre_tokenizer");

    if (v->kind == HF_GPT2) return find_name(v, pre, why);
    if (v->kind != HF_BERT) return read_spaces(v, z, pre, why) ? "default" : NULL;
    if (is_step(pre, "BertPreTokenizer")) return "default";
    hf_vocab_refuse(why, "its WordPiece has no BertPreTokenizer", NULL);
    return NULL;
}
