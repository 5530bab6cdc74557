/* tok_words.c - the words of a vocabulary, found by their bytes.
 *
 * Ids alone are in the table, 4 bytes a place at half load, so that a vocabulary of 150,000
 * words has 2 MB: what they are compared with lies in the pieces. */
#include "engine/tokenizer/tok_words.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* The end of MurmurHash3 (Appleby, public domain): FNV's low bits are weak, and they pick
 * the place. */
size_t tok_scramble(uint64_t x)
{
    x ^= x >> 33;
    x *= 0xff51afd7ed558ccdu;
    x ^= x >> 33;
    x *= 0xc4ceb9fe1a85ec53u;
    return (size_t)(x ^ x >> 33);
}

size_t tok_table_size(size_t n)
{
    size_t size = 16;

    while (size < 2 * n) size *= 2;
    return size;
}

/* FNV-1a, a byte at a time. */
static const uint64_t hash_of_none = 0xcbf29ce484222325u;

static uint64_t hash_add(uint64_t hash, char byte)
{
    return (hash ^ (unsigned char)byte) * 0x100000001b3u;
}

/* The place of a word with this hash, or the empty one where it would be. */
static int32_t *hashed_place(const tok_words *w, const char *bytes, size_t n, uint64_t hash)
{
    size_t i = tok_scramble(hash) & w->mask;

    for (; w->ids[i] != NO_ID; i = (i + 1) & w->mask) {
        const gguf_text *piece = &w->v->piece[w->ids[i]];

        if (piece->n == n && memcmp(piece->at, bytes, n) == 0) break;
    }
    return &w->ids[i];
}

static int32_t *word_place(const tok_words *w, const char *bytes, size_t n)
{
    uint64_t hash = hash_of_none;

    for (size_t i = 0; i < n; i++) hash = hash_add(hash, bytes[i]);
    return hashed_place(w, bytes, n, hash);
}

/* Most candidates of a merge are no words, and longer ones than any word are not even
 * hashed. */
int32_t tok_words_find(const tok_words *w, const char *bytes, size_t n)
{
    return n <= w->longest ? *word_place(w, bytes, n) : NO_ID;
}

/* The hash grows with the prefix. That no word is longer than it reaches is known beforehand.
 */
void tok_words_prefixes(const tok_words *w, const char *text, size_t n,
                        void (*found)(void *arg, int32_t id, size_t bytes), void *arg)
{
    const size_t far = tok_reach_far(&w->reach, text, n);
    uint64_t hash = hash_of_none;

    for (size_t i = 0; i < n && i < far; i++) {
        int32_t id;

        hash = hash_add(hash, text[i]);
        if (i + 1 < n && ((unsigned char)text[i + 1] & 0xc0) == 0x80)
            continue; /* half of one */
        id = *hashed_place(w, text, i + 1, hash);
        if (id != NO_ID) found(arg, id, i + 1);
    }
}

/* Of words with the same bytes the first counts, as in the reference implementations. */
err tok_words_read(tok_words *w, const tok_vocab *v, unsigned types)
{
    const size_t size = tok_table_size(v->n);

    w->v = v;
    w->ids = malloc(size * sizeof *w->ids);
    if (!w->ids) return ERR_NOMEM;
    memset(w->ids, 0xff, size * sizeof *w->ids); /* NO_ID */
    w->mask = size - 1;
    for (size_t i = 0; i < v->n; i++) {
        int32_t *place;

        if (!(types >> v->type[i] & 1) || v->piece[i].n == 0) continue;
        place = word_place(w, v->piece[i].at, v->piece[i].n);
        if (*place == NO_ID) *place = (int32_t)i;
        if (v->piece[i].n > w->longest) w->longest = v->piece[i].n;
    }
    return tok_reach_read(&w->reach, v, types, size);
}

void tok_words_close(tok_words *w)
{
    free(w->ids);
    tok_reach_close(&w->reach);
}

err tok_words_fit(const tok_words *w, gguf_text text, const token_ids *to)
{
    const size_t room = to->most - to->n;

    if (text.n <= room) return ERR_OK;
    return tok_reach_least(&w->reach, text.at, text.n, room + 1) > room ? ERR_TOOLONG : ERR_OK;
}

/* Bytes of ordinary text. Some vocabularies lack others: control characters, what UTF-8 never
 * has, and what begins the unassigned planes. */
static bool is_needed(int byte)
{
    if (byte < 0x80) return (byte >= 0x20 && byte != 0x7f) || byte == '\t' || byte == '\n';
    return byte < 0xf1 && byte != 0xc0 && byte != 0xc1;
}

err tok_words_bytes(const tok_words *w, int32_t byte_id[256], fault *why)
{
    char field[64];

    for (int i = 0; i < 256; i++) {
        const char byte = (char)i;

        byte_id[i] = tok_words_find(w, &byte, 1);
    }
    for (size_t i = w->v->n; i-- > 0;) { /* of doubles, the first */
        const gguf_text *piece = &w->v->piece[i];

        if (w->v->type[i] == TOK_BYTE && piece->n == 1)
            byte_id[(unsigned char)piece->at[0]] = (int32_t)i;
    }
    for (int i = 0; i < 256; i++) {
        if (byte_id[i] != NO_ID || !is_needed(i)) continue;
        snprintf(field, sizeof field, "tokenizer.ggml.tokens: byte 0x%02x", (unsigned)i);
        return err_blame(why, ERR_MISSING, field);
    }
    return ERR_OK;
}
