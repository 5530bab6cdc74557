/* cmd_convert.c - `xquantd convert`: a Hugging Face folder becomes a model file. It says what
 * the file does not keep: the person may want another one. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "config/config.h"
#include "engine/clock.h"
#include "server/cmd/command.h"
#include "server/convert/convert.h"
#include "server/text.h"
#include "server/threads.h"

/* What a person should know of the file, one line each. */
static void print_notes(const convert_made *m, const mix_row *mix)
{
    if (m->other)
        fprintf(stderr,
                "xquantd: %zu of %zu matrices are %s: their rows fill no blocks of %s\n",
                m->other, m->matrices, mix->type == GGUF_Q8_0 ? "F16" : "Q8_0 or F16",
                gguf_type_name(mix->type, NULL, NULL));
    if (m->window) /* beyond the window answers are computed from more than was trained */
        fprintf(stderr, "xquantd: the sliding window of %zu tokens is not kept\n", m->window);
    if (m->resumed)
        fprintf(stderr, "xquantd: %zu of %zu tensors were there from before\n", m->resumed,
                m->tensors);
    if (m->towers)
        fprintf(stderr,
                "xquantd: vision and audio are left out (%zu tensors): the file is for text\n",
                m->towers);
    if (m->guessing)
        fprintf(stderr, "xquantd: layers that guess later tokens are left out (%zu tensors)\n",
                m->guessing);
    /* Their rows do not exist, so no token of them could ever have been trained, or sampled. */
    if (m->tokens.beyond)
        fprintf(stderr,
                "xquantd: %zu added tokens past the embedding's last row are left out\n",
                m->tokens.beyond);
    if (m->tokens.ends)
        fprintf(stderr, "xquantd: %zu more tokens that end an answer are not kept\n",
                m->tokens.ends);
}

static bool print_json(const convert_made *m, const char *type, double seconds)
{
    text_builder t = {0};
    char *text;

    text_add_string(&t, "{\"model\":");
    text_add_json_string(&t, m->path);
    text_addf(&t, ",\"type\":\"%s\",\"bytes\":%llu,\"tensors\":%zu,\"matrices\":%zu", type,
              (unsigned long long)m->bytes, m->tensors, m->matrices);
    /* A script should not learn of matrices in another type from a sentence on stderr. */
    text_addf(&t, ",\"other_type\":%zu,\"seconds\":%.3f}\n", m->other, seconds);
    text = text_take(&t, NULL);
    if (text) fputs(text, stdout);
    free(text);
    return text && fflush(stdout) == 0;
}

static bool print_text(const convert_made *m, const char *type, double seconds)
{
    printf("%s\n%zu tensors, %s, %.1f MB; %.0f s\n", m->path, m->tensors, type,
           (double)m->bytes * 1e-6, seconds);
    return fflush(stdout) == 0;
}

static convert_wish read_wish(const config *c)
{
    return (convert_wish){.folder = c->argument,
                          .out = *c->out ? c->out : NULL, /* named by folder and type */
                          .mix = mix_find(c->type),       /* its words are the option's */
                          .threads = c->threads > 0 ? (int)c->threads : threads_usable_cores()};
}

/* Notes go to stderr: the file is good, and what it cannot keep is for the person to weigh. */
static int run(config *c)
{
    const uint64_t start = clock_ns();
    const convert_wish w = read_wish(c);
    convert_made made;
    fault why = {0};
    double seconds;

    if (!w.folder) { /* --help shows DIR, but the table of options has no row that must be given
                      */
        fputs("xquantd: convert needs a folder: xquantd convert DIR\n", stderr);
        return 2;
    }
    if (!convert_run(&w, &made, &why)) {
        fprintf(stderr, "xquantd: %s: %s\n", w.folder, why.sentence);
        return 1;
    }
    /* Until the file is in place: its bytes are on the disk by then, not only in memory. */
    seconds = clock_seconds_between(start, clock_ns());
    print_notes(&made, w.mix);
    if (c->json ? print_json(&made, c->type, seconds) : print_text(&made, c->type, seconds))
        return 0;
    perror("xquantd: standard output");
    return 1;
}

int cmd_convert(int argc, char **argv)
{
    return command_run(CONFIG_CONVERT, argc, argv, run);
}
