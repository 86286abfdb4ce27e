/* Many lives, and which is due next. */
#include "check.h"

#include "actor/lives.h"
#include "base/status.h"

#define SECOND 1000000000LL

static const pn_life_limits limits = {.spawn = 30 * SECOND,
                                      .silence = 30 * SECOND,
                                      .exit = 4 * SECOND,
                                      .terminate = 2 * SECOND,
                                      .kill = SECOND,
                                      .link = SECOND / 10};

static void
test_lives_come_up_by_their_times(void)
{
    enum { COUNT = 1000 };
    pn_lives lives = {0};
    pn_life_actions out;
    for (uint64_t n = 1; n <= COUNT; n++)
        CHECK_INT(pn_lives_add(&lives, n, &limits, (int64_t)(n * 7 % 1000)),
                  PN_OK);
    CHECK(pn_lives_check(&lives));
    for (int64_t n = 0; n < COUNT; n++) {
        CHECK_INT(pn_lives_due(&lives), 30 * SECOND + n);
        uint64_t number = pn_lives_tick(&lives, 30 * SECOND + n, &out);
        CHECK_INT(number * 7 % 1000, n);
        CHECK_INT(out.what[0], PN_LIFE_START_FAILED);
        CHECK_INT(pn_lives_tick(&lives, 30 * SECOND + n, &out), 0);
    }
    pn_lives_free(&lives);
    CHECK_INT(live_blocks(), 0);
}

/* Idle actors cost few looks: those of one period come together. */
static void
test_idle_lives_are_looked_at_together(void)
{
    enum { COUNT = 1000, PERIODS = 20 };
    pn_lives lives = {0};
    pn_life_actions out;
    size_t wakeups = 0;
    for (uint64_t n = 1; n <= COUNT; n++) {
        CHECK_INT(pn_lives_add(&lives, n, &limits, 0), PN_OK);
        pn_lives_entry *entry = pn_lives_get(&lives, n);
        pn_life_heard(&entry->life, (int64_t)n * 1000003);
        pn_lives_moved(&lives, entry);
    }
    for (int64_t now = 0; now < PERIODS * 30 * SECOND; now += 9 * SECOND) {
        for (uint64_t n = 1; n <= COUNT; n++)
            pn_life_heard(&pn_lives_get(&lives, n)->life,
                          now + (int64_t)n * 1000003);
        while (pn_lives_due(&lives) < now + 9 * SECOND) {
            int64_t due = pn_lives_due(&lives);
            wakeups++;
            while (pn_lives_tick(&lives, due, &out) != 0)
                CHECK_INT(out.count, 0);
        }
    }
    CHECK(wakeups <= 20 * PERIODS);
    CHECK(pn_lives_check(&lives));
    pn_lives_free(&lives);
}

static void
test_what_was_removed_is_not_due(void)
{
    pn_lives lives = {0};
    pn_life_actions out;
    CHECK_INT(pn_lives_add(&lives, 7, &limits, 0), PN_OK);
    CHECK_INT(pn_lives_add(&lives, 9, &limits, 1), PN_OK);
    pn_lives_remove(&lives, 7);
    pn_lives_remove(&lives, 8);
    CHECK(pn_lives_get(&lives, 7) == NULL && pn_lives_check(&lives));
    CHECK_INT(pn_lives_tick(&lives, 31 * SECOND, &out), 9);
    pn_lives_remove(&lives, 9);
    CHECK_INT(pn_lives_due(&lives), INT64_MAX);
    pn_lives_free(&lives);
    pn_lives_free(&lives);
    CHECK_INT(live_blocks(), 0);
}

static void
test_random_changes_keep_the_invariants(void)
{
    pn_lives lives = {0};
    pn_life_actions out;
    test_random random;
    int64_t now = 0;
    test_random_init(&random);
    for (int step = 0; step < 20000; step++) {
        uint64_t number = 1 + test_random_next(&random) % 60;
        pn_lives_entry *entry = pn_lives_get(&lives, number);
        now += (int64_t)(test_random_next(&random) % SECOND);
        uint64_t choice = test_random_next(&random) % 8;
        if (entry == NULL)
            CHECK_INT(pn_lives_add(&lives, number, &limits, now), PN_OK);
        else if (choice == 0)
            pn_lives_remove(&lives, number);
        else if (choice == 1)
            pn_life_stop(&entry->life, 0, now, &out);
        else if (choice < 6)
            pn_life_heard(&entry->life, now);
        else
            (void)pn_lives_tick(&lives, now, &out);
        entry = pn_lives_get(&lives, number);
        if (entry != NULL)
            pn_lives_moved(&lives, entry);
        CHECK(pn_lives_check(&lives));
    }
    pn_lives_free(&lives);
    CHECK_INT(live_blocks(), 0);
}

static void
test_without_memory_nothing_changes(void)
{
    for (long n = 0; n < 6; n++) {
        pn_lives lives = {0};
        uint64_t number = 1;
        fail_after(n);
        while (number < 40 &&
               pn_lives_add(&lives, number, &limits, 0) == PN_OK)
            number++;
        fail_never();
        CHECK_INT(lives.entries.count, number - 1);
        CHECK(pn_lives_check(&lives));
        CHECK_INT(pn_lives_add(&lives, number, &limits, 0), PN_OK);
        pn_lives_free(&lives);
        CHECK_INT(live_blocks(), 0);
    }
}

int
main(void)
{
    RUN(test_lives_come_up_by_their_times);
    RUN(test_idle_lives_are_looked_at_together);
    RUN(test_what_was_removed_is_not_due);
    RUN(test_random_changes_keep_the_invariants);
    RUN(test_without_memory_nothing_changes);
    return 0;
}
