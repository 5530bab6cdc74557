/* cmd_inspect.c - `xquantd inspect`: what is in a model file.
 *
 * The header and the keys alone are read, no weight. A model that cannot be served is shown all
 * the same, for that is when a person looks. Everything in the file is somebody else's text: it
 * is written so that no terminal acts on it, and in JSON so that it stays JSON. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "config/config.h"
#include "engine/gguf/gguf.h"
#include "engine/model/arch.h"
#include "engine/template/chat.h"
#include "engine/tokenizer/detok.h"
#include "engine/tokenizer/tokenizer.h"
#include "engine/utf8.h"
#include "server/cmd/command.h"
#include "server/text.h"

enum { VALUE_BYTES = 512 /* of a value as a person reads it */ };

/* A name from the file, safe for a terminal. */
static void add_name(text_builder *t, gguf_text name)
{
    for (size_t i = 0; i < name.n; i++)
        text_add(t, name.at[i] > 0x20 && name.at[i] < 0x7f ? &name.at[i] : "?", 1);
}

static void add_shape(text_builder *t, const gguf_tensor *tensor)
{
    text_add_string(t, "[");
    for (int i = 0; i < tensor->n_dims; i++)
        text_addf(t, "%s%llu", i ? ", " : "", (unsigned long long)tensor->dim[i]);
    text_add_string(t, "]");
}

static size_t tensor_bytes(const gguf *g)
{
    size_t sum = 0;

    for (size_t i = 0; i < gguf_tensors(g); i++) sum += gguf_tensor_at(g, i)->bytes;
    return sum;
}

/* What the architecture adds to the plain one, `between` two of them. */
static void add_features(text_builder *t, const architecture *a, const char *between)
{
    const char *next = "";

    for (size_t i = 0; i < ARCH_FEATURES; i++) {
        if (!(a->has >> i & 1)) continue;
        text_addf(t, "%s%s", next, arch_feature_text(i));
        next = between;
    }
}

/* The err is not shown: a file of another architecture is a good file, only not one for us. */
static void describe_architecture(text_builder *t, const gguf *g)
{
    const architecture *a;

    if (arch_of(g, &a, NULL) != ERR_OK) {
        text_add_string(t, "\narchitecture is not supported\n");
        return;
    }
    text_addf(t, "\narchitecture %s%s", a->name, a->has ? ": " : "");
    add_features(t, a, ", ");
    text_add_string(t, "\n");
}

/* A problem's sentence may quote the file. */
static void add_problem(text_builder *t, const char *problem)
{
    for (; *problem; problem++) {
        const char c = *problem >= 0x20 && *problem < 0x7f ? *problem : '?';

        text_add(t, &c, 1);
    }
}

/* Compiled, not run: what is wrong with it, if anything. */
static void describe_templates(text_builder *t, const gguf *g)
{
    const char *name, *problem;
    chat *c;

    if (chat_open(&c, g, NULL) != ERR_OK) return;
    problem = chat_problem(c);
    text_add_string(t, "\nchat template: ");
    add_problem(t, problem ? problem : "ok");
    for (size_t i = 0; (name = chat_name(c, i, &problem)); i++) {
        text_add_string(t, "\nchat template ");
        add_name(t, (gguf_text){name, strlen(name)});
        text_add_string(t, ": ");
        add_problem(t, problem ? problem : "ok");
    }
    text_add_string(t, "\n");
    chat_free(c);
}

static void describe(text_builder *t, const gguf *g, const char *path)
{
    char value[VALUE_BYTES];

    text_addf(t, "%s\nGGUF version %u, %zu bytes", path, (unsigned)gguf_version(g),
              gguf_file_bytes(g));
    if (gguf_files(g) > 1) text_addf(t, " in %zu files", gguf_files(g));
    text_addf(t, "\n\n%zu keys\n", gguf_keys(g));
    for (size_t i = 0; i < gguf_keys(g); i++) {
        text_add_string(t, "  ");
        add_name(t, gguf_key_at(g, i, NULL));
        gguf_print_value(g, i, value, sizeof value);
        text_addf(t, " = %s\n", value);
    }
    describe_architecture(t, g);
    describe_templates(t, g);
    text_addf(t, "\n%zu tensors, %zu bytes\n", gguf_tensors(g), tensor_bytes(g));
    for (size_t i = 0; i < gguf_tensors(g); i++) {
        const gguf_tensor *tensor = gguf_tensor_at(g, i);

        text_add_string(t, "  ");
        add_name(t, tensor->name);
        text_addf(t, "  %s ", gguf_type_name(tensor->type, NULL, NULL));
        add_shape(t, tensor);
        text_addf(t, "  %zu bytes\n", tensor->bytes);
    }
}

/* --- JSON --- */

/* Any bytes as a JSON string: what is not UTF-8 becomes U+FFFD. */
static void json_text(text_builder *t, gguf_text bytes)
{
    detok d = {{0}, 0};
    char *valid;
    size_t n;

    if (utf8_valid(bytes.at, bytes.n)) {
        text_add_json(t, bytes.at, bytes.n);
        return;
    }
    /* by the decoder of answers, which replaces what is no character in the same way */
    valid = malloc(DETOK_GROWTH * (bytes.n + 4));
    if (!valid) {
        t->failed = true;
        return;
    }
    n = detok_push(&d, bytes.at, bytes.n, valid);
    n += detok_end(&d, valid + n);
    text_add_json(t, valid, n);
    free(valid);
}

