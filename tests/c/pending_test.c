/* Replies owed: each waiter is handed out once, whatever happens. */
#include "check.h"

#include "base/status.h"
#include "mailbox/envelope.h"
#include "mailbox/pending.h"

#define ASKS 2000

static int things[ASKS + 1]; /* stand for futures; the index is the ask's id */

static void
test_ids_count_from_the_first_one(void)
{
    pn_pending pending;
    uint64_t id = 0;
    pn_pending_init(&pending, 41);
    CHECK_INT(pn_pending_add(&pending, 7, 1, &things[0], &id), PN_OK);
    CHECK_INT(id, 41);
    CHECK(pn_pending_take(&pending, id) == &things[0]);
    CHECK_INT(pn_pending_add(&pending, 7, 1, &things[0], &id), PN_OK);
    CHECK_INT(id, 42);
    CHECK(pn_pending_take(&pending, id) == &things[0]);
    pn_pending_free(&pending);
    CHECK_INT(live_blocks(), 0);
}

static void
test_late_or_unknown_reply_finds_nobody(void)
{
    pn_pending pending;
    uint64_t id;
    pn_pending_init(&pending, 1);
    CHECK(pn_pending_take(&pending, 1) == NULL);
    CHECK_INT(pn_pending_add(&pending, 7, 1, &things[0], &id), PN_OK);
    CHECK(pn_pending_take(&pending, id) == &things[0]);
    CHECK(pn_pending_take(&pending, id) == NULL);
    CHECK_INT(pn_pending_count(&pending), 0);
    pn_pending_free(&pending);
}

/* Check that the list is that of the ids first, first + step, ... and hand
 * its entries back. */
static void
check_list(pn_pending *pending, pn_waiter *list, size_t first, size_t step,
           size_t count)
{
    for (size_t id = first; count > 0; id += step, count--) {
        CHECK(list != NULL);
        pn_waiter *next = list->next;
        CHECK_INT(list->id, id);
        CHECK(list->object == &things[id]);
        pn_pending_recycle(pending, list);
        list = next;
    }
    CHECK(list == NULL);
}

static void
test_end_of_a_node_takes_its_waiters_in_order(void)
{
    pn_pending pending;
    uint64_t id;
    pn_pending_init(&pending, 1);
    for (size_t i = 1; i <= 999; i++)
        CHECK_INT(pn_pending_add(&pending, 7, i % 3, &things[i], &id), PN_OK);
    CHECK(pn_pending_take_node(&pending, 3, false) == NULL);
    check_list(&pending, pn_pending_take_node(&pending, 1, false), 1, 3, 333);
    CHECK(pn_pending_take_node(&pending, 1, false) == NULL);
    CHECK_INT(pn_pending_count(&pending), 666);
    CHECK(pn_pending_take(&pending, 1) == NULL);
    check_list(&pending, pn_pending_take_node(&pending, 2, false), 2, 3, 333);
    check_list(&pending, pn_pending_take_node(&pending, 0, true), 3, 3, 333);
    CHECK(pn_pending_take_node(&pending, 0, true) == NULL);
    pn_pending_free(&pending);
    CHECK_INT(live_blocks(), 0);
}

/* All actors of a process end together: those that it holds, too. */
static void
test_end_of_a_node_takes_the_waiters_of_all_its_actors(void)
{
    const uint64_t node = 0xfedcba987, actor = (uint64_t)1 << PN_NODE_BITS;
    pn_pending pending;
    uint64_t id;
    pn_pending_init(&pending, 1);
    for (size_t i = 1; i <= 60; i++)
        CHECK_INT(pn_pending_add(&pending, 7, node + i % 2 + (i % 5) * actor,
                                 &things[i], &id),
                  PN_OK);
    CHECK(pn_pending_take_node(&pending, 1, false) == NULL);
    check_list(&pending, pn_pending_take_node(&pending, node, false), 2, 2,
               30);
    check_list(&pending, pn_pending_take_node(&pending, node + 1, false), 1, 2,
               30);
    pn_pending_free(&pending);
    CHECK_INT(live_blocks(), 0);
}

static void
test_asks_to_a_node_up_to_some_are_taken_and_later_ones_are_not(void)
{
    pn_pending pending;
    uint64_t id;
    pn_pending_init(&pending, 1);
    for (size_t i = 1; i <= 60; i++)
        CHECK_INT(pn_pending_add(&pending, 7, i % 2, &things[i], &id), PN_OK);
    CHECK(pn_pending_take_until(&pending, 2, 60) == NULL);
    CHECK(pn_pending_take_until(&pending, 1, 0) == NULL);
    check_list(&pending, pn_pending_take_until(&pending, 1, 30), 1, 2, 15);
    check_list(&pending, pn_pending_take_node(&pending, 1, false), 31, 2, 15);
    check_list(&pending, pn_pending_take_until(&pending, 0, 60), 2, 2, 30);
    pn_pending_free(&pending);
    CHECK_INT(live_blocks(), 0);
}

