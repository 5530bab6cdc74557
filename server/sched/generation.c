/* generation.c - ids to text: end tokens, stop strings, and what must be held back. */
#include "server/sched/generation.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "engine/tokenizer/detok.h"

/* A stop string as an automaton (Knuth, Morris, Pratt): `seen` is the length of the longest
 * suffix of the text that begins the string, which is also what has to be held back. */
typedef struct stop_string {
    const char *at; /* borrowed from in.stop */
    int32_t id;     /* of the control token that it spells, which gives no text, or NONE */
    size_t n, seen;
    uint32_t *next_best; /* [n] longest proper border of the first i + 1 bytes */
} stop_string;

struct generation_state {
    detok detok;
    stop_string *stops; /* [in.n_stop] */
    size_t V;
    size_t bytes; /* of text, shown or held */
    bool ended;
};

const char *generation_finish_name(generation_finish f)
{
    static const char *const name[FINISH_COUNT] = {
        [FINISH_STOP] = "stop",
        [FINISH_LENGTH] = "length",
        [FINISH_ABORT] = "abort",
    };
    assert((unsigned)f < FINISH_COUNT);
    return name[f];
}

/* Linear in the string, and once a request: so a stop string may be long. */
static err stop_init(stop_string *s, const tokenizer *t, const char *at)
{
    size_t border = 0;

    s->at = at;
    s->id = tokenizer_find(t, at);
    s->n = strlen(at);
    assert(s->n > 0);
    s->next_best = calloc(s->n, sizeof *s->next_best);
    if (!s->next_best) return ERR_NOMEM;
    for (size_t i = 1; i < s->n; i++) {
        while (border && at[i] != at[border]) border = s->next_best[border - 1];
        if (at[i] == at[border]) border++;
        s->next_best[i] = (uint32_t)border;
    }
    return ERR_OK;
}

/* Add one byte of text; true if the stop string ends with it. Amortized constant, however often
 * the string nearly matches; comparing anew at each byte would be quadratic. */
static bool stop_step(stop_string *s, char byte)
{
    if (s->seen == s->n) s->seen = s->next_best[s->n - 1];
    while (s->seen && s->at[s->seen] != byte) s->seen = s->next_best[s->seen - 1];
    if (s->at[s->seen] == byte) s->seen++;
    return s->seen == s->n;
}

/* The worst case at once: tokens that are all the longest of the vocabulary, each grown by the
 * detokenizer. So no decode step allocates; pages that are not touched cost nothing. */
static err make_arrays(generation *g)
{
    const size_t n = g->in.max_tokens;
    size_t longest = tokenizer_longest(g->tokenizer), bytes, entries;

    for (size_t i = 0; i < g->in.n_shown; i++) {
        const size_t name = tokenizer_piece(g->tokenizer, g->in.shown[i], true).n;

        if (name > longest) longest = name;
    }

    if (__builtin_mul_overflow(n, longest, &bytes)) return ERR_NOMEM;
    if (__builtin_mul_overflow(bytes + 8, DETOK_GROWTH, &bytes)) return ERR_NOMEM;
    g->out.text = malloc(bytes);
    g->out.tokens = calloc(n ? n : 1, sizeof *g->out.tokens);
    if (!g->out.text || !g->out.tokens) return ERR_NOMEM;
    if (g->in.top <= 0) return ERR_OK;
    if (__builtin_mul_overflow(n, (size_t)g->in.top, &entries)) return ERR_NOMEM;
    g->out.top = calloc(entries ? entries : 1, sizeof *g->out.top);
    return g->out.top ? ERR_OK : ERR_NOMEM;
}

static err make_prompt(generation *g)
{
    const size_t n = g->in.n_ids, top = (size_t)g->in.prompt_top;

    g->out.prompt = calloc(n + 1, sizeof *g->out.prompt);
    g->out.prompt_best = calloc(n * top + 1, sizeof *g->out.prompt_best);
    return g->out.prompt && g->out.prompt_best ? ERR_OK : ERR_NOMEM;
}

/* A vocabulary may be smaller than the number of best that was asked for. */
static int limit_top(int top, size_t V)
{
    return top > 0 && (size_t)top > V ? (int)V : top;
}

