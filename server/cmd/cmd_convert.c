/* cmd_convert.c - `xquantd convert`: a Hugging Face folder becomes a model file. It says what
 * the file does not keep: the person may want another one. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "config/config.h"
#include "engine/clock.h"
#include "server/cmd/command.h"
#include "server/convert/calibrated.h"
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

static bool print_json(const convert_made *m, const char *type, double seconds,
                       const trial_distance *d)
{
    text_builder t = {0};
    char *text;

    text_add_string(&t, "{\"model\":");
    text_add_json_string(&t, m->path);
    text_addf(&t, ",\"type\":\"%s\",\"bytes\":%llu,\"tensors\":%zu,\"matrices\":%zu", type,
              (unsigned long long)m->bytes, m->tensors, m->matrices);
    /* A script should not learn of matrices in another type from a sentence on stderr. */
    text_addf(&t, ",\"other_type\":%zu,\"seconds\":%.3f", m->other, seconds);
    if (d->tokens)
        text_addf(&t, ",\"kl\":%.9g,\"top1\":%.6f,\"ppl\":%.6f,\"ppl_before\":%.6f", d->kl,
                  d->top1, d->ppl[1], d->ppl[0]);
    text_add_string(&t, "}\n");
    text = text_take(&t, NULL);
    if (text) fputs(text, stdout);
    free(text);
    return text && fflush(stdout) == 0;
}

/* Last of it, where it was asked for, the loss in quality: of the file as it is served against
 * the folder's weights. */
static bool print_text(const convert_made *m, const char *type, double seconds,
                       const trial_distance *d)
{
    printf("%s\n%zu tensors, %s, %.1f MB; %.0f s\n", m->path, m->tensors, type,
           (double)m->bytes * 1e-6, seconds);
    if (d->tokens)
        printf("KL %.5f, top-1 %.2f %%, perplexity %.3f (%.3f before); %zu tokens\n", d->kl,
               100 * d->top1, d->ppl[1], d->ppl[0], d->tokens);
    return fflush(stdout) == 0;
}

static calibrated_wish read_wish(const config *c)
{
    return (calibrated_wish){
        .file = {.folder = c->argument,
                 .out = *c->out ? c->out : NULL, /* named by folder and type */
                 .mix = mix_find(c->type),       /* its words are the option's */
                 .threads = c->threads > 0 ? (int)c->threads : threads_usable_cores()},
        .calibration = *c->calibration ? c->calibration : NULL,
        .check = *c->check ? c->check : NULL};
}

/* Notes go to stderr: the file is good, and what it cannot keep is for the person to weigh. */
static int run(config *c)
{
    const uint64_t start = clock_ns();
    const calibrated_wish w = read_wish(c);
    trial_distance d = {0};
    convert_made made;
    fault why = {0};
    double seconds;

    if (!w.file.folder) { /* --help shows DIR, but the table of options has no row that must be
                           * given
                           */
        fputs("xquantd: convert needs a folder: xquantd convert DIR\n", stderr);
        return 2;
    }
    if (!calibrated_run(&w, &made, &d, &why)) {
        fprintf(stderr, "xquantd: %s: %s\n", w.file.folder, why.sentence);
        return 1;
    }
    /* Until the file is in place: its bytes are on the disk by then, not only in memory. */
    seconds = clock_seconds_between(start, clock_ns());
    print_notes(&made, w.file.mix);
    if (c->json ? print_json(&made, c->type, seconds, &d)
                : print_text(&made, c->type, seconds, &d))
        return 0;
    perror("xquantd: standard output");
    return 1;
}

int cmd_convert(int argc, char **argv)
{
    return command_run(CONFIG_CONVERT, argc, argv, run);
}
