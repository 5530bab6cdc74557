/* tok_swallow.c - white space beside special tokens. */
#include "engine/tokenizer/tok_swallow.h"

#include <stdlib.h>
#include <string.h>

#include "engine/tokenizer/tok_unicode.h"
#include "engine/utf8.h"

enum { LEFT = 1, RIGHT = 2 };

static const char key_left[] = "xquantd.tokenizer.swallows_left";
static const char key_right[] = "xquantd.tokenizer.swallows_right";
static const char key_architecture[] = "general.architecture";

static bool is_text(gguf_text text, const char *expected)
{
    return text.n == strlen(expected) && memcmp(text.at, expected, text.n) == 0;
}

/* Its files do not say so. */
static void read_phi3(tok_swallow *s, const tok_vocab *v)
{
    static const char *const never[] = {"<unk>", "<s>", "<|endoftext|>"};

    for (size_t i = 0; i < v->n; i++) {
        bool takes = v->type[i] == TOK_CONTROL || v->type[i] == TOK_USER;

        for (size_t k = 0; k < sizeof never / sizeof never[0]; k++)
            takes = takes && !is_text(v->piece[i], never[k]);
        if (takes) s->sides[i] = RIGHT;
    }
}

/* A list of ids. MISSING where there is none. */
static err read_list(tok_swallow *s, const gguf *g, const tok_vocab *v, const char *key,
                     uint8_t side)
{
    gguf_array list;

    TRY(gguf_get_array(g, key, &list));
    if (list.type != GGUF_TYPE_UINT32) return ERR_KEYTYPE;
    for (uint64_t i = 0; i < list.n; i++) {
        uint32_t id;

        memcpy(&id, (const char *)list.data + i * sizeof id, sizeof id);
        if (id >= v->n) return ERR_RANGE;
        s->sides[id] |= side;
    }
    return ERR_OK;
}

err tok_swallow_read(tok_swallow *s, const gguf *g, const tok_vocab *v, bool spm, fault *why)
{
    err left, right;
    gguf_text name;

    s->sides = calloc(v->n, 1);
    if (!s->sides) return ERR_NOMEM;
    left = read_list(s, g, v, key_left, LEFT);
    if (left != ERR_OK && left != ERR_MISSING) return err_blame(why, left, key_left);
    right = read_list(s, g, v, key_right, RIGHT);
    if (right != ERR_OK && right != ERR_MISSING) return err_blame(why, right, key_right);
    if (left == ERR_OK || right == ERR_OK) return ERR_OK;
    if (spm && gguf_get_text(g, key_architecture, &name) == ERR_OK && is_text(name, "phi3"))
        read_phi3(s, v);
    else
        tok_swallow_close(s);
    return ERR_OK;
}

void tok_swallow_close(tok_swallow *s)
{
    free(s->sides);
    s->sides = NULL;
}

/* Bytes of the white space character that the n bytes begin with, or 0. */
static size_t space_at(const char *text, size_t n)
{
    size_t length;

    if (utf8_step(text, n, &length) != UTF8_WHOLE) return 0;
    return tok_unicode_is_space(tok_unicode_char(text, n, &length)) ? length : 0;
}

size_t tok_swallow_right(const tok_swallow *s, int32_t id, const char *text, size_t n)
{
    size_t i = 0, length;

    if (!s->sides || !(s->sides[id] & RIGHT)) return 0;
    while (i < n && (length = space_at(text + i, n - i))) i += length;
    return i;
}

size_t tok_swallow_left(const tok_swallow *s, int32_t id, const char *text, size_t n)
{
    size_t end = 0, length;

    if (!s->sides || !(s->sides[id] & LEFT)) return n;
    for (size_t i = 0; i < n; i += length) {
        const bool space = space_at(text + i, n - i);

        (void)utf8_step(text + i, n - i, &length);
        if (!space) end = i + length;
    }
    return end;
}
