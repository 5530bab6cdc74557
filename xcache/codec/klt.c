/* klt.c - predict, code and decode a block of one layer.
 *
 *               state [B,D]        temp: first [B,D]       second [B,D]          third
 *    project    x^ of l-1          (P - I) x^  <---------  down x^ [B,r]         int8 codes
 *    transform  + c = x'           x - x'                                        its int8 codes
 *                                  u turned [n,B] <------  u = F (x - x') [B,N]
 *    quantize     |                                                              q [n,B]
 *    pack         |                                                              and scratch
 *    add          |                levels [n,B] --------->  turned [B,N]         its int8 codes
 *               x' + y             y = B levels [B,D]
 *
 * Decode is project, + c, unpack, add: the encoder's first and last steps, by the same calls.
 * Whatever rounds in them, int8 products too, rounds alike on both sides. Components are turned
 * to rows because a symbol's class follows from its component and its token, and the coder's
 * lanes are tokens.
 */
#include "xcache/codec/klt.h"

#include <assert.h>
#include <math.h>
#include <string.h>

#include "xcache/codec/remat.h"

enum {
    OCTAVE = 16,     /* of a multiplier M */
    MOST_WEIGHT = 5, /* half octaves either way */
    FINEST = 63,
    COARSEST = -64, /* M as a byte */
    NOTHING = 255   /* the byte of a layer without codes */
};

/* --- the coder --- */

/* What the tables of real models charge: bits beyond those of 0, straight lines of |v| within
 * .1 bit from class 18 to 36, and both ends of them are powers of sigma / step. A bit is worth
 * a tenth of a squared step: about what one buys at the same slope of rate and distortion
 * (.12 at high rates, less where most values are 0). Tables of the plan itself instead: the
 * same within .02 dB. */
void klt_set_prices(kern_prices *p)
{
    for (int c = 0; c < KERN_CLASSES; c++) {
        p->base[c] = (float)(-0.16 * exp2((24 - c) / 6.0));
        p->slope[c] = (float)(0.207 * exp2((24 - c) * 0.3));
    }
}

err klt_open_coder(klt_coder *out, const kern *k, const plan *p, double step)
{
    const plan_tables t = plan_read_tables(p);
    klt_coder c = {.kern = k, .step = (float)step};

    TRY(rans_open(&c.rans, t.frequency[0], k, NULL));
    memcpy(c.bias, t.bias, sizeof c.bias);
    klt_set_prices(&c.prices);
    *out = c;
    return ERR_OK;
}

void klt_close_coder(klt_coder *c)
{
    rans_close(c->rans);
    c->rans = NULL;
}

size_t klt_coder_bytes(void)
{
    return rans_model_bytes();
}

/* --- a block --- */

/* first, second, and q. */
size_t klt_temp_floats(size_t rows, size_t D)
{
    return 2 * rows * D + (rows * D + 1) / 2;
}

static float *third(const klt_layer *l, const klt_block *b)
{
    return b->temp + 2 * b->rows * l->D;
}

const float *klt_components(const klt_block *b)
{
    return b->temp;
}

int16_t *klt_codes(const klt_layer *l, const klt_block *b)
{
    return (int16_t *)(void *)third(l, b);
}

kern_classes klt_classes(const klt_layer *l, const klt_block *b)
{
    return (kern_classes){l->row, b->column, l->n, b->rows};
}

/* y [B,rows] = x [B,cols] times a factor, codes of x in the third part of temp. */
static void multiply(const klt_block *b, const matrix *m, const float *x, float *codes,
                     float *y)
{
    const kern *k = b->coder->kern;
    matrix_input in = {.x = x, .T = b->rows, .D = m->cols};

    /* activations are coded as forward codes a layer input */
    if (matrix_wants_int8(m)) in = remat_code(k, x, b->rows, m->cols, codes);
    remat_multiply_packed(k, &in, m, y);
}

void klt_project(const klt_layer *l, const klt_block *b)
{
    const size_t D = l->D, n = b->rows * D;
    float *first = b->temp, *second = b->temp + n;
    const float *in = b->state;

    if (!l->predicts) return;
    if (l->rank) {
        multiply(b, &l->down, in, third(l, b), second);
        in = second;
    }
    multiply(b, &l->change, in, third(l, b), first);
    for (size_t t = 0; t < n; t += D)
        b->coder->kern->klt_predict(b->state + t, l->diagonal, first + t, D);
}

