/* plain.c - naive, layer after layer over all tokens. */
#include "tests/plain.h"

#include <math.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/model/matrix.h"

typedef struct net {
    const gguf *g;
    char arch[32];
    bool gemma, qwen, phi;
    size_t D, L, H, G, C, F, V, X, used, turning, ctx;
    double eps, scale, score_cap, logit_cap;
    size_t n;  /* tokens */
    double *h; /* [n,D] */
} net;

/* --- the file --- */

static double number(const net *p, const char *key, double otherwise)
{
    char name[128];
    double v = otherwise;

    snprintf(name, sizeof name, "%s.%s", p->arch, key);
    if (gguf_get_f64(p->g, name, &v) != ERR_OK && otherwise == -1) abort();
    return v;
}

static size_t size(const net *p, const char *key, size_t otherwise)
{
    return (size_t)number(p, key, (double)otherwise);
}

/* A whole tensor of layer l (or of none, if negative) in doubles; NULL if it is not there. */
static double *weights(const net *p, int l, const char *part)
{
    char name[96];
    const gguf_tensor *t;
    gguf_tensor rows;
    double *w;
    float *row;
    size_t n;

    if (l < 0)
        snprintf(name, sizeof name, "%s", part);
    else
        snprintf(name, sizeof name, "blk.%d.%s", l, part);
    t = gguf_find(p->g, name);
    if (!t) return NULL;
    rows = *t;
    n = rows.dim[1] = t->dim[1] * t->dim[2];
    w = malloc(n * t->dim[0] * sizeof *w);
    row = malloc(t->dim[0] * sizeof *row);
    if (!w || !row) abort();
    for (size_t r = 0; r < n; r++) {
        matrix_read_row(&rows, r, row);
        for (size_t i = 0; i < t->dim[0]; i++) w[r * t->dim[0] + i] = row[i];
    }
    free(row);
    return w;
}

static void open_net(net *p)
{
    gguf_text arch;
    const double d = -1;

    if (gguf_get_text(p->g, "general.architecture", &arch) != ERR_OK) abort();
    snprintf(p->arch, sizeof p->arch, "%.*s", (int)arch.n, arch.at);
    p->gemma = strncmp(p->arch, "gemma", 5) == 0;
    p->qwen = strncmp(p->arch, "qwen", 4) == 0;
    p->phi = strcmp(p->arch, "phi3") == 0;
    p->D = (size_t)number(p, "embedding_length", d);
    p->L = (size_t)number(p, "block_count", d);
    p->H = (size_t)number(p, "attention.head_count", d);
    p->G = size(p, "attention.head_count_kv", p->H);
    p->C = size(p, "attention.key_length", p->D / p->H);
    p->F = (size_t)number(p, "feed_forward_length", d);
    p->X = size(p, "expert_count", 0);
    p->used = size(p, "expert_used_count", 0);
    p->F = size(p, "expert_feed_forward_length", p->F);
    p->turning = size(p, "rope.dimension_count", p->C);
    p->eps = number(p, "attention.layer_norm_rms_epsilon", 1e-5);
    p->scale = 1 / sqrt((double)p->C);
    if (strcmp(p->arch, "gemma2") == 0) {
        p->score_cap = number(p, "attn_logit_softcapping", 50);
        p->logit_cap = number(p, "final_logit_softcapping", 30);
    }
    p->V = gguf_find(p->g, "token_embd.weight")->dim[1];
}

/* Keys that layer l's queries see; all: n. */
static size_t window_of(const net *p, int l)
{
    const size_t window = size(p, "attention.sliding_window", 0);

    if (!window) return p->n;
    if (strcmp(p->arch, "gemma2") == 0) return l % 2 == 0 ? window : p->n;
    if (strcmp(p->arch, "gemma3") == 0) return l % 6 < 5 ? window : p->n;
    return window;
}

/* --- arithmetic --- */