static err make_state(generation *g)
{
    g->state = calloc(1, sizeof *g->state);
    if (!g->state) return ERR_NOMEM;
    g->state->V = tokenizer_size(g->tokenizer);
    g->in.top = limit_top(g->in.top, g->state->V);
    g->in.prompt_top = limit_top(g->in.prompt_top, g->state->V);
    if (g->in.reads_prompt) TRY(make_prompt(g));
    if (g->in.n_stop) g->state->stops = calloc(g->in.n_stop, sizeof *g->state->stops);
    if (g->in.n_stop && !g->state->stops) return ERR_NOMEM;
    for (size_t i = 0; i < g->in.n_stop; i++)
        TRY(stop_init(&g->state->stops[i], g->tokenizer, g->in.stop[i]));
    return make_arrays(g);
}

void generation_in_free(generation_in *in)
{
    free(in->ids);
    free(in->ends);
    free(in->bias);
    for (size_t i = 0; i < in->n_stop; i++) free(in->stop[i]);
    free(in->stop);
    program_free(in->program);
    *in = (generation_in){0};
}

/* `in` is taken on failure too: the caller has one thing to free in either case. */
err generation_new(generation **out, const tokenizer *t, generation_in *in)
{
    generation *g = calloc(1, sizeof *g);
    err e;

    if (!g) {
        generation_in_free(in);
        return ERR_NOMEM;
    }
    g->in = *in;
    g->in.sample.bias = g->in.bias;
    *in = (generation_in){0};
    g->tokenizer = t;
    atomic_init(&g->cancel, false);
    atomic_init(&g->out.published, 0);
    e = make_state(g);
    if (e != ERR_OK) {
        generation_free(g);
        return e;
    }
    *out = g;
    return ERR_OK;
}

void generation_free(generation *g)
{
    if (!g) return;
    if (g->group && --g->group->left == 0) free(g->group);
    for (size_t i = 0; g->state && g->state->stops && i < g->in.n_stop; i++)
        free(g->state->stops[i].next_best);
    if (g->state) free(g->state->stops);
    free(g->state);
    free(g->out.tokens);
    free(g->out.top);
    free(g->out.prompt);
    free(g->out.prompt_best);
    free(g->out.text);
    free(g->out.vectors);
    generation_in_free(&g->in);
    free(g);
}

err generation_group_new(generation_group **out, generation *const *members, size_t n)
{
    generation_group *w = calloc(1, sizeof *w + n * sizeof w->members[0]);

    assert(n > 0);
    if (!w) return ERR_NOMEM;
    w->n = w->left = n;
    for (size_t i = 0; i < n; i++) {
        assert(!members[i]->group);
        members[i]->group = w;
        w->members[i] = members[i];
    }
    *out = w;
    return ERR_OK;
}

/* Take n bytes of text that were written behind what there is. If a stop string ends in
 * them, the text is cut where it begins; of several, the one that ends first counts, and of
 * those the longest. So the answer does not depend on how the text was cut into tokens. */
static bool take_text(generation *g, size_t n)
{
    struct generation_state *s = g->state;

    /* Byte by byte through automata: a stop string may begin in one token and end in another.
     */
    for (; n > 0; n--) {
        const char byte = g->out.text[s->bytes++];
        size_t cut = 0;

        for (size_t i = 0; i < g->in.n_stop; i++) {
            if (!stop_step(&s->stops[i], byte) || s->stops[i].n <= cut) continue;
            cut = s->stops[i].n;
            g->out.stop = g->in.stop[i];
        }
        if (cut) {
            s->bytes -= cut;
            return true;
        }
    }
    return false;
}

/* Bytes at the end of the text that may yet turn out to begin a stop string. */
static size_t held_back(const generation *g)
{
    size_t held = 0;

    for (size_t i = 0; i < g->in.n_stop; i++)
        if (g->state->stops[i].seen > held) held = g->state->stops[i].seen;
    return held;
}

/* Does the text of token i begin as text does behind a control token, where the vocabulary
 * puts a space? Then a client that sends the text back gets the ids that it was. */
bool generation_begins_text(const generation *g, size_t i)
{
    const size_t n = g->in.n_ids;

    while (i && tokenizer_piece(g->tokenizer, g->out.tokens[i - 1].id, false).n == 0) i--;
    return i == 0 && n && tokenizer_pads(g->tokenizer) &&
           tokenizer_is_special(g->tokenizer, g->in.ids[n - 1]);
}

static bool is_shown(const generation *g, int32_t id)
{
    for (size_t i = 0; i < g->in.n_shown; i++)
        if (g->in.shown[i] == id) return true;
    return false;
}

