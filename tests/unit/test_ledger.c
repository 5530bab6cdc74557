/* test_ledger.c - ten thousand random operations beside a model that counts from the ground;
 * what does not fit is refused, and changes nothing. */
#include "xcache/ledger.h"

#include <stdlib.h>
#include <string.h>

#include "tests/test.h"

enum { N = 24, NUMBERS = 2 * N, HOLDS = 200, PINS = 60, COPIES = 5, PAGES = 6, LONGEST = 6 };

/* A ledger with what it stands on, and what it has to say of every block. */
typedef struct scene {
    pool *pool;
    prefix_table *prefixes;
    ledger *ledger;
    size_t limit, evicted;
    uint64_t keys; /* so many blocks have been found by something */
    bool free[NUMBERS], found[NUMBERS], half[NUMBERS];
    bool hopeless[NUMBERS], degrading[NUMBERS];
    unsigned refs[NUMBERS], pins[NUMBERS];
    pool_block order[NUMBERS]; /* resting ones, the oldest first */
    size_t resting;
    pool_block holds[HOLDS], pinned[PINS]; /* who would let go of them */
    size_t n_holds, n_pinned;
    size_t reserved, copies[COPIES], n_copies; /* copies: blocks reserved for each */
    size_t refused[3], degraded, abandoned;    /* of admit, return and pin */
    uint32_t state;
} scene;

static uint32_t draw(scene *s, uint32_t n)
{
    s->state = s->state * 1664525u + 1013904223u;
    return (s->state >> 8) % n;
}

static void open_scene(scene *s, bool halves)
{
    *s = (scene){.state = 3, .limit = N};
    CHECK(pool_open(&s->pool, N * 128, 128, halves ? 2 : 1) == ERR_OK);
    CHECK(prefix_open(&s->prefixes, pool_numbers(s->pool), 128) == ERR_OK);
    CHECK(ledger_open(&s->ledger, s->pool, s->prefixes, NULL, NULL, LONGEST) == ERR_OK);
    for (size_t b = 0; b < NUMBERS; b++) s->free[b] = true;
}

static void close_scene(scene *s)
{
    ledger_close(s->ledger);
    prefix_close(s->prefixes);
    pool_close(s->pool);
}

/* --- the model --- */

static size_t count_held(const scene *s)
{
    size_t n = 0;

    for (size_t b = 0; b < NUMBERS; b++) n += s->refs[b] > 0;
    return n;
}

static size_t count_kept(const scene *s)
{
    size_t n = 0;

    for (size_t b = 0; b < NUMBERS; b++) n += s->pins[b] && !s->refs[b];
    return n;
}

static size_t count_pinned(const scene *s)
{
    size_t n = 0;

    for (size_t b = 0; b < NUMBERS; b++) n += s->pins[b] > 0;
    return n;
}

/* Whole blocks that could be taken now. */
static size_t count_free(const scene *s)
{
    size_t places = 2 * N;

    for (size_t b = 0; b < NUMBERS; b++)
        if (!s->free[b]) places -= s->half[b] ? 1 : 2;
    return places / 2;
}

static size_t find_resting(const scene *s, pool_block b)
{
    size_t i = 0;

    while (i < s->resting && s->order[i] != b) i++;
    return i;
}

static bool rests(const scene *s, pool_block b)
{
    return find_resting(s, b) < s->resting;
}

/* Does the state that the model is in break no bound? */
static bool is_allowed(const scene *s)
{
    const size_t busy = count_held(s) + s->reserved;

    return busy <= s->limit && busy + count_kept(s) <= N;
}

static void leave_rest(scene *s, pool_block b)
{
    const size_t i = find_resting(s, b);

    memmove(s->order + i, s->order + i + 1, (--s->resting - i) * sizeof *s->order);
    s->abandoned += s->degrading[b];
    s->degrading[b] = s->hopeless[b] = false;
}

static void set_free(scene *s, pool_block b)
{
    s->free[b] = true;
    s->found[b] = s->half[b] = false;
}

static void model_hold(scene *s, pool_block b)
{
    if (rests(s, b)) leave_rest(s, b);
    s->refs[b]++;
    s->holds[s->n_holds++] = b;
}

/* Nobody holds it any more: it rests, if something finds it. */
static void model_rest(scene *s, pool_block b)
{
    if (s->refs[b] || s->pins[b]) return;
    if (s->found[b])
        s->order[s->resting++] = b;
    else
        set_free(s, b);
}

static void model_evict(scene *s)
{
    const pool_block b = s->order[0];

    leave_rest(s, b);
    set_free(s, b);
    s->evicted++;
}

static size_t count_promised(const scene *s)
{
    return s->n_copies;
}

