/* tok_reach.c - how far a word that begins here can go.
 *
 * For each of three lengths, 4, 8 and 16 bytes, a table says how long the longest word is that
 * begins with such a prefix; 0: none does.
 *
 *   text   ... x q z j k ...
 *              ^ no word begins with "xqzj": 3 bytes at most
 *
 * A text is then covered as in the game of jumps: among all bytes that the tokens so far can
 * reach, the one from which the next goes furthest. Real merges need more tokens, never fewer.
 * A table is by hash alone: where two prefixes share a place, the longer word counts for both,
 * and the bound is lower than it need be. */
#include "engine/tokenizer/tok_reach.h"

#include <stdlib.h>
#include <string.h>

static const size_t prefix_bytes[TOK_REACH_LEVELS] = {4, 8, 16};

static uint64_t load(const char *at, size_t n)
{
    uint64_t x = 0;

    memcpy(&x, at, n);
    return x;
}

/* Multiplied and not scrambled whole: it is done for every byte of a text. */
static size_t place_of(const tok_reach *r, int level, const char *at)
{
    const uint64_t odd = 0x9e3779b97f4a7c15u;
    uint64_t x = load(at, level ? 8 : 4);

    if (level == 2) x = (x ^ x >> 29) * odd ^ load(at + 8, 8);
    return (size_t)level * (r->mask + 1) + ((size_t)(x * odd >> 32) & r->mask);
}

/* 65,535 stands for all that is as long or longer. */
static void take_in(tok_reach *r, gguf_text word)
{
    const uint16_t n = word.n < UINT16_MAX ? (uint16_t)word.n : UINT16_MAX;

    for (int i = 0; i < TOK_REACH_LEVELS && word.n >= prefix_bytes[i]; i++) {
        uint16_t *longest = &r->longest[place_of(r, i, word.at)];

        if (*longest < n) *longest = n;
    }
    if (word.n > r->most) r->most = word.n;
}

err tok_reach_read(tok_reach *r, const tok_vocab *v, unsigned types, size_t size)
{
    r->longest = calloc(TOK_REACH_LEVELS * size, sizeof *r->longest);
    if (!r->longest) return ERR_NOMEM;
    r->mask = size - 1;
    for (size_t i = 0; i < v->n; i++)
        if (types >> v->type[i] & 1) take_in(r, v->piece[i]);
    return ERR_OK;
}

void tok_reach_close(tok_reach *r)
{
    free(r->longest);
}

/* Of a level that no word has, one less than its prefix. */
size_t tok_reach_far(const tok_reach *r, const char *text, size_t n)
{
    size_t far = prefix_bytes[0] - 1;

    for (int i = 0; i < TOK_REACH_LEVELS && n >= prefix_bytes[i]; i++) {
        const size_t longest = r->longest[place_of(r, i, text)];
        const size_t next = i + 1 < TOK_REACH_LEVELS ? prefix_bytes[i + 1] - 1 : r->most;

        if (!longest) break;
        far = longest < UINT16_MAX ? longest : r->most;
        if (far > next) far = next;
    }
    return far;
}

size_t tok_reach_least(const tok_reach *r, const char *text, size_t n, size_t enough)
{
    size_t count = 0, end = 0, far = 0;

    for (size_t i = 0; i < n && count < enough; i++) {
        const size_t to = i + tok_reach_far(r, text + i, n - i);

        if (to > far) far = to;
        if (i < end) continue;
        count++;
        end = far;
    }
    return count;
}