static void
test_bound_ask_ends_with_whom_it_went_to(void)
{
    pn_pending pending;
    uint64_t id;
    pn_pending_init(&pending, 1);
    CHECK_INT(pn_pending_add(&pending, 7, 0, &things[1], &id), PN_OK);
    pn_pending_bind(&pending, id, 7);
    pn_pending_bind(&pending, 1000, 7); /* unknown: ignored */
    CHECK(pn_pending_take_node(&pending, 0, false) == NULL);
    check_list(&pending, pn_pending_take_node(&pending, 7, false), 1, 1, 1);
    pn_pending_free(&pending);
    CHECK_INT(live_blocks(), 0);
}

/* A callback of a taken waiter may ask again: the taken list stands apart. */
static void
test_asking_while_a_taken_list_is_worked_off(void)
{
    pn_pending pending;
    uint64_t id;
    pn_pending_init(&pending, 1);
    for (size_t i = 1; i <= 10; i++)
        CHECK_INT(pn_pending_add(&pending, 7, 1, &things[i], &id), PN_OK);
    pn_waiter *list = pn_pending_take_node(&pending, 1, false);
    for (size_t i = 1; i <= 10; i++) {
        pn_waiter *next = list->next;
        CHECK_INT(list->id, i);
        pn_pending_recycle(&pending, list);
        CHECK_INT(pn_pending_add(&pending, 7, 1, &things[10 + i], &id), PN_OK);
        CHECK_INT(id, 10 + i);
        list = next;
    }
    check_list(&pending, pn_pending_take_node(&pending, 1, false), 11, 1, 10);
    pn_pending_free(&pending);
    CHECK_INT(live_blocks(), 0);
}

static void
test_without_memory_the_object_stays_with_the_caller(void)
{
    pn_pending pending;
    size_t refused = 0;
    for (long n = 0; n < 10; n++) {
        uint64_t id = 999;
        pn_pending_init(&pending, 1);
        fail_after(n);
        int err = pn_pending_add(&pending, 7, 1, &things[1], &id);
        fail_never();
        if (err < 0) {
            CHECK_INT(err, PN_ENOMEM);
            CHECK_INT(id, 999);
            CHECK_INT(pn_pending_count(&pending), 0);
            refused++;
            CHECK_INT(pn_pending_add(&pending, 7, 1, &things[1], &id), PN_OK);
        }
        CHECK_INT(id, 1);
        CHECK(pn_pending_take(&pending, 1) == &things[1]);
        pn_pending_free(&pending);
        CHECK_INT(live_blocks(), 0);
    }
    CHECK_INT(refused, 2);
}

/* The model: for each id its target, or GONE. */
enum { TARGETS = 5, GONE = -1 };

static void
take_one_node(pn_pending *pending, int *targets, size_t last, int target,
              bool all)
{
    pn_waiter *list = pn_pending_take_node(pending, (uint64_t)target, all);
    for (size_t id = 1; id <= last; id++) {
        if (targets[id] == GONE || (!all && targets[id] != target))
            continue;
        targets[id] = GONE;
        CHECK(list != NULL && list->id == id && list->object == &things[id]);
        pn_waiter *next = list->next;
        pn_pending_recycle(pending, list);
        list = next;
    }
    CHECK(list == NULL);
}

static void
test_random_schedule_hands_each_waiter_out_once(void)
{
    int targets[ASKS + 1];
    uint64_t last = 0;
    pn_pending pending;
    test_random random;
    test_random_init(&random);
    pn_pending_init(&pending, 1);
    while (last < ASKS) {
        int target = (int)(test_random_next(&random) % TARGETS);
        uint64_t id = 1 + test_random_next(&random) % (last + 1);
        bool known = id <= last && targets[id] != GONE;
        switch (test_random_next(&random) % 16) {
        case 0:
            take_one_node(&pending, targets, last, target, false);
            break;
        case 1:
            pn_pending_bind(&pending, id, (uint64_t)target);
            if (known)
                targets[id] = target;
            break;
        case 2:
        case 3:
        case 4:
        case 5:
            CHECK(pn_pending_take(&pending, id) ==
                  (known ? &things[id] : NULL));
            if (known)
                targets[id] = GONE;
            break;
        default:
            CHECK_INT(pn_pending_add(&pending, 7, (uint64_t)target,
                                     &things[last + 1], &id),
                      PN_OK);
            CHECK_INT(id, last + 1);
            targets[++last] = target;
        }
        CHECK(pn_map_check(&pending.waiters));
    }
    take_one_node(&pending, targets, last, 0, true);
    CHECK_INT(pn_pending_count(&pending), 0);
    pn_pending_free(&pending);
    CHECK_INT(live_blocks(), 0);
}

int
main(void)
{
    RUN(test_ids_count_from_the_first_one);
    RUN(test_late_or_unknown_reply_finds_nobody);
    RUN(test_end_of_a_node_takes_its_waiters_in_order);
    RUN(test_end_of_a_node_takes_the_waiters_of_all_its_actors);
    RUN(test_asks_to_a_node_up_to_some_are_taken_and_later_ones_are_not);
    RUN(test_bound_ask_ends_with_whom_it_went_to);
    RUN(test_asking_while_a_taken_list_is_worked_off);
    RUN(test_without_memory_the_object_stays_with_the_caller);
    RUN(test_random_schedule_hands_each_waiter_out_once);
    return 0;
}
