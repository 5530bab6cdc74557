/* tok_split.c - text is cut by patterns, one after the other.
 *
 * PCRE2 with just-in-time code: a scanner by hand would have to be written once for every
 * family of models, and held to the pattern that its own tokenizer has. Patterns are ours
 * (pretokenizers.def), never the file's: a file only names one. Text is another's, so each call
 * has a limit of steps in proportion to its length; patterns are compiled once, and what a
 * match needs is a call's own, so threads share nothing. */
#include "engine/tokenizer/tok_split.h"

#include <stdlib.h>
#include <string.h>

#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>

enum { PATTERNS = 7 };

typedef struct pretokenizer {
    const char *name;
    bool keeps_words, adds_bos;
    const char *normal;                /* a step of tok_normal.def, or NULL */
    const char *pattern[PATTERNS + 1]; /* to NULL */
} pretokenizer;

static const pretokenizer pretokenizers[] = {
#define PRETOKENIZER(name, keeps_words, adds_bos, normal, ...) \
    {name, keeps_words, adds_bos, normal, {__VA_ARGS__}},
#include "engine/tokenizer/pretokenizers.def"
#undef PRETOKENIZER
};

struct tok_split {
    const pretokenizer *row;
    pcre2_code *code[PATTERNS + 1]; /* to NULL */
};

/* One call. */
typedef struct splitting {
    const tok_split *s;
    pcre2_match_data *found;
    pcre2_match_context *limits;
    err (*piece)(void *arg, gguf_text text);
    void *arg;
} splitting;

/* UCP, so that \d, \w and (?i:) mean Unicode's; JIT may be forbidden (SELinux, no
 * executable memory), and then it is slower and right. */
static err compile(tok_split *s)
{
    const uint32_t options = PCRE2_UTF | PCRE2_UCP | PCRE2_NO_AUTO_CAPTURE;
    int error;
    PCRE2_SIZE at;

    for (size_t i = 0; s->row->pattern[i]; i++) {
        s->code[i] = pcre2_compile((PCRE2_SPTR)s->row->pattern[i], PCRE2_ZERO_TERMINATED,
                                   options, &error, &at, NULL);
        if (!s->code[i]) return ERR_NOMEM; /* the patterns are ours: nothing else can fail */
        (void)pcre2_jit_compile(s->code[i], PCRE2_JIT_COMPLETE); /* without it, slower */
    }
    return ERR_OK;
}

/* A name that is not in the table is refused, as with architectures: another cut gives other
 * ids, and a model that is a little worse without anybody knowing why. */
err tok_split_open(tok_split **out, gguf_text name)
{
    const size_t n = sizeof pretokenizers / sizeof pretokenizers[0];
    tok_split *s = calloc(1, sizeof *s);
    err e;

    if (!s) return ERR_NOMEM;
    for (size_t i = 0; i < n && !s->row; i++) {
        const pretokenizer *p = &pretokenizers[i];

        if (strlen(p->name) == name.n && memcmp(p->name, name.at, name.n) == 0) s->row = p;
    }
    e = s->row ? compile(s) : ERR_TOKENIZER;
    if (e != ERR_OK) {
        tok_split_close(s);
        return e;
    }
    *out = s;
    return ERR_OK;
}

void tok_split_close(tok_split *s)
{
    if (!s) return;
    for (size_t i = 0; i < PATTERNS; i++) pcre2_code_free(s->code[i]);
    free(s);
}

bool tok_split_keeps_words(const tok_split *s)
{
    return s->row->keeps_words;
}

bool tok_split_adds_bos(const tok_split *s)
{
    return s->row->adds_bos;
}

const char *tok_split_normal(const tok_split *s)
{
    return s->row->normal;
}

typedef struct range {
    size_t from, to;
} range;

/* The first match of a pattern in text[at .. n); n .. n if there is none. The patterns match
 * no empty text, in a number of steps linear in it; should the limit stop one yet, the rest
 * counts as not matched. */
static range find(const splitting *x, const pcre2_code *code, gguf_text text, size_t at)
{
    const int rc = pcre2_match(code, (PCRE2_SPTR)text.at, text.n, at, PCRE2_NO_UTF_CHECK,
                               x->found, x->limits);
    const PCRE2_SIZE *ends = pcre2_get_ovector_pointer(x->found);

    if (rc < 0 || ends[1] <= ends[0]) return (range){text.n, text.n};
    return (range){ends[0], ends[1]};
}

/* Cut by pattern number i: what it matches and what lies between, then each by the next.
 * Depth is that of the row, seven at most, whatever the text. */
static err cut(const splitting *x, size_t i, gguf_text text)
{
    const pcre2_code *code = x->s->code[i];
    range r;

    if (!code) return x->piece(x->arg, text);
    for (size_t at = 0; at < text.n; at = r.to) {
        r = find(x, code, text, at);
        if (r.from > at) TRY(cut(x, i + 1, (gguf_text){text.at + at, r.from - at}));
        if (r.to > r.from) TRY(cut(x, i + 1, (gguf_text){text.at + r.from, r.to - r.from}));
    }
    return ERR_OK;
}

err tok_split_text(const tok_split *s, gguf_text text, err (*piece)(void *arg, gguf_text text),
                   void *arg)
{
    const uint64_t steps = 10000 + 8 * (uint64_t)text.n;
    splitting x = {s, pcre2_match_data_create(1, NULL), pcre2_match_context_create(NULL), piece,
                   arg};
    err e = ERR_NOMEM;

    if (x.found && x.limits) {
        pcre2_set_match_limit(x.limits, steps < UINT32_MAX ? (uint32_t)steps : UINT32_MAX);
        e = cut(&x, 0, text);
    }
    pcre2_match_context_free(x.limits);
    pcre2_match_data_free(x.found);
    return e;
}
