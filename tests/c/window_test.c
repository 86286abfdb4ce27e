/* The window of a stream: both ends against each other. */
#include "check.h"

#include "base/status.h"
#include "mailbox/window.h"

static void
spend(pn_credit *credit, size_t size)
{
    CHECK(pn_credit_left(credit));
    CHECK_INT(pn_credit_spend(credit, size), PN_OK);
    CHECK(pn_credit_check(credit));
}

static void
test_window_is_spent_item_by_item(void)
{
    pn_credit credit;
    pn_credit_init(&credit, 3);
    for (int i = 0; i < 3; i++)
        spend(&credit, 10);
    CHECK(!pn_credit_left(&credit));
    CHECK_INT(credit.bytes, 30);
    pn_credit_grant(&credit, 2);
    CHECK(pn_credit_left(&credit));
    CHECK_INT(credit.count, 1);
    CHECK_INT(credit.bytes, 10);
    pn_credit_free(&credit);
    CHECK_INT(live_blocks(), 0);
}

static void
test_bytes_are_bounded_whatever_the_window(void)
{
    pn_credit credit;
    pn_credit_init(&credit, 1000);
    spend(&credit, PN_WINDOW_BYTES - 1);
    spend(&credit, (size_t)1 << 30);
    CHECK(!pn_credit_left(&credit));
    pn_credit_grant(&credit, 1);
    CHECK(!pn_credit_left(&credit));
    pn_credit_grant(&credit, 1);
    CHECK(pn_credit_left(&credit));
    pn_credit_free(&credit);
}

static void
test_window_has_limits(void)
{
    pn_credit credit;
    pn_taken taken;
    pn_credit_init(&credit, 0);
    CHECK_INT(credit.window, 1);
    pn_credit_init(&credit, UINT64_MAX);
    CHECK_INT(credit.window, PN_WINDOW_LIMIT);
    pn_taken_init(&taken, UINT64_MAX);
    CHECK_INT(taken.window, PN_WINDOW_LIMIT);
    pn_taken_init(&taken, 0);
    CHECK_INT(pn_taken_add(&taken, 0), 1);
}

static void
test_more_granted_than_was_sent_is_all(void)
{
    pn_credit credit;
    pn_credit_init(&credit, 2);
    pn_credit_grant(&credit, 5);
    CHECK(pn_credit_check(&credit));
    spend(&credit, 7);
    pn_credit_grant(&credit, UINT64_MAX);
    CHECK_INT(credit.count, 0);
    CHECK_INT(credit.bytes, 0);
    spend(&credit, 1);
    spend(&credit, 1);
    CHECK(!pn_credit_left(&credit));
    pn_credit_free(&credit);
}

static void
test_grants_come_by_the_half(void)
{
    pn_taken taken;
    pn_taken_init(&taken, 7);
    for (int i = 0; i < 3; i++)
        CHECK_INT(pn_taken_add(&taken, 1), 0);
    CHECK_INT(pn_taken_add(&taken, 1), 4);
    CHECK_INT(pn_taken_add(&taken, PN_WINDOW_BYTES / 2), 1);
    CHECK_INT(pn_taken_add(&taken, PN_WINDOW_BYTES / 2 - 1), 0);
    CHECK_INT(pn_taken_add(&taken, 1), 2);
}

static void
test_without_memory_nothing_changes(void)
{
    pn_credit credit;
    pn_credit_init(&credit, 100);
    for (int growth = 0; growth < 3; growth++) {
        fail_after(0);
        while (pn_credit_spend(&credit, 3) == PN_OK)
            CHECK(pn_credit_check(&credit));
        size_t count = credit.count;
        CHECK(pn_credit_check(&credit));
        fail_never();
        spend(&credit, 3);
        CHECK_INT(credit.count, count + 1);
    }
    pn_credit_free(&credit);
    CHECK_INT(live_blocks(), 0);
}

/* Sizes of a stream: mostly small, now and then large. */
static size_t
random_size(test_random *random)
{
    size_t limit = test_random_next(random) % 8 == 0 ? PN_WINDOW_BYTES : 100;
    return (size_t)(test_random_next(random) % (2 * limit));
}

/* Whoever has something to do does it, in any order, until all was taken:
 * neither end waits for ever, nor is more on its way than the window. */
static void
run_stream(test_random *random, uint64_t window, size_t total)
{
    enum { ROOM = 4096 };
    static size_t sizes[ROOM];
    size_t sent = 0, taken_count = 0;
    pn_credit credit;
    pn_taken taken;
    pn_credit_init(&credit, window);
    pn_taken_init(&taken, window);
    while (taken_count < total) {
        bool may_send = sent < total && pn_credit_left(&credit);
        bool may_take = sent > taken_count;
        CHECK(may_send || may_take);
        if (may_send && (!may_take || test_random_next(random) % 2 == 0)) {
            sizes[sent % ROOM] = random_size(random);
            spend(&credit, sizes[sent++ % ROOM]);
            continue;
        }
        uint64_t grant = pn_taken_add(&taken, sizes[taken_count++ % ROOM]);
        CHECK(grant <= credit.count);
        pn_credit_grant(&credit, grant);
        CHECK(pn_credit_check(&credit));
    }
    pn_credit_free(&credit);
}

static void
test_random_streams_neither_stop_nor_overflow(void)
{
    test_random random;
    test_random_init(&random);
    for (int round = 0; round < 300; round++) {
        uint64_t window = 1 + test_random_next(&random) % 200;
        run_stream(&random, window, 1000);
    }
    CHECK_INT(live_blocks(), 0);
}

int
main(void)
{
    RUN(test_window_is_spent_item_by_item);
    RUN(test_bytes_are_bounded_whatever_the_window);
    RUN(test_window_has_limits);
    RUN(test_more_granted_than_was_sent_is_all);
    RUN(test_grants_come_by_the_half);
    RUN(test_without_memory_nothing_changes);
    RUN(test_random_streams_neither_stop_nor_overflow);
    return 0;
}