/* Key number i's text, whole; false if its value is none. */
static bool find_text(const gguf *g, size_t i, gguf_text *out)
{
    const gguf_text name = gguf_key_at(g, i, NULL);
    char *key = strndup(name.at, name.n);
    const bool found = key && gguf_get_text(g, key, out) == ERR_OK;

    free(key);
    return found;
}

/* Numbers and bools as such, texts whole, lists as a person reads them. */
static void json_value(text_builder *t, const gguf *g, size_t i)
{
    enum { LIST = 9 }; /* GGUF's number of the type */
    char value[VALUE_BYTES];
    gguf_text text;
    uint32_t type;

    gguf_key_at(g, i, &type);
    gguf_print_value(g, i, value, sizeof value);
    if (find_text(g, i, &text))
        json_text(t, text);
    else if (type == GGUF_TYPE_TEXT || type == LIST)
        text_add_json_string(t, value);
    else if (strchr(value, 'n'))
        text_add_string(t, "null"); /* nan, inf */
    else
        text_add_string(t, value);
}

/* null: not supported. */
static void json_architecture(text_builder *t, const gguf *g)
{
    const architecture *a;

    if (arch_of(g, &a, NULL) != ERR_OK) {
        text_add_string(t, "null");
        return;
    }
    text_addf(t, "{\"name\":\"%s\",\"features\":[%s", a->name, a->has ? "\"" : "");
    add_features(t, a, "\",\"");
    text_addf(t, "%s]}", a->has ? "\"" : "");
}

/* null: there is nothing wrong with it. */
static void json_templates(text_builder *t, const gguf *g)
{
    const char *name = "", *problem;
    chat *c;

    text_add_string(t, "[");
    if (chat_open(&c, g, NULL) == ERR_OK) {
        problem = chat_problem(c);
        for (size_t i = 0; name; name = chat_name(c, i++, &problem)) {
            text_add_string(t, i ? ",{\"name\":" : "{\"name\":");
            json_text(t, (gguf_text){name, strlen(name)});
            text_add_string(t, ",\"problem\":");
            text_add_json_string(t, problem);
            text_add_string(t, "}");
        }
        chat_free(c);
    }
    text_add_string(t, "]");
}

/* Keys keep the file's order, and one that stands twice is written twice: it is the file that
 * is shown. */
static void describe_json(text_builder *t, const gguf *g, const char *path)
{
    text_add_string(t, "{\"file\":");
    json_text(t, (gguf_text){path, strlen(path)});
    text_addf(t, ",\"version\":%u,\"files\":%zu,\"bytes\":%zu,\"keys\":{",
              (unsigned)gguf_version(g), gguf_files(g), gguf_file_bytes(g));
    for (size_t i = 0; i < gguf_keys(g); i++) {
        if (i) text_add_string(t, ",");
        json_text(t, gguf_key_at(g, i, NULL));
        text_add_string(t, ":");
        json_value(t, g, i);
    }
    text_add_string(t, "},\"architecture\":");
    json_architecture(t, g);
    text_add_string(t, ",\"chat_templates\":");
    json_templates(t, g);
    text_add_string(t, ",\"tensors\":[");
    for (size_t i = 0; i < gguf_tensors(g); i++) {
        const gguf_tensor *tensor = gguf_tensor_at(g, i);

        text_add_string(t, i ? ",{\"name\":" : "{\"name\":");
        json_text(t, tensor->name);
        text_addf(t, ",\"type\":\"%s\",\"shape\":", gguf_type_name(tensor->type, NULL, NULL));
        add_shape(t, tensor);
        text_addf(t, ",\"bytes\":%zu}", tensor->bytes);
    }
    text_add_string(t, "]}\n");
}

/* --- the command --- */

/* Built whole and written at once: `inspect | head` then ends in one write that fails. */
static err print(const gguf *g, const char *path, bool json)
{
    text_builder t = {0};
    char *text;
    size_t n;

    if (json)
        describe_json(&t, g, path);
    else
        describe(&t, g, path);
    text = text_take(&t, &n);
    if (!text) return ERR_NOMEM;
    fwrite(text, 1, n, stdout); /* main looks whether it came to be written */
    fflush(stdout);
    free(text);
    return ERR_OK;
}

/* A file that claims to have a vocabulary should have one that works. */
static err check_tokenizer(const gguf *g, fault *why)
{
    gguf_text kind;
    tokenizer *t = NULL;

    /* Weights alone, such as a projector or the second file of a split, are nothing wrong. */
    if (gguf_get_text(g, "tokenizer.ggml.model", &kind) == ERR_MISSING) return ERR_OK;
    TRY(tokenizer_new(&t, g, why));
    tokenizer_free(t);
    return ERR_OK;
}

static err inspect(const char *path, bool json, fault *why)
{
    gguf *g = NULL;
    err e;

    TRY(gguf_open(&g, path, why));
    e = print(g, path, json);
    /* Behind the listing, so that whoever has to mend the vocabulary sees it. */
    if (e == ERR_OK) e = check_tokenizer(g, why);
    gguf_close(g);
    return e;
}

static int run(config *c)
{
    char path[COMMAND_PATH], what[COMMAND_PATH];
    fault why = {0};
    err e = command_locate_model(c, path, sizeof path, what, sizeof what);

    if (e != ERR_OK) {
        fprintf(stderr, "xquantd: %s: %s\n", what, err_text(e));
        return 1;
    }
    e = inspect(path, c->json, &why);
    if (e == ERR_OK) return 0;
    fprintf(stderr, "xquantd: %s: %s%s%s\n", path, why.field, why.field[0] ? ": " : "",
            err_text(e));
    return 1;
}

int cmd_inspect(int argc, char **argv)
{
    return command_run(CONFIG_INSPECT, argc, argv, run);
}
