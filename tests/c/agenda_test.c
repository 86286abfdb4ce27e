/* The agenda against an array without order. */
#include "check.h"

#include "actor/agenda.h"
#include "base/status.h"

enum { ENTRIES = 200, STEPS = 20000 };

static int64_t
earliest(const pn_timed *entries)
{
    int64_t found = INT64_MAX;
    for (size_t i = 0; i < ENTRIES; i++) {
        if (entries[i].place != PN_NOWHERE && entries[i].due < found)
            found = entries[i].due;
    }
    return found;
}

static void
run_schedule(test_random *random, uint64_t spread)
{
    pn_timed entries[ENTRIES];
    pn_agenda agenda = {0};
    for (size_t i = 0; i < ENTRIES; i++)
        entries[i] = PN_UNTIMED;
    CHECK_INT(pn_agenda_reserve(&agenda, ENTRIES), PN_OK);
    for (int step = 0; step < STEPS; step++) {
        pn_timed *entry = &entries[test_random_next(random) % ENTRIES];
        if (test_random_next(random) % 2 == 0)
            pn_agenda_set(&agenda, entry,
                          (int64_t)(test_random_next(random) % spread));
        else
            pn_agenda_drop(&agenda, entry);
        CHECK(pn_agenda_check(&agenda));
        const pn_timed *first = pn_agenda_first(&agenda);
        CHECK_INT(first == NULL ? INT64_MAX : first->due, earliest(entries));
    }
    pn_agenda_free(&agenda);
    CHECK_INT(live_blocks(), 0);
}

static void
test_random_schedule_agrees_with_an_array(void)
{
    test_random random;
    test_random_init(&random);
    run_schedule(&random, 2);
    run_schedule(&random, 100);
    run_schedule(&random, 1000000000);
}

static void
test_zeroed_agenda_is_empty(void)
{
    pn_agenda agenda = {0};
    pn_timed entry = PN_UNTIMED;
    CHECK(pn_agenda_first(&agenda) == NULL);
    pn_agenda_drop(&agenda, &entry);
    CHECK(pn_agenda_check(&agenda));
    pn_agenda_free(&agenda);
    pn_agenda_free(&agenda);
    CHECK_INT(live_blocks(), 0);
}

static void
test_entry_that_is_moved_counts_once(void)
{
    pn_agenda agenda = {0};
    pn_timed one = PN_UNTIMED, two = PN_UNTIMED;
    CHECK_INT(pn_agenda_reserve(&agenda, 2), PN_OK);
    pn_agenda_set(&agenda, &one, 10);
    pn_agenda_set(&agenda, &two, 20);
    pn_agenda_set(&agenda, &one, 30);
    CHECK_INT(agenda.count, 2);
    CHECK(pn_agenda_first(&agenda) == &two);
    pn_agenda_drop(&agenda, &two);
    CHECK(pn_agenda_first(&agenda) == &one);
    pn_agenda_free(&agenda);
}

static void
test_without_memory_nothing_changes(void)
{
    pn_agenda agenda = {0};
    pn_timed entry = PN_UNTIMED;
    fail_after(0);
    CHECK_INT(pn_agenda_reserve(&agenda, 1), PN_ENOMEM);
    fail_never();
    CHECK_INT(pn_agenda_reserve(&agenda, 1), PN_OK);
    pn_agenda_set(&agenda, &entry, 1);
    fail_after(0);
    CHECK_INT(pn_agenda_reserve(&agenda, 1), PN_OK);
    CHECK_INT(pn_agenda_reserve(&agenda, 1000), PN_ENOMEM);
    fail_never();
    CHECK(pn_agenda_first(&agenda) == &entry && pn_agenda_check(&agenda));
    pn_agenda_free(&agenda);
    CHECK_INT(live_blocks(), 0);
}

int
main(void)
{
    RUN(test_zeroed_agenda_is_empty);
    RUN(test_entry_that_is_moved_counts_once);
    RUN(test_without_memory_nothing_changes);
    RUN(test_random_schedule_agrees_with_an_array);
    return 0;
}