gguf_text generation_piece(const generation *g, size_t i)
{
    const int32_t id = g->out.tokens[i].id;
    const gguf_text piece = tokenizer_piece(g->tokenizer, id, is_shown(g, id));
    const size_t skip = piece.n && piece.at[0] == ' ' && generation_begins_text(g, i);

    return (gguf_text){piece.at + skip, piece.n - skip};
}

/* The text of token i; true if a stop string ends in it. */
static bool add_text(generation *g, size_t i, size_t *text_end)
{
    struct generation_state *s = g->state;
    const gguf_text piece = generation_piece(g, i);
    const size_t n = detok_push(&s->detok, piece.at, piece.n, g->out.text + s->bytes);
    const bool stopped = take_text(g, n);

    *text_end = stopped ? s->bytes : s->bytes - held_back(g);
    return stopped;
}

/* No text follows: what is held is half a character, and only if no stop string cut it. */
static void end_text(generation *g, bool stopped)
{
    struct generation_state *s = g->state;

    if (!stopped) take_text(g, detok_end(&s->detok, g->out.text + s->bytes));
    g->out.text_bytes = s->bytes;
    g->out.n_tokens = atomic_load_explicit(&g->out.published, memory_order_relaxed);
    s->ended = true;
}

/* A stop string counts where end tokens are ignored: somebody asked for it by name. */
static bool is_last(generation *g, int32_t id)
{
    if ((!g->in.ignore_eos || g->in.program) && tokenizer_is_end(g->tokenizer, id)) return true;
    for (size_t i = 0; i < g->in.n_stop; i++) {
        if (g->state->stops[i].id != id) continue;
        g->out.stop = g->in.stop[i];
        return true;
    }
    return false;
}

static bool add(generation *g, int32_t id, const float *logits, bool last)
{
    const size_t i = atomic_load_explicit(&g->out.published, memory_order_relaxed);
    const bool ends = is_last(g, id);
    const int top = g->in.top;
    generation_token *token = &g->out.tokens[i];
    bool stopped = false;

    assert(!g->state->ended && i < g->in.max_tokens);
    token->id = id;
    token->text_end = i ? g->out.tokens[i - 1].text_end : 0; /* an end token shows no text */
    if (top >= 0 || g->in.scored) token->logprob = sample_logprob(logits, g->state->V, id);
    if (top > 0) sample_best(logits, g->state->V, (size_t)top, &g->out.top[i * (size_t)top]);
    if (!ends) stopped = add_text(g, i, &token->text_end);
    /* the release: whoever reads `published` sees the token and the text it counts */
    atomic_store_explicit(&g->out.published, i + 1, memory_order_release);

    if (!ends && !stopped && !last && i + 1 < g->in.max_tokens) return false;
    g->out.finish = ends || stopped || last ? FINISH_STOP : FINISH_LENGTH;
    end_text(g, stopped);
    return true;
}

bool generation_add(generation *g, int32_t id, const float *logits)
{
    return add(g, id, logits, false);
}

void generation_add_last(generation *g, int32_t id, const float *logits)
{
    add(g, id, logits, true);
}

/* Idempotent, for a run may have ended it before the scheduler learns that it failed. */
void generation_end(generation *g, generation_finish f)
{
    if (g->state->ended) return;
    g->out.finish = f;
    end_text(g, false);
}

/* Relaxed: the scheduler reads its own count. */
size_t generation_tokens(const generation *g)
{
    return atomic_load_explicit(&g->out.published, memory_order_relaxed);
}

/* Equal logits count for the lower id, as where the best are chosen. */
static uint32_t rank_of(const float *logits, size_t V, int32_t id)
{
    uint32_t rank = 1;

    for (size_t i = 0; i < V; i++)
        rank += logits[i] > logits[id] || (logits[i] == logits[id] && i < (size_t)id);
    return rank;
}

void generation_read_prompt(generation *g, size_t i, const float *logits)
{
    const size_t V = g->state->V, top = (size_t)g->in.prompt_top;

    if (i >= g->in.n_ids) return;
    g->out.prompt[i] = (generation_read){sample_logprob(logits, V, g->in.ids[i]),
                                         rank_of(logits, V, g->in.ids[i])};
    if (top) sample_best(logits, V, top, g->out.prompt_best + i * top);
}

void generation_share_prompt(generation *g, const generation *from)
{
    const size_t n = g->in.n_ids;

    if (!g->in.reads_prompt) return;
    memcpy(g->out.prompt, from->out.prompt, n * sizeof *g->out.prompt);
    memcpy(g->out.prompt_best, from->out.prompt_best,
           n * (size_t)g->in.prompt_top * sizeof *g->out.prompt_best);
}
