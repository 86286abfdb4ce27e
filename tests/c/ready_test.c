#include "loop/ready.h"

#include "base/status.h"
#include "check.h"

static void *
number(uintptr_t n)
{
    return (void *)(n + 1);
}

static void
test_zeroed_queue_is_empty(void)
{
    pn_ready ready = {0};
    CHECK(pn_ready_check(&ready));
    CHECK(pn_ready_take(&ready) == NULL);
    pn_ready_free(&ready);
    CHECK_INT(live_blocks(), 0);
}

/* Oracle: what comes out is 0, 1, 2, ... whatever the schedule. */
static void
test_items_come_out_in_the_order_they_went_in(void)
{
    test_random random;
    test_random_init(&random);
    for (int round = 0; round < 20; round++) {
        pn_ready ready = {0};
        uintptr_t in = 0, out = 0;
        for (int i = 0; i < 20000; i++) {
            uint64_t choice = test_random_next(&random) % 1000;
            bool grows = i < 10000;
            if (choice < (grows ? 600u : 400u))
                CHECK_INT(pn_ready_push(&ready, number(in++)), PN_OK);
            else if (out < in)
                CHECK(pn_ready_take(&ready) == number(out++));
            CHECK_INT(ready.count, in - out);
            if (in > out) {
                CHECK(pn_ready_at(&ready, 0) == number(out));
                CHECK(pn_ready_at(&ready, ready.count - 1) == number(in - 1));
            }
            CHECK(pn_ready_check(&ready));
        }
        while (out < in)
            CHECK(pn_ready_take(&ready) == number(out++));
        CHECK(pn_ready_take(&ready) == NULL);
        pn_ready_free(&ready);
    }
    CHECK_INT(live_blocks(), 0);
}

static void
test_without_memory_nothing_changes(void)
{
    pn_ready ready = {0};
    uintptr_t in = 0;
    fail_after(0);
    CHECK_INT(pn_ready_push(&ready, number(in)), PN_ENOMEM);
    CHECK(pn_ready_check(&ready));
    fail_never();
    for (int i = 0; i < 10; i++)
        CHECK_INT(pn_ready_push(&ready, number(in++)), PN_OK);
    CHECK(pn_ready_take(&ready) == number(0));
    fail_after(0);
    while (pn_ready_push(&ready, number(in)) == PN_OK)
        in++;
    CHECK_INT(ready.count, in - 1);
    CHECK(pn_ready_check(&ready));
    fail_never();
    CHECK_INT(pn_ready_push(&ready, number(in++)), PN_OK);
    for (uintptr_t i = 1; i < in; i++)
        CHECK(pn_ready_take(&ready) == number(i));
    pn_ready_free(&ready);
    CHECK_INT(live_blocks(), 0);
}

int
main(void)
{
    RUN(test_zeroed_queue_is_empty);
    RUN(test_items_come_out_in_the_order_they_went_in);
    RUN(test_without_memory_nothing_changes);
    return 0;
}