static void add_offset(const klt_layer *l, const klt_block *b)
{
    for (size_t t = 0; t < b->rows; t++)
        b->coder->kern->mix(b->state + t * l->D, l->c, l->D, 1, 1);
}

/* W of each token, from its exact input; kept rows get the coarsest, where zeros cost least. */
void klt_weigh(const klt_layer *l, klt_block *b, const float *x)
{
    float z[KLT_ROWS];

    remat_multiply(x, b->rows, l->D, l->salience, 1, z, 0);
    for (size_t t = 0; t < b->rows; t++) {
        const float w = nearbyintf(0.5f * (z[t] + l->salience[l->D]));

        /* so written that a NaN weighs nothing */
        b->weight[t] = t < b->sinks        ? -MOST_WEIGHT
                       : w > MOST_WEIGHT   ? MOST_WEIGHT
                       : w >= -MOST_WEIGHT ? (int8_t)w
                                           : -MOST_WEIGHT;
    }
}

/* Steps and classes of the tokens at a multiplier. */
static void set_steps(klt_block *b, int multiplier)
{
    static const float sixteenth[OCTAVE] = {1.0f,        1.04427378f, 1.09050773f, 1.13878863f,
                                            1.18920712f, 1.24185781f, 1.29683955f, 1.35425555f,
                                            1.41421356f, 1.47682615f, 1.54221083f, 1.61049033f,
                                            1.68179283f, 1.75625216f, 1.83400809f, 1.91520656f};
    const int classes = (multiplier + 512 + 2) / KLT_CLASS_OCTAVE - 512 / KLT_CLASS_OCTAVE;

    for (size_t t = 0; t < b->rows; t++) {
        /* a table and an exact shift, not exp2f, whose last bit is the library's affair */
        const int fine = b->weight[t] * (OCTAVE / 2) + multiplier, at = -fine & (OCTAVE - 1);

        b->step[t] = ldexpf(b->coder->step * sixteenth[at], (-fine - at) / OCTAVE);
        b->inverse[t] = t < b->sinks ? 0 : 1 / b->step[t];
        b->column[t] = (int8_t)(b->weight[t] * (KLT_CLASS_OCTAVE / 2) + classes);
    }
}

void klt_transform(const klt_layer *l, klt_block *b, const float *x)
{
    const kern *k = b->coder->kern;
    const size_t n = b->rows * l->D;
    float *first = b->temp, *second = b->temp + n;

    assert(b->rows <= KLT_ROWS);
    add_offset(l, b);
    if (!l->n) return;
    memcpy(first, x, n * sizeof *first);
    k->mix(first, b->state, n, 1, -1);
    multiply(b, &l->f, first, third(l, b), second);
    k->transpose(second, l->n, b->rows, l->n, first, b->rows);
}

void klt_quantize(const klt_layer *l, klt_block *b, int multiplier)
{
    kern_classes classes;

    set_steps(b, multiplier);
    classes = klt_classes(l, b);
    b->coder->kern->klt_quantize(&classes, b->temp, b->inverse, &b->coder->prices,
                                 klt_codes(l, b));
}

void klt_add(const klt_layer *l, klt_block *b)
{
    const kern *k = b->coder->kern;
    const kern_classes classes = klt_classes(l, b);
    float *first = b->temp, *second = b->temp + b->rows * l->D;

    /* a layer may store no component at all: its prediction is all there is */
    if (!l->n) return;
    k->klt_dequantize(&classes, klt_codes(l, b), b->coder->bias, b->step, first);
    k->transpose(first, b->rows, l->n, b->rows, second, l->N);
    for (size_t t = 0; t < b->rows; t++)
        memset(second + t * l->N + l->n, 0, (l->N - l->n) * sizeof *second);
    multiply(b, &l->b, second, third(l, b), first);
    k->mix(b->state, first, b->rows * l->D, 1, 1);
}

/* --- bytes --- */

static size_t header_bytes(const klt_block *b)
{
    return 1 + b->rows / 2;
}