/* Every count, and the state of every block. */
static void compare(const scene *s)
{
    const ledger_counts n = ledger_count(s->ledger);
    size_t degradable = 0;

    CHECK(n.limit == s->limit && n.held == count_held(s) && n.reserved == s->reserved);
    CHECK(n.resting == s->resting && n.pinned == count_pinned(s) && n.kept == count_kept(s));
    CHECK(n.promised == count_promised(s) && n.evicted == s->evicted);
    CHECK(pool_free_blocks(s->pool) == count_free(s));
    for (pool_block b = 0; b < pool_numbers(s->pool); b++) {
        CHECK(pool_is_free(s->pool, b) == s->free[b]);
        CHECK(ledger_pins(s->ledger, b) == s->pins[b]);
        CHECK(ledger_rests(s->ledger, b) == rests(s, b));
        CHECK(ledger_is_degrading(s->ledger, b) == s->degrading[b]);
        if (!s->free[b]) CHECK(ledger_refcount(s->ledger, b) == s->refs[b]);
        degradable += rests(s, b) && !s->half[b] && !s->hopeless[b];
    }
    CHECK(ledger_degradable(s->ledger) == ((pool_parts(s->pool) == 2) ? degradable : 0));
    CHECK(ledger_is_sound(s->ledger));
}

/* --- operations --- */

/* Up to `most` of the blocks that something leads to, no two equal. */
static size_t choose_blocks(scene *s, size_t most, pool_block *out)
{
    size_t n = 0;

    for (size_t tries = 0; tries < 3 * most && n < most; tries++) {
        const pool_block b = draw(s, (uint32_t)pool_numbers(s->pool));
        bool again = !s->found[b];

        for (size_t i = 0; i < n; i++) again |= out[i] == b;
        if (!again) out[n++] = b;
    }
    return n;
}

static void admit(scene *s)
{
    pool_block blocks[6];
    scene after = *s;
    ledger_claim a = {.blocks = blocks, .n = choose_blocks(s, draw(s, 7), blocks)};
    const size_t each = draw(s, 3);

    if (s->n_holds + a.n > HOLDS) return;
    a.copies = draw(s, 4) ? 0 : 1 + draw(s, 2);
    a.reserve = draw(s, 7) + a.copies * each;
    a.free_pages = draw(s, PAGES);
    after.state = s->state;
    for (size_t i = 0; i < a.n; i++) model_hold(&after, blocks[i]);
    after.reserved += a.reserve;
    if (is_allowed(&after) && a.free_pages > s->n_copies + a.copies) {
        CHECK(s->n_copies + a.copies <= COPIES && ledger_admit(s->ledger, &a) == ERR_OK);
        *s = after;
        for (size_t i = 0; i < a.copies; i++) s->copies[s->n_copies++] = each;
    } else {
        CHECK(ledger_admit(s->ledger, &a) == ERR_BUSY);
        s->refused[0]++;
    }
}

/* What is reserved, but not for copies. */
static size_t count_own(const scene *s)
{
    size_t n = s->reserved;

    for (size_t i = 0; i < s->n_copies; i++) n -= s->copies[i];
    return n;
}

static void take(scene *s)
{
    pool_block b;

    if (!count_own(s) || s->n_holds == HOLDS) return;
    while (!count_free(s)) model_evict(s);
    b = ledger_take(s->ledger);
    CHECK(s->free[b]);
    s->free[b] = false;
    s->reserved--;
    model_hold(s, b);
    if (draw(s, 4) == 0) return; /* nothing will find it */
    CHECK(prefix_add(s->prefixes, (prefix_key){++s->keys, 0}, PREFIX_NONE, b));
    s->found[b] = true;
}

static void hold_one(scene *s)
{
    pool_block b;
    scene after;

    if (!choose_blocks(s, 1, &b) || s->n_holds == HOLDS) return;
    after = *s;
    model_hold(&after, b);
    if (!is_allowed(&after)) return; /* who holds without asking knows that there is room */
    ledger_hold(s->ledger, b);
    *s = after;
}

static pool_block take_hold(scene *s, size_t i)
{
    const pool_block b = s->holds[i];

    s->holds[i] = s->holds[--s->n_holds];
    s->refs[b]--;
    return b;
}

static void drop_one(scene *s)
{
    pool_block b;

    if (!s->n_holds) return;
    b = take_hold(s, draw(s, (uint32_t)s->n_holds));
    ledger_drop(s->ledger, b);
    model_rest(s, b);
}

/* Some that are held, no two equal, are let go of and as many reserved. */
static void give_back(scene *s)
{
    pool_block blocks[3];
    const size_t most = 1 + draw(s, 3);
    scene after = *s;
    size_t n = 0;

    for (size_t i = 0; i < after.n_holds && n < most;) {
        bool again = false;

        for (size_t j = 0; j < n; j++) again |= blocks[j] == after.holds[i];
        if (again)
            i++;
        else
            blocks[n++] = take_hold(&after, i);
    }
    for (size_t i = n; i--;) model_rest(&after, blocks[i]);
    after.reserved += n;
    CHECK(ledger_return(s->ledger, blocks, n) == (is_allowed(&after) ? ERR_OK : ERR_BUSY));
    if (is_allowed(&after))
        *s = after;
    else
        s->refused[1]++;
}