/* y [n,out] = x [n,in] w^T */
static double *product(const double *x, size_t n, size_t in, const double *w, size_t out)
{
    double *y = calloc(n * out, sizeof *y);

    if (!y) abort();
    for (size_t t = 0; t < n; t++)
        for (size_t o = 0; o < out; o++)
            for (size_t i = 0; i < in; i++) y[t * out + o] += x[t * in + i] * w[o * in + i];
    return y;
}

static void norm(const net *p, double *x, const double *gain, size_t rows, size_t width)
{
    for (size_t t = 0; gain && t < rows; t++, x += width) {
        double sum = 0;

        for (size_t i = 0; i < width; i++) sum += x[i] * x[i];
        for (size_t i = 0; i < width; i++) x[i] *= gain[i] / sqrt(sum / (double)width + p->eps);
    }
}

static double *copy(const double *x, size_t n)
{
    double *y = malloc(n * sizeof *y);

    if (!y) abort();
    memcpy(y, x, n * sizeof *y);
    return y;
}

static void add(double *x, const double *y, size_t rows, size_t width, size_t repeat)
{
    for (size_t t = 0; y && t < rows; t++)
        for (size_t i = 0; i < width; i++) x[t * width + i] += y[(repeat ? 0 : t * width) + i];
}

static double capped(double x, double cap)
{
    return cap > 0 ? cap * tanh(x / cap) : x;
}

/* --- positions --- */

typedef struct angles {
    double step[512], size; /* what pair i turns by from token to token */
} angles;

static bool has_word(const net *p, const char *key, const char *word)
{
    char name[128];
    gguf_text text;

    snprintf(name, sizeof name, "%s.%s", p->arch, key);
    return gguf_get_text(p->g, name, &text) == ERR_OK && text.n == strlen(word) &&
           memcmp(text.at, word, text.n) == 0;
}

static void mix_yarn(const net *p, double base, double factor, angles *a)
{
    const double n = (double)p->turning, pi = acos(-1);
    const double original = number(p, "rope.scaling.original_context_length", -1);
    const double low = floor(n * log(original / (32 * 2 * pi)) / (2 * log(base)));
    const double high = ceil(n * log(original / (1 * 2 * pi)) / (2 * log(base)));

    for (size_t i = 0; i < p->turning / 2; i++) {
        double ramp = ((double)i - fmax(low, 0)) /
                      fmax(0.001, fmin(high, n - 1) - fmax(low, 0));

        ramp = ramp < 0 ? 0 : ramp > 1 ? 1 : ramp; /* 0: as it is, 1: scaled */
        a->step[i] = a->step[i] / factor * ramp + a->step[i] * (1 - ramp);
    }
    a->size *= 1 + 0.1 * log(factor);
}

static void find_angles(const net *p, int l, angles *a)
{
    const bool local = strcmp(p->arch, "gemma3") == 0 && window_of(p, l) < p->n;
    const double base = local ? 10000 : number(p, "rope.freq_base", 10000);
    const double factor = local ? 1 : number(p, "rope.scaling.factor", 1);
    const size_t original = size(p, "rope.scaling.original_context_length", p->ctx);
    double *factors = weights(p, -1, "rope_freqs.weight");

    if (!factors)
        factors = weights(p, -1,
                          p->ctx > original ? "rope_factors_long.weight"
                                            : "rope_factors_short.weight");
    a->size = number(p, "rope.scaling.attn_factor", 1);
    for (size_t i = 0; i < p->turning / 2; i++)
        a->step[i] = pow(base, -2.0 * (double)i / (double)p->turning) /
                     (factors ? factors[i] : 1);
    if (has_word(p, "rope.scaling.type", "yarn"))
        mix_yarn(p, base, factor, a);
    else
        for (size_t i = 0; i < p->turning / 2; i++) a->step[i] /= factor;
    free(factors);
}

static void turn(const net *p, const angles *a, double *x, size_t heads, size_t t)
{
    const bool halves = p->gemma || p->qwen || p->phi;

    for (size_t h = 0; h < heads; h++, x += p->C)
        for (size_t i = 0; i < p->turning / 2; i++) {
            const double c = a->size * cos((double)t * a->step[i]);
            const double s = a->size * sin((double)t * a->step[i]);
            double *first = x + (halves ? i : 2 * i);
            double *second = halves ? first + p->turning / 2 : first + 1;
            const double u = *first, v = *second;

            *first = u * c - v * s;
            *second = v * c + u * s;
        }
}

