/* test_ledger_bounds.c - the bounds of a ledger, one by one: at each it admits, past it it does
 * not. What many operations add up to is in test_ledger.c. */
#include "tests/test.h"
#include "xcache/ledger.h"

enum { N = 24, PAGES = 6, LONGEST = 6 };

/* A ledger with what it stands on. */
typedef struct books {
    pool *pool;
    prefix_table *prefixes;
    ledger *ledger;
} books;

static void open_books(books *s)
{
    *s = (books){0};
    CHECK(pool_open(&s->pool, N * 128, 128, 1) == ERR_OK);
    CHECK(prefix_open(&s->prefixes, pool_numbers(s->pool), 128) == ERR_OK);
    CHECK(ledger_open(&s->ledger, s->pool, s->prefixes, NULL, NULL, LONGEST) == ERR_OK);
}

static void close_books(books *s)
{
    ledger_close(s->ledger);
    prefix_close(s->prefixes);
    pool_close(s->pool);
}

TEST(ledger_admits_up_to_the_bound_and_no_further)
{
    const ledger_claim all = {.reserve = N, .free_pages = PAGES};
    const ledger_claim one = {.reserve = 1, .free_pages = PAGES};
    books s;

    open_books(&s);
    CHECK(ledger_admit(s.ledger, &all) == ERR_OK);
    CHECK(ledger_admit(s.ledger, &one) == ERR_BUSY);
    CHECK(ledger_count(s.ledger).reserved == N && ledger_limit(s.ledger) == N);
    for (size_t i = 0; i < N; i++) ledger_take(s.ledger);
    CHECK(ledger_count(s.ledger).held == N && ledger_admit(s.ledger, &one) == ERR_BUSY);
    ledger_drop(s.ledger, 0); /* nothing leads to it: it is free */
    CHECK(ledger_admit(s.ledger, &one) == ERR_OK && ledger_take(s.ledger) == 0);
    close_books(&s);
}

TEST(ledger_lets_the_modest_leave_room_for_one_more)
{
    const ledger_claim modest = {
        .reserve = N - LONGEST - 4, .free_pages = PAGES, .modest = true};
    const ledger_claim more = {.reserve = 5, .free_pages = PAGES, .modest = true};
    const ledger_claim longest = {.reserve = LONGEST, .free_pages = PAGES};
    books s;

    open_books(&s);
    CHECK(ledger_admit(s.ledger, &modest) == ERR_OK);
    CHECK(ledger_admit(s.ledger, &more) == ERR_BUSY);
    CHECK(ledger_count(s.ledger).reserved == N - LONGEST - 4);
    CHECK(ledger_admit(s.ledger, &longest) == ERR_OK);
    close_books(&s);
}

TEST(ledger_counts_who_holds_a_block_and_the_block_once)
{
    const ledger_claim one = {.reserve = 1, .free_pages = 1};
    pool_block b;
    books s;

    open_books(&s);
    CHECK(ledger_admit(s.ledger, &one) == ERR_OK);
    b = ledger_take(s.ledger);
    CHECK(prefix_add(s.prefixes, (prefix_key){1, 1}, PREFIX_NONE, b));
    ledger_hold(s.ledger, b);
    CHECK(ledger_refcount(s.ledger, b) == 2 && ledger_count(s.ledger).held == 1);
    ledger_drop(s.ledger, b);
    CHECK(ledger_refcount(s.ledger, b) == 1 && ledger_count(s.ledger).held == 1);
    ledger_drop(s.ledger, b);
    CHECK(ledger_refcount(s.ledger, b) == 0 && ledger_count(s.ledger).held == 0);
    CHECK(pool_free_blocks(s.pool) == N - 1 && ledger_rests(s.ledger, b));
    ledger_hold(s.ledger, b);
    CHECK(ledger_refcount(s.ledger, b) == 1 && !ledger_rests(s.ledger, b));
    ledger_drop(s.ledger, b);
    ledger_free(s.ledger, b);
    CHECK(pool_free_blocks(s.pool) == N && ledger_is_sound(s.ledger));
    close_books(&s);
}

TEST(ledger_promises_no_open_page_twice)
{
    const ledger_claim copies = {.copies = 3, .free_pages = 4};
    const ledger_claim alone = {.free_pages = 3};
    books s;

    open_books(&s);
    CHECK(ledger_admit(s.ledger, &copies) == ERR_OK);
    CHECK(ledger_admit(s.ledger, &alone) == ERR_BUSY); /* three are left, and promised */
    ledger_unpromise(s.ledger, 0);
    CHECK(ledger_admit(s.ledger, &alone) == ERR_OK);
    CHECK(ledger_count(s.ledger).promised == 2);
    close_books(&s);
}

/* A workspace of fewer pages than the pool has blocks is the tighter bound. */
TEST(ledger_holds_no_more_blocks_than_there_are_pages)
{
    enum { FEW = 5 };
    const model m = {.D = 16, .L = 1, .G = 1, .C = 16, .E = 16};
    const ledger_claim most = {.reserve = FEW, .free_pages = PAGES};
    const ledger_claim more = {.reserve = FEW + 1, .free_pages = PAGES};
    workspace *w = NULL;
    ledger *l = NULL;
    pool_block b = 0;
    books s;

    open_books(&s);
    CHECK(workspace_open(&w, &m, NULL, 16, KV_INT8, FEW, pool_numbers(s.pool)) == ERR_OK);
    CHECK(ledger_open(&l, s.pool, s.prefixes, w, NULL, LONGEST) == ERR_OK);
    CHECK(ledger_limit(l) == FEW);
    CHECK(ledger_admit(l, &more) == ERR_BUSY && ledger_admit(l, &most) == ERR_OK);
    for (size_t i = 0; i < FEW; i++) workspace_add(w, b = ledger_take(l));
    CHECK(prefix_add(s.prefixes, (prefix_key){1, 1}, PREFIX_NONE, b));
    ledger_drop(l, b); /* it rests, and so does its page */
    CHECK(workspace_has(w, b) && ledger_is_sound(l));
    ledger_free(l, b); /* and goes with it */
    CHECK(!workspace_has(w, b) && workspace_used(w) == FEW - 1 && ledger_is_sound(l));
    ledger_close(l);
    workspace_close(w);
    close_books(&s);
}