static void need_less(scene *s)
{
    if (s->n_copies && draw(s, 2)) {
        s->reserved -= s->copies[--s->n_copies];
        ledger_unpromise(s->ledger, s->copies[s->n_copies]);
    } else {
        const size_t n = draw(s, (uint32_t)count_own(s) + 1);

        ledger_unreserve(s->ledger, n);
        s->reserved -= n;
    }
}

static void pin_some(scene *s)
{
    pool_block blocks[6];
    scene after = *s;
    const size_t n = choose_blocks(s, draw(s, 7), blocks);

    if (s->n_pinned + n > PINS) return;
    after.state = s->state;
    for (size_t i = 0; i < n; i++) {
        if (rests(&after, blocks[i])) leave_rest(&after, blocks[i]);
        after.pins[blocks[i]]++;
        after.pinned[after.n_pinned++] = blocks[i];
    }
    if (is_allowed(&after) && count_pinned(&after) + LONGEST <= N) {
        CHECK(ledger_pin(s->ledger, blocks, n) == ERR_OK);
        *s = after;
    } else {
        CHECK(ledger_pin(s->ledger, blocks, n) == ERR_BUSY);
        s->refused[2]++;
    }
}

static void unpin_one(scene *s)
{
    pool_block b;

    if (!s->n_pinned) return;
    b = s->pinned[--s->n_pinned];
    ledger_unpin(s->ledger, &b, 1);
    if (--s->pins[b] == 0) model_rest(s, b);
}

static void free_some(scene *s)
{
    const pool_block b = draw(s, (uint32_t)pool_numbers(s->pool));
    const size_t n = draw(s, 3), had = s->resting;

    if (draw(s, 2)) {
        ledger_free(s->ledger, b);
        if (!rests(s, b)) return;
        leave_rest(s, b);
        set_free(s, b);
    } else {
        CHECK(ledger_evict(s->ledger, n) == (n < had ? n : had));
        for (size_t i = 0; i < n && i < had; i++) model_evict(s);
    }
}

static void begin_degrade(scene *s)
{
    pool_block want = PREFIX_NONE;

    for (size_t i = s->resting; i--;) {
        const pool_block b = s->order[i];

        if (!s->half[b] && !s->hopeless[b] && !s->degrading[b]) want = b;
    }
    if (!(pool_parts(s->pool) == 2)) want = PREFIX_NONE;
    CHECK(ledger_begin_degrade(s->ledger) == want);
    if (want != PREFIX_NONE) s->degrading[want] = true;
}

/* One that is being degraded is half as large, or was found to stay whole. */
static void end_degrade(scene *s)
{
    const uint8_t bytes[64] = {0};

    for (pool_block b = 0; b < pool_numbers(s->pool); b++) {
        if (!s->degrading[b]) continue;
        ledger_end_degrade(s->ledger, b);
        s->degrading[b] = false;
        s->hopeless[b] = draw(s, 3) == 0;
        if (s->hopeless[b]) return;
        CHECK(prefix_change(s->prefixes, b));
        pool_shrink(s->pool, b, bytes);
        s->half[b] = true;
        s->degraded++;
        return;
    }
}

static void operate(scene *s)
{
    static void (*const all[])(scene *) = {
        admit,    take,      take,      take,     hold_one,  drop_one,      drop_one,
        drop_one, give_back, need_less, pin_some, unpin_one, begin_degrade, end_degrade};

    if (draw(s, 40) == 0)
        free_some(s);
    else
        all[draw(s, sizeof all / sizeof *all)](s);
}

/* Let go of everything: the pool has to be as it was. */
static void let_go(scene *s)
{
    while (s->n_holds) drop_one(s);
    while (s->n_pinned) unpin_one(s);
    while (s->n_copies) need_less(s);
    ledger_unreserve(s->ledger, s->reserved);
    s->reserved = 0;
    compare(s);
    CHECK(ledger_evict(s->ledger, SIZE_MAX) == s->resting);
    CHECK(pool_free_blocks(s->pool) == N && pool_used_bytes(s->pool) == 0);
}

static void run_scene(bool halves)
{
    scene *s = malloc(sizeof *s);

    open_scene(s, halves);
    for (int i = 0; i < 10000; i++) {
        operate(s);
        compare(s);
    }
    CHECK(s->refused[0] > 100 && s->refused[1] > 10 && s->refused[2] > 10);
    CHECK(s->evicted > 100 && s->keys > 500);
    CHECK(!halves || (s->degraded > 50 && s->abandoned > 10));
    let_go(s);
    close_scene(s);
    free(s);
}

TEST(ledger_counts_as_a_model_does_for_ten_thousand_operations)
{
    run_scene(false);
}

TEST(ledger_over_halves_counts_as_a_model_does)
{
    run_scene(true);
}