/* --- layers --- */

/* Queries, keys or values [n,heads*C] of what x [n,D] is. */
static double *project(const net *p, int l, const double *x, const char *which, size_t first,
                       size_t heads)
{
    const size_t width = heads * p->C;
    char name[32];
    double *fused = weights(p, l, "attn_qkv.weight"), *w, *b, *y;

    snprintf(name, sizeof name, "attn_%s.weight", which);
    w = fused ? fused + first * p->D : weights(p, l, name);
    y = product(x, p->n, p->D, w, width);
    snprintf(name, sizeof name, "attn_%s.bias", which);
    b = weights(p, l, name);
    add(y, b, p->n, width, 1);
    free(fused ? fused : w);
    free(b);
    snprintf(name, sizeof name, "attn_%s_norm.weight", which);
    b = weights(p, l, name);
    norm(p, y, b, p->n * heads, p->C);
    free(b);
    return y;
}

/* One query's attention to keys from .. t, into o [C]. */
static void attend(const net *p, const double *q, const double *k, const double *v, size_t from,
                   size_t t, double *o)
{
    const size_t E = p->G * p->C;
    double sum = 0;

    memset(o, 0, p->C * sizeof *o);
    for (size_t j = from; j <= t; j++) {
        double s = 0;

        for (size_t c = 0; c < p->C; c++) s += q[c] * k[j * E + c];
        s = exp(capped(s * p->scale, p->score_cap));
        sum += s;
        for (size_t c = 0; c < p->C; c++) o[c] += s * v[j * E + c];
    }
    for (size_t c = 0; c < p->C; c++) o[c] /= sum;
}

static double *attention(const net *p, int l, const double *x)
{
    const size_t Q = p->H * p->C, E = p->G * p->C, window = window_of(p, l);
    double *q = project(p, l, x, "q", 0, p->H), *k = project(p, l, x, "k", Q, p->G);
    double *v = project(p, l, x, "v", Q + E, p->G), *o = copy(q, p->n * Q), *w, *y;
    angles a;

    find_angles(p, l, &a);
    for (size_t t = 0; t < p->n; t++) {
        turn(p, &a, q + t * Q, p->H, t);
        turn(p, &a, k + t * E, p->G, t);
        for (size_t h = 0; h < p->H; h++) {
            const size_t g = h / (p->H / p->G) * p->C;

            attend(p, q + t * Q + h * p->C, k + g, v + g, t + 1 > window ? t + 1 - window : 0,
                   t, o + t * Q + h * p->C);
        }
    }
    w = weights(p, l, "attn_output.weight");
    y = product(o, p->n, Q, w, p->D);
    free(q);
    free(k);
    free(v);
    free(o);
    free(w);
    return y;
}

static double activation(const net *p, double x)
{
    if (!p->gemma) return x / (1 + exp(-x));
    return 0.5 * x * (1 + tanh(sqrt(2 / acos(-1)) * (x + 0.044715 * x * x * x)));
}

/* y [n,D] of x [n,D] through one feed-forward network. */
static double *feed(const net *p, const double *x, size_t n, const double *gate,
                    const double *up, const double *down)
{
    double *a = product(x, n, p->D, gate, p->F), *b = product(x, n, p->D, up, p->F), *y;

    for (size_t i = 0; i < n * p->F; i++) a[i] = activation(p, a[i]) * b[i];
    y = product(a, n, p->F, down, p->D);
    free(a);
    free(b);
    return y;
}