static void put_header(const klt_block *b, int multiplier)
{
    b->code[0] = (uint8_t)(multiplier - COARSEST);
    for (size_t t = 0; t < b->rows; t += 2)
        b->code[1 + t / 2] = (uint8_t)((b->weight[t] + MOST_WEIGHT) |
                                       (b->weight[t + 1] + MOST_WEIGHT) << 4);
}

/* Bytes may be anything: a weight that no encoder writes is still a number. */
static int read_header(klt_block *b)
{
    for (size_t t = 0; t < b->rows; t++) {
        const int w = b->code[1 + t / 2] >> (t % 2 * 4) & 15;

        b->weight[t] = (int8_t)(w - MOST_WEIGHT > MOST_WEIGHT ? MOST_WEIGHT : w - MOST_WEIGHT);
    }
    return b->code[0] + COARSEST;
}

/* How much coarser, in sixteenths, for codes that are too long by so many bits; 0: they fit. */
static int coarsen(const klt_layer *l, const klt_block *b, const int16_t *q)
{
    const double room = 8 * ((double)b->room - (double)header_bytes(b));
    const kern_classes classes = klt_classes(l, b);
    const double cost = (double)rans_cost(b->coder->rans, &classes, q);
    const double bits = cost / RANS_COST_ONE + 8 * RANS_OVERHEAD;
    const double over = bits - room;

    /* half of the components hold on to a bit an octave: rather a step too far than one more
     * round of coding */
    return over > 0 ? 1 + (int)(OCTAVE * over / (0.5 * (double)(l->n * b->rows) + 1)) : 0;
}

int klt_limit(int multiplier)
{
    return multiplier > FINEST ? FINEST : multiplier < COARSEST ? COARSEST : multiplier;
}

/* Quantize ever coarser until the codes fit. */
size_t klt_pack(const klt_layer *l, klt_block *b, const int16_t *q, int multiplier,
                klt_again *again, void *arg)
{
    const size_t header = header_bytes(b);

    for (int m = multiplier; m >= COARSEST && b->room > header;) {
        kern_classes classes;
        size_t bytes = RANS_NO_ROOM;
        int coarser;

        if (m != multiplier) again(arg, l, m);
        coarser = coarsen(l, b, q);
        classes = klt_classes(l, b);
        if (!coarser)
            bytes = rans_encode(b->coder->rans, &classes, q, b->code + header,
                                b->room - header);
        if (bytes != RANS_NO_ROOM) {
            put_header(b, m);
            return header + bytes;
        }
        coarser = coarser ? coarser : 1;
        /* the coarsest is tried before nothing is coded: an estimate may go too far */
        m = m > COARSEST && m - coarser < COARSEST ? COARSEST : m - coarser;
    }
    return 0;
}

size_t klt_pack_nothing(const klt_block *b)
{
    b->code[0] = NOTHING;
    return 1;
}

static void quantize_again(void *arg, const klt_layer *l, int multiplier)
{
    klt_quantize(l, arg, multiplier);
}

size_t klt_encode(const klt_layer *l, klt_block *b, const float *x, int multiplier)
{
    const int m = klt_limit(multiplier);
    size_t bytes = 0;

    klt_project(l, b);
    klt_weigh(l, b, x);
    klt_transform(l, b, x);
    if (l->n) {
        klt_quantize(l, b, m);
        bytes = klt_pack(l, b, klt_codes(l, b), m, quantize_again, b);
    }
    if (!bytes) return klt_pack_nothing(b);
    klt_add(l, b);
    return bytes;
}

bool klt_read_multiplier(const uint8_t *code, int *multiplier)
{
    *multiplier = code[0] + COARSEST;
    return code[0] != NOTHING;
}

void klt_decode(const klt_layer *l, klt_block *b)
{
    const size_t header = header_bytes(b);
    kern_classes classes;

    assert(b->rows <= KLT_ROWS);
    klt_project(l, b);
    add_offset(l, b);
    if (b->room <= header || b->code[0] == NOTHING || !l->n) return;
    set_steps(b, read_header(b));
    classes = klt_classes(l, b);
    rans_decode(b->coder->rans, &classes, b->code + header, b->room - header, klt_codes(l, b));
    klt_add(l, b);
}
