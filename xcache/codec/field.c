/* field.c - min-max codes along either axis; across tokens by way of a transposed copy. */
#include "xcache/codec/field.h"

#include "xcache/codec/minmax.h"

int field_layer_bits(const codec_state *s, int layer)
{
    /* modes of more bits keep their own in the first layers too */
    const bool kept = layer < s->tuning.kept_layers && s->bits < CODEC_KEPT_BITS;

    return kept ? CODEC_KEPT_BITS : s->bits;
}

/* Rows and their length as the quantizer sees them. */
static size_t lines(const field *f)
{
    return f->axis == FIELD_PER_TOKEN ? f->rows : f->width;
}

static size_t length(const field *f)
{
    return f->axis == FIELD_PER_TOKEN ? f->width : f->rows;
}

static minmax coding(const field *f, const kern *k)
{
    return (minmax){.kern = k, .bits = f->bits, .group = f->group};
}

codec_size field_size(const field *f)
{
    return (codec_size){.codes = lines(f) * minmax_bytes(length(f), f->bits),
                        .scales = lines(f) * minmax_groups(length(f), f->group) *
                                  sizeof(minmax_scale)};
}

/* The first values of each line become what follows them, so that they stretch no range. */
static void hide_unread(const field *f, float *turned)
{
    for (size_t c = 0; c < f->width; c++, turned += f->rows)
        for (size_t t = 0; t < f->unread; t++) turned[t] = turned[f->unread];
}

void field_encode(const field *f, const kern *k, const float *x, uint8_t *codes,
                  uint8_t *scales, float *temp)
{
    const minmax m = coding(f, k);

    /* the quantizer knows rows only; turned once, its loops run along memory on either axis */
    if (f->axis == FIELD_PER_CHANNEL) {
        k->transpose(x, f->width, f->rows, f->width, temp, f->rows);
        hide_unread(f, temp);
        x = temp;
    }
    minmax_encode_rows(&m, x, lines(f), length(f), codes, (minmax_scale *)(void *)scales);
}

void field_decode(const field *f, const kern *k, const uint8_t *codes, const uint8_t *scales,
                  float *x, float *temp)
{
    const minmax m = coding(f, k);
    /* x may not be decoded in place: turning needs a second block */
    float *to = f->axis == FIELD_PER_CHANNEL ? temp : x;

    minmax_decode_rows(&m, codes, (const minmax_scale *)(const void *)scales, lines(f),
                       length(f), to);
    if (f->axis == FIELD_PER_CHANNEL)
        k->transpose(temp, f->rows, f->width, f->rows, x, f->width);
}