/* One token through its experts: the softmax of all, the best of it, made to sum to 1. */
static void mix_experts(const net *p, const double *x, const double *score, double *const w[3],
                        double *y)
{
    const size_t one = p->F * p->D;
    double rest[256], sum = 0, total = 0;

    memset(y, 0, p->D * sizeof *y);
    for (size_t e = 0; e < p->X; e++) total += rest[e] = exp(score[e]);
    for (int pass = 0; pass < 2; pass++) {
        double left[256];

        for (size_t e = 0; e < p->X; e++) left[e] = rest[e] / total;
        for (size_t i = 0; i < p->used; i++) {
            size_t best = 0;
            double *part;

            for (size_t e = 1; e < p->X; e++)
                if (left[e] > left[best]) best = e;
            if (pass == 0) {
                sum += left[best];
            } else {
                part = feed(p, x, 1, w[0] + best * one, w[1] + best * one, w[2] + best * one);
                for (size_t d = 0; d < p->D; d++) y[d] += left[best] / sum * part[d];
                free(part);
            }
            left[best] = -1;
        }
    }
}

static double *feed_forward(const net *p, int l, const double *x)
{
    const char *const names[2][3] = {
        {"ffn_gate.weight", "ffn_up.weight", "ffn_down.weight"},
        {"ffn_gate_exps.weight", "ffn_up_exps.weight", "ffn_down_exps.weight"}};
    double *w[3], *y, *router, *scores;

    for (int i = 0; i < 3; i++) w[i] = weights(p, l, names[p->X > 0][i]);
    if (p->X) {
        router = weights(p, l, "ffn_gate_inp.weight");
        scores = product(x, p->n, p->D, router, p->X);
        y = copy(x, p->n * p->D);
        for (size_t t = 0; t < p->n; t++)
            mix_experts(p, x + t * p->D, scores + t * p->X, w, y + t * p->D);
        free(router);
        free(scores);
    } else { /* where there is no gate of its own it is the first half of up */
        y = feed(p, x, p->n, w[0] ? w[0] : w[1], w[0] ? w[1] : w[1] + p->F * p->D, w[2]);
    }
    for (int i = 0; i < 3; i++) free(w[i]);
    return y;
}

typedef double *half_layer(const net *p, int l, const double *x);

/* h += half(norm h), with a norm behind it where there is one. */
static void run_half(const net *p, int l, half_layer *half, const char *before,
                     const char *behind)
{
    double *x = copy(p->h, p->n * p->D), *in = weights(p, l, before), *y;
    double *out = weights(p, l, behind);

    norm(p, x, in, p->n, p->D);
    y = half(p, l, x);
    norm(p, y, out, p->n, p->D);
    add(p->h, y, p->n, p->D, 0);
    free(x);
    free(in);
    free(y);
    free(out);
}

static void embed(net *p, const int32_t *ids)
{
    double *table = weights(p, -1, "token_embd.weight");

    p->h = malloc(p->n * p->D * sizeof *p->h);
    if (!p->h) abort();
    for (size_t t = 0; t < p->n; t++)
        for (size_t d = 0; d < p->D; d++)
            p->h[t * p->D + d] = table[(size_t)ids[t] * p->D + d] *
                                 (p->gemma ? sqrt((double)p->D) : 1);
    free(table);
}

void plain_logits(const gguf *g, size_t ctx, const int32_t *ids, size_t n, const size_t *at,
                  size_t n_at, float *logits)
{
    net p = {.g = g, .n = n, .ctx = ctx};
    double *gain, *w;

    open_net(&p);
    embed(&p, ids);
    for (int l = 0; l < (int)p.L; l++) {
        run_half(&p, l, attention, "attn_norm.weight", "post_attention_norm.weight");
        run_half(&p, l, feed_forward, "ffn_norm.weight", "post_ffw_norm.weight");
    }
    gain = weights(&p, -1, "output_norm.weight");
    norm(&p, p.h, gain, n, p.D);
    w = weights(&p, -1, "output.weight");
    if (!w) w = weights(&p, -1, "token_embd.weight");
    for (size_t i = 0; i < n_at; i++) {
        double *y = product(p.h + at[i] * p.D, 1, p.D, w, p.V);

        for (size_t v = 0; v < p.V; v++) logits[i * p.V + v] = (float)capped(y[v], p.logit_cap);
        free(y);
    }
    free(gain);
    free(w);
    free(p.h);
}
