#include "loop/timers.h"

#include "base/status.h"
#include "check.h"

#include <math.h>

#define MODEL_SIZE 3000

typedef struct {
    int64_t due;
    int number;
    bool cancelled;
    bool gone;
} thing;

static thing things[MODEL_SIZE];
static int dropped;

static bool
is_cancelled(void *item)
{
    CHECK(!((thing *)item)->gone);
    return ((thing *)item)->cancelled;
}

static void
drop(void *item)
{
    CHECK(((thing *)item)->cancelled && !((thing *)item)->gone);
    ((thing *)item)->gone = true;
    dropped++;
}

/* What the heap must give next: the earliest, of those the first added. */
static thing *
model_next(int count, int64_t now)
{
    thing *best = NULL;
    for (int i = 0; i < count; i++) {
        thing *t = &things[i];
        if (!t->gone && t->due <= now && (best == NULL || t->due < best->due))
            best = t;
    }
    return best;
}

static void
take_due(pn_timers *timers, int count, int64_t now)
{
    thing *t;
    while ((t = pn_timers_take(timers, now)) != NULL) {
        CHECK(t == model_next(count, now));
        t->gone = true;
        timers->cancelled -= t->cancelled;
    }
    CHECK(model_next(count, now) == NULL);
}

static void
run_schedule(test_random *random, uint64_t spread, uint64_t rarely)
{
    pn_timers timers = {0};
    int64_t now = 0;
    int count = 0;
    while (count < MODEL_SIZE) {
        uint64_t choice = test_random_next(random) % 64;
        if (choice == 0 && test_random_next(random) % rarely == 0) {
            now += (int64_t)(test_random_next(random) % spread);
            take_due(&timers, count, now);
        } else if (choice < 20) {
            int64_t due = now + (int64_t)(test_random_next(random) % spread);
            things[count] = (thing){.due = due, .number = count};
            CHECK_INT(pn_timers_add(&timers, due, &things[count]), PN_OK);
            count++;
        } else if (count > 0) {
            thing *t = &things[test_random_next(random) % (uint64_t)count];
            timers.cancelled += !t->gone && !t->cancelled;
            t->cancelled = true;
        }
        if (pn_timers_is_littered(&timers))
            CHECK_INT(pn_timers_sweep(&timers, is_cancelled, drop), PN_OK);
        CHECK(pn_timers_check(&timers));
    }
    take_due(&timers, count, INT64_MAX);
    CHECK_INT(timers.count, 0);
    CHECK_INT(timers.cancelled, 0);
    pn_timers_free(&timers);
    CHECK_INT(live_blocks(), 0);
}

static void
test_random_schedule_agrees_with_an_array(void)
{
    test_random random;
    test_random_init(&random);
    for (int i = 0; i < 3; i++) {
        run_schedule(&random, 2, 1);
        run_schedule(&random, 100, 10);
        run_schedule(&random, 1000000, 1);
        run_schedule(&random, 1000000, 100);
    }
    CHECK(dropped > 0);
}

static bool
is_none(void *item)
{
    return item == NULL;
}

static void
forget(void *item)
{
    CHECK(item == NULL);
    dropped++;
}

static void
test_cancelled_entries_do_not_pile_up(void)
{
    enum { LIVE = 1000, ADDED = 100000 };
    static thing live;
    pn_timers timers = {0};
    size_t longest = 0;
    dropped = 0;
    for (int i = 0; i < LIVE; i++)
        CHECK_INT(pn_timers_add(&timers, i, &live), PN_OK);
    for (int i = 0; i < ADDED; i++) {
        CHECK_INT(pn_timers_add(&timers, i, NULL), PN_OK);
        timers.cancelled++;
        longest = timers.count > longest ? timers.count : longest;
        if (pn_timers_is_littered(&timers))
            CHECK_INT(pn_timers_sweep(&timers, is_none, forget), PN_OK);
    }
    CHECK(longest <= 2 * LIVE + 102);
    CHECK_INT(dropped + (int)timers.cancelled, ADDED);
    CHECK(pn_timers_check(&timers));
    pn_timers_free(&timers);
    CHECK_INT(live_blocks(), 0);
}

static void
test_times_in_seconds_are_never_early(void)
{
    CHECK_INT(pn_timers_when(0.0), 0);
    CHECK_INT(pn_timers_when(1e-9), 1);
    CHECK_INT(pn_timers_when(1.2e-9), 2);
    CHECK_INT(pn_timers_when(-1.5), -1500000000);
    CHECK_INT(pn_timers_when(INFINITY), INT64_MAX);
    CHECK_INT(pn_timers_when(-INFINITY), INT64_MIN);
    CHECK_INT(pn_timers_when(1e300), INT64_MAX);
    CHECK_INT(pn_timers_when(NAN), INT64_MAX);
    for (int i = 0; i < 1000; i++) {
        double seconds = 123456.0 + i * 0.0012345;
        CHECK((double)pn_timers_when(seconds) / 1e9 >= seconds);
    }
}

static void
test_without_memory_nothing_changes(void)
{
    static thing t;
    pn_timers timers = {0};
    size_t added = 0;
    t = (thing){.cancelled = true};
    fail_after(0);
    CHECK_INT(pn_timers_add(&timers, 1, &t), PN_ENOMEM);
    fail_never();
    CHECK_INT(pn_timers_add(&timers, 1, &t), PN_OK);
    added++;
    fail_after(0);
    while (pn_timers_add(&timers, 1, &t) == PN_OK)
        added++;
    timers.cancelled = added;
    CHECK_INT(pn_timers_sweep(&timers, is_cancelled, drop), PN_ENOMEM);
    CHECK_INT(timers.count, added);
    CHECK(pn_timers_check(&timers));
    fail_never();
    pn_timers_free(&timers);
    CHECK_INT(live_blocks(), 0);
}

int
main(void)
{
    RUN(test_random_schedule_agrees_with_an_array);
    RUN(test_cancelled_entries_do_not_pile_up);
    RUN(test_times_in_seconds_are_never_early);
    RUN(test_without_memory_nothing_changes);
    return 0;
}
